"""What can be imported where: no TensorFlow, no PyTorch, no loops between rooms."""

import ast
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bicross_jax"

BLOCKED = """
import sys
class Block:
  def find_spec(self, name, path=None, target=None):
    if name.split(".")[0] in ("tensorflow", "tensorflow_datasets", "torch"):
      raise ImportError(f"{name} must not be imported here")
sys.meta_path.insert(0, Block())
import bicross_jax.models, bicross_jax.recipes, bicross_jax.train
import bicross_jax.commands.benchmark, bicross_jax.commands.predict, bicross_jax.inference, bicross_jax.convert
import bicross_jax.recipes.bicross.crossmodality, bicross_jax.train.loop, bicross_jax.train.writers
import bicross_jax.sim.world, bicross_jax.evaluation.run, bicross_jax.tasks.depth.baselines
import bicross_jax.viz.panels, bicross_jax.data.formats.spikes
"""


def test_everything_but_the_pipeline_works_without_tensorflow_and_torch():
  done = subprocess.run(
    [sys.executable, "-c", BLOCKED], cwd=ROOT, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr[-2000:]


def _imports(file):
  """Dotted names that a file imports, anywhere in it."""
  for node in ast.walk(ast.parse(file.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


ALLOWED = {  # room -> rooms of ours it may import (docs/architecture.md)
  "ops": {"ops"},
  "losses": {"losses", "ops"},
  "models": {"models", "ops", "errors"},
  "recipes": {"recipes", "models", "losses", "ops", "errors", "train.state", "train.optim"},
  "train": {"train", "ops", "errors", "files", "__version__"},
  "files": {"errors"},
  "errors": set(),
}
FORBIDDEN = {room: {"models", "recipes"} for room in ("data", "sim", "evaluation", "viz")}


def test_rooms_import_only_what_they_may():
  wrong = []
  for file in PACKAGE.rglob("*.py"):
    place = file.relative_to(PACKAGE).parts
    room = place[0] if len(place) > 1 else file.stem
    for name in _imports(file):
      if name.split(".")[0] in ("tensorflow", "tensorflow_datasets"):
        if not (room == "data" and (place[1] == "builders" or place[1].startswith("pipeline"))):
          wrong.append(f"{file.relative_to(ROOT)} imports {name}")
      if name.split(".")[0] == "torch" and room != "convert":
        wrong.append(f"{file.relative_to(ROOT)} imports {name}")
      if not name.startswith("bicross_jax."):
        continue
      target = name.removeprefix("bicross_jax.")
      allowed = ALLOWED.get(room)
      if allowed is not None and not any(
        target == a or target.startswith(a + ".") for a in allowed
      ):
        wrong.append(f"{file.relative_to(ROOT)} imports {name}")
      if target.split(".")[0] in FORBIDDEN.get(room, ()):
        wrong.append(f"{file.relative_to(ROOT)} imports {name}")
  assert not wrong, "\n".join(wrong)
