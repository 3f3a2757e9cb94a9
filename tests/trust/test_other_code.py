"""What a checkpoint publishes, in a program that has never heard of this package."""

import functools
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from bicross_jax import recipes
from bicross_jax.config import grammar
from bicross_jax.data.formats import spikes
from bicross_jax.ops import inputs
from bicross_jax.train import checkpoints
from tests.trust.conftest import ROOT

HEIGHT, WIDTH = 64, 96
CHECK = """
import sys
assert not [name for name in sys.modules if name.startswith("bicross")]
np.save("features.npy", features)
"""


@pytest.fixture
def program():
  """The block of Python under the README's heading."""
  section = (ROOT / "README.md").read_text().split("## In other JAX code\n")[1].split("\n## ")[0]
  return re.search(r"```python\n(.*?)```", section, re.S)[1]


def _spike_network():
  """Module and variables of the README's run; drawn, as a trained one's are, not zeros and ones."""
  config = grammar.load("configs/bicross.py:pretrain,input.modality=spike")  # needs no teacher
  config = grammar.resolve_durations(config, 500)
  recipe = recipes.create(config)
  variables = recipe.variables(recipe.init(jax.random.key(0), {}))
  rng = np.random.default_rng(0)
  draw = lambda x: np.asarray(x) + rng.normal(0, 0.1, x.shape).astype(np.float32)
  (module,) = recipe.networks.values()
  return module, jax.tree.map(draw, variables)


def test_the_readme_example_runs_a_checkpoint_with_orbax_and_linen_alone(
  program, tmp_path, monkeypatch
):
  monkeypatch.chdir(ROOT)
  module, variables = _spike_network()
  run = tmp_path / re.search(r'"(runs/[^"]*)/checkpoints/400/variables"', program)[1]
  with checkpoints.Checkpoints(run) as store:
    store.save(400, variables, variables, {"step": 400}, None)
  stream = np.random.default_rng(1).integers(0, 2, (130, HEIGHT, WIDTH), np.uint8)
  np.save(tmp_path / "stream.npy", stream)
  done = subprocess.run(
    [sys.executable, "-c", program + CHECK],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  x = inputs.spike_input(spikes.pack_time(stream[:128])[None], (HEIGHT, WIDTH), 16)
  stem = dict(capture_intermediates=lambda m, _: m.name == "stem", mutable=["intermediates"])
  _, seen = jax.jit(functools.partial(module.apply, **stem))(variables, x)
  (want,) = seen["intermediates"]["backbone"]["resnet"]["stem"]["__call__"]
  got = np.load(tmp_path / "features.npy")
  assert want.std() > 0.1
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
