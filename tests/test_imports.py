"""What can be imported where: no TensorFlow, no PyTorch, no loops between rooms, no names of systems."""

import ast
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bicross_jax"

BLOCKED = """
import importlib, pathlib, sys
class Block:
  def find_spec(self, name, path=None, target=None):
    if name.split(".")[0] in ("tensorflow", "tensorflow_datasets", "torch", "onnx", "onnxruntime"):
      raise ImportError(f"{name} must not be imported here")
sys.meta_path.insert(0, Block())
package = pathlib.Path("bicross_jax")
for file in sorted(package.rglob("*.py")):
  name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
  if not name.startswith(("bicross_jax.data.pipeline", "bicross_jax.data.builders")):
    importlib.import_module(name)
"""
# What checking a config, a path and arguments must not load: they are told of at once.
LIGHT = """
import sys
from bicross_jax import cli
from bicross_jax.commands import benchmark, convert, evaluate, export, predict, simulate, table, train
from bicross_jax.commands import robustness, uncertainty, visualize
from bicross_jax.config import grammar
grammar.load("configs/bicross.py:crossdomain")
loaded = [name for name in ("jax", "flax", "tensorflow", "torch", "matplotlib") if name in sys.modules]
assert not loaded, loaded
"""


def _runs(code):
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr[-2000:]


def test_everything_but_the_pipeline_works_without_tensorflow_and_torch():
  _runs(BLOCKED)


def test_arguments_and_configs_are_checked_before_anything_heavy_is_loaded():
  _runs(LIGHT)


def _imports(file):
  """Dotted names that a file imports, anywhere in it."""
  for node in ast.walk(ast.parse(file.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


# Room -> what of ours it may import (docs/architecture.md); `errors` all may.
ALLOWED = {
  "fields.py": set(),
  "names.py": set(),
  "ops": {"ops", "fields"},
  "losses": {"losses", "ops", "fields"},
  "models": {"models", "ops"},
  "recipes": {
    "recipes",
    "models",
    "losses",
    "ops",
    "fields",
    "train.state",
    "train.optim",
    "config.check",  # which code a config may name
    "config.rules",  # what the fields of a system may be
  },
  "nir": {"nir", "models", "files"},
  "train": {"train", "ops", "fields", "files", "folders", "__version__"},
}
_NEVER = {"models", "recipes", "commands", "train"}
FORBIDDEN = {
  **dict.fromkeys(("data", "sim", "tasks", "evaluation", "viz", "config"), _NEVER),
  **{room: {"commands"} for room in ("convert", "inference.py", "cli.py", "export.py")},
}


def _under(target, names):
  return any(target == name or target.startswith(name + ".") for name in names)


def test_rooms_import_only_what_they_may():
  wrong = []
  for file in PACKAGE.rglob("*.py"):
    place = file.relative_to(PACKAGE).parts
    room = place[0]
    for name in _imports(file):
      where = f"{file.relative_to(ROOT)} imports {name}"
      if name.split(".")[0] in ("tensorflow", "tensorflow_datasets"):
        if not (room == "data" and (place[1] == "builders" or place[1].startswith("pipeline"))):
          wrong.append(where)
      if name.split(".")[0] == "torch" and room != "convert":
        wrong.append(where)
      if not name.startswith("bicross_jax."):
        continue
      target = name.removeprefix("bicross_jax.")
      allowed = ALLOWED.get(room)
      if allowed is not None and not _under(target, allowed | {"errors"}):
        wrong.append(where)
      if _under(target, FORBIDDEN.get(room, ())):
        wrong.append(where)
      if _under(target, {"commands"}) and room != "commands":
        wrong.append(where)
  assert not wrong, "\n".join(wrong)


SHARED = (
  "train",
  "data/pipeline*",
  "data/builders",
  "evaluation",
  "commands",
  "config",
  "fields.py",
)
SYSTEMS = re.compile(r"abs_rel|'bicross'|\"bicross\"|recipes\.bicross")


def test_shared_rooms_name_no_system_and_no_metric():
  wrong = []
  for pattern in SHARED:
    for place in PACKAGE.glob(pattern):
      for file in place.rglob("*.py") if place.is_dir() else [place]:
        for number, line in enumerate(file.read_text().splitlines(), 1):
          if SYSTEMS.search(line):
            wrong.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
  assert not wrong, "\n".join(wrong)
