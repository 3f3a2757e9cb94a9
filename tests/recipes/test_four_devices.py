"""Every recipe: four devices equal one device with the same global batch."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys, jax, jax.numpy as jnp, numpy as np
from bicross_jax import config as grammar, recipes
from bicross_jax.train.state import AXIS, Initial

SMALL = ["input.height=32", "input.width=64", "data.height=32", "data.width=64", "train.steps=10",
         "data.flip=false", "optim.warmup=0"]

def make(arg):
  config = grammar.load(f"configs/bicross.py:{arg}", SMALL)
  return recipes.create(grammar.resolve_durations(config, 100))

def run(recipe, state, batch, n, steps=3):
  step = jax.pmap(recipe.train_step, axis_name=AXIS, in_axes=(None, 0, None),
                  out_axes=(None, None), devices=jax.devices()[:n])
  split = {k: v.reshape(n, -1, *v.shape[1:]) for k, v in batch.items()}
  for _ in range(steps):
    state, metrics = step(state, split, jax.random.key(1))
  return jax.device_get(state), {k: float(s / c) for k, (s, c) in metrics.items()}

arg = sys.argv[1]
recipe = make(arg)
initial = None
if arg.startswith("crossmodality"):
  rgb = make("pretrain")
  rgb = rgb.variables(rgb.init(jax.random.key(0), None))
  initial = Initial(rgb, rgb)
rng = np.random.default_rng(0)
batch = {
    "rgb": rng.integers(0, 256, (8, 32, 64, 3), np.uint8),
    "spike": rng.integers(0, 256, (8, 32, 64, 16), np.uint8),
    "depth": rng.uniform(2, 50, (8, 32, 64)).astype(np.float32),
}
batch["depth"][:3] = 0  # unlabelled rows: devices hold different numbers of valid pixels
batch = {k: v for k, v in batch.items() if k in recipe.batch_spec()}
state = recipe.init(jax.random.key(0), initial)
(one, m1), (four, m4) = (run(recipe, state, batch, n) for n in (1, 4))
for name, value in m1.items():
  np.testing.assert_allclose(m4[name], value, rtol=5e-3, err_msg=name)
moved = [bool((np.asarray(a) != np.asarray(b)).any()) for a, b in zip(
    jax.tree.leaves(state.batch_stats), jax.tree.leaves(one.batch_stats), strict=True)]
assert all(moved) and len(moved) == 4 * arg.startswith("crossmodality")  # two norms of the projections
for part, most in {"batch_stats": 1e-3, "opt_state": 0.05, "params": 0.05}.items():
  worst, where = 0.0, ""
  a, b = getattr(one, part), getattr(four, part)
  for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if part != "batch_stats" and "linear1/bias" in name:
      continue  # that bias stands before a batch norm: no gradient
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    rms = np.sqrt(np.mean((x - y) ** 2)) / (np.sqrt(np.mean(x ** 2)) + 1e-6)
    worst, where = max((worst, where), (rms, name))
  print(part, "deviates at most, relative rms,", worst, where)
  assert worst < most, (part, worst, where)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arg", ["pretrain", "crossmodality,distill.uncertainty_filter=true,student_init=inflate"])
def test_four_devices_equal_one(arg, pytestconfig):
  env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
         "PYTHONPATH": str(pytestconfig.rootpath)}
  done = subprocess.run([sys.executable, "-c", SCRIPT, arg], cwd=pytestconfig.rootpath, env=env,
                        capture_output=True, text=True, timeout=900)
  assert done.returncode == 0, done.stderr[-3000:]
