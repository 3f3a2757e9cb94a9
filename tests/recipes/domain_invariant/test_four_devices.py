"""Akada et al.'s stages on four devices equal those on one, with the same global batch."""

import pytest

from tests.recipes import devices

SCRIPT = """
import sys, jax, numpy as np
from bicross_jax import models, recipes
from bicross_jax.config import grammar
from bicross_jax.models import efficientnet
from bicross_jax.train import optim
from tests.recipes.domain_invariant import conftest, toy

stage, kind, *more = sys.argv[1:]
if kind == "toys":
  models.MODELS.update(toy.MODELS)
# Each device draws its own numbers: no block drops out.
jax.random.bernoulli = lambda key, p=0.5, shape=(): jax.numpy.ones(shape, bool)
# Steps of SGD follow the gradient; Adam's first is its sign, and what is left of a bias before a norm is rounding.
optim.adam = lambda groups, *_, **__: optim.sgd([g._replace(rate=0.1 if g.rate else 0) for g in groups])
plain = ["data.batch_size=8", "augment.flip=0", "augment.rotate=0", *more]
recipe = recipes.create(grammar.resolve_durations(
    grammar.load(f"configs/domain_invariant.py:{stage},smoke", plain), 8))
# Smooth pictures: between random pixels a gradient jumps, and rounding decides where.
n, y, x = np.mgrid[:8, :64, :64]

def wave(c):
  return 0.5 + 0.25 * (np.sin(0.11 * x + 0.05 * y + c + n) + np.sin(0.37 * x - 0.23 * y + 2 * c + 3 * n))

def field(name, shift):
  if name == "depth":  # whole examples without depth: devices have different numbers of pixels
    return np.where(n < 3, 0, 5 + 90 * wave(shift)).astype(np.float32)
  return np.uint8(255 * np.clip(np.stack([wave(c + shift) for c in range(3)], -1), 0, 1))

spec = recipe.batch_spec()
batch = ({k: {f: field(f, i) for f in fields} for i, (k, fields) in enumerate(spec.items())}
         if "source" in spec else {f: field(f, 0) for f in spec})
parents = conftest.given() if stage in ("ssrl", "finetune") else {}
if stage == "ssrl" and kind == "nano":
  # Through a fresh encoder whose norms do not know its maps nearly nothing comes, and rounding would be learned.
  task = {k: tree["task"] for k, tree in parents["weights"].items()}
  seen = jax.numpy.asarray(batch["source"]["rgb"]) / 127.5 - 1
  net = models.create("efficientnet_unet", variant="nano")
  _, new = jax.jit(lambda v, x: net.apply(v, x, train=True, drop_connect=False, mutable=["batch_stats"]))(task, seen)
  momentum = efficientnet.MOMENTUM
  known = jax.tree.map(lambda a, b: (a - momentum * b) / (1 - momentum),
                       new["batch_stats"]["encoder"], task["batch_stats"]["encoder"])
  task["batch_stats"] = task["batch_stats"] | {"encoder": known}
  parents["weights"] = task
state = recipe.init(jax.random.key(1), parents)
found = []
for devices in (1, 4):
  local = jax.tree.map(lambda v: v[:devices], state.local)
  start = state.replace(local={})

  def step(state, local, batch, key):
    after, metrics = recipe.train_step(state.replace(local=local), batch, key)
    return after.replace(local={}), after.local, metrics

  run = jax.pmap(step, axis_name="batch", in_axes=(None, 0, 0, None), out_axes=(None, 0, None),
                 devices=jax.devices()[:devices])
  split = jax.tree.map(lambda v: v.reshape(devices, -1, *v.shape[1:]), batch)
  after, pools, metrics = jax.device_get(run(start, local, split, jax.random.key(1)))
  shares = {k: float(s / c) for k, (s, c) in metrics.items()}
  found.append((after, shares, pools))
(one, m1, p1), (four, m4, p4) = found
assert m1.keys() == m4.keys()
for name, value in m1.items():
  np.testing.assert_allclose(m4[name], value, rtol=2e-3, atol=1e-5, err_msg=name)
same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
jax.tree.map(same, one.batch_stats, four.batch_stats)
moved = lambda tree: [np.asarray(a, np.float64) - np.asarray(b) for a, b in zip(
    jax.tree.leaves(tree.params), jax.tree.leaves(state.params), strict=True)]
paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(state.params)]
largest = 0
for path, a, b in zip(paths, moved(one), moved(four), strict=True):
  worst, size = np.abs(a - b).max(), np.abs(a).max()
  largest = max(largest, size)
  assert worst < 0.01 * size + 1e-5, (path, worst, size)
assert largest > 1e-3
for name in p1:  # pools are each device's own: together they hold what one holds
  assert p1[name]["count"].tolist() == [8] and p4[name]["count"].tolist() == [2] * 4
  same(p1[name]["images"][0, :8], p4[name]["images"][:, :2].reshape(8, 64, 64, 3))
print("equal", len(m1))
"""


@pytest.mark.parametrize(
  "words",
  [
    ("translation", "toys"),
    ("ssrl", "toys"),
    ("finetune", "toys", "freeze_bn=never"),
    pytest.param(("translation", "nano"), marks=pytest.mark.slow),
    pytest.param(("ssrl", "nano"), marks=pytest.mark.slow),
    pytest.param(("finetune", "nano", "freeze_bn=never"), marks=pytest.mark.slow),
    pytest.param(("source", "nano"), marks=pytest.mark.slow),
  ],
  ids=lambda words: "-".join(words[:2]),
)
def test_four_devices_equal_one(words):
  """Losses, batch norms, every optimiser step and the pools of translated pictures."""
  devices.on_four(SCRIPT, *words)
