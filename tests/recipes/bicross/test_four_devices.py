"""Every recipe: four devices equal one device with the same global batch."""

import pytest

from tests.recipes import devices

SCRIPT = """
import sys, jax, jax.numpy as jnp, numpy as np
from bicross_jax import recipes
from bicross_jax.config import grammar
from bicross_jax.train.state import AXIS

SMALL = ["train.steps=10",
         "data.flip=false"]

# Before a batch norm; the same number on all logits of a row of the contrastive loss.
NO_GRADIENT = ("linear1/bias", "projection_spike/linear2/bias")

def make(arg):
  config = grammar.load(f"configs/bicross.py:{arg}", SMALL)
  return recipes.create(grammar.resolve_durations(config, 100))

def run(recipe, state, batch, n, steps=3):
  step = jax.pmap(recipe.train_step, axis_name=AXIS, in_axes=(None, 0, None),
                  out_axes=(None, None), devices=jax.devices()[:n])
  split = jax.tree.map(lambda v: v.reshape(n, -1, *v.shape[1:]), batch)
  for _ in range(steps):
    state, metrics = step(state, split, jax.random.key(1))
  return jax.device_get(state), {k: float(s / c) for k, (s, c) in metrics.items()}

arg = sys.argv[1]
recipe = make(arg)
stage = arg.partition(",")[0]
initial = {}
if stage not in ("pretrain", "neuromorphic"):
  before = make("pretrain,smoke" + (",input.modality=spike" if stage == "crossdomain" else ""))
  before = before.variables(before.init(jax.random.key(0), {}))
  initial = {"teacher": before, "student": before}
rng = np.random.default_rng(0)
batch = {
    "rgb": rng.integers(0, 256, (8, 32, 64, 3), np.uint8),
    "spike": rng.integers(0, 256, (8, 32, 64, 16), np.uint8),
    "depth": rng.uniform(2, 50, (8, 32, 64)).astype(np.float32),
}
batch["depth"][:3] = 0  # unlabelled rows: devices hold different numbers of valid pixels
if stage == "crossdomain":
  batch = {"source": batch, "target": {"spike": rng.integers(0, 256, (8, 32, 64, 16), np.uint8)}}
  batch = {k: {f: batch[k][f] for f in fields} for k, fields in recipe.batch_spec().items()}
else:
  batch = {k: v for k, v in batch.items() if k in recipe.batch_spec()}
state = recipe.init(jax.random.key(0), initial)
# A student equal to its teacher has the loss sqrt(0), whose gradient is rounding alone.
state = state.replace(teacher=jax.tree.map(lambda x: 1.02 * x, state.teacher))
(one, m1), (four, m4) = (run(recipe, state, batch, n) for n in (1, 4))
for name, value in m1.items():
  np.testing.assert_allclose(m4[name], value, rtol=1e-3, err_msg=name)
moved = [bool((np.asarray(a) != np.asarray(b)).any()) for a, b in zip(
    jax.tree.leaves(state.batch_stats), jax.tree.leaves(one.batch_stats), strict=True)]
# Two for each batch norm; two moments of the firing rates of two domains.
known = {"pretrain": 0, "crossmodality": 4, "crossdomain": 2 + 4, "neuromorphic": 12}
assert all(moved) and len(moved) == known[stage]
for part, most in {"batch_stats": 1e-3, "opt_state": 0.01, "params": 0.01, "teacher": 0.01}.items():
  worst, where = 0.0, ""
  a, b = getattr(one, part), getattr(four, part)
  for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if part != "batch_stats" and any(bias in name for bias in NO_GRADIENT):
      continue
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if "attention/qkv/bias" in name and part != "batch_stats":
      keys = np.arange(x.size) // (x.size // 3) == 1  # softmax does not see a bias of all keys
      x, y = x[~keys], y[~keys]
    rms = np.sqrt(np.mean((x - y) ** 2)) / (np.sqrt(np.mean(x ** 2)) + 1e-6)
    worst, where = max((worst, where), (rms, name))
  assert worst < most, (part, worst, where)
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  "arg",
  [
    "pretrain,smoke,photometric=0",
    "crossmodality,smoke,distill.uncertainty_filter=true,student_init=inflate",
    "crossdomain,smoke,adapt.augment=false,adapt.warmup=0",
    # Small first steps: Adam's would make of the order of sums a difference, through the batch norms.
    "neuromorphic,smoke,front_end.widths=8,12,optim.warmup=50",
  ],
)
def test_four_devices_equal_one(arg):
  devices.on_four(SCRIPT, arg)
