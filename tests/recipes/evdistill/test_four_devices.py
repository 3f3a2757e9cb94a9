"""EvDistill on four devices equals EvDistill on one, with the same global batch."""

import pytest

from tests.recipes import devices

SCRIPT = """
import sys, jax, numpy as np
from bicross_jax import recipes
from bicross_jax.config import grammar

stage, *more = sys.argv[1:]
plain = ["data.batch_size=8", "augment.flip=0", "augment.jitter=0", "augment.scales=",
         "optim.name=sgd", "optim.lr=0.1"]
student = ["gan.name=sgd", "gan.lr=0.1", "bmr.events=translator"]  # without a random motion
make = lambda stage, *more: recipes.create(grammar.resolve_durations(
    grammar.load(f"configs/evdistill.py:{stage},smoke", [*plain, *(student if stage == "student" else ()), *more]), 8))
recipe, parents = make(stage, *more), {}
if stage == "student":
  teacher = make("teacher")
  parents = {"teacher": teacher.variables(teacher.init(jax.random.key(0), {}))}
# Smooth pictures: between random pixels a gradient jumps, and rounding decides where.
n, y, x = np.mgrid[:8, :32, :64]

def wave(c):
  value = np.sin(0.11 * x + 0.05 * y + c + n) + np.sin(0.37 * x - 0.23 * y + 2 * c + 3 * n)
  return (255 * (0.5 + 0.25 * value)).astype(np.uint8)

def field(name, shift):
  if name == "label":  # whole examples without labels: devices have different numbers of pixels
    return np.where(n < 3, 255, wave(shift) // 43).astype(np.uint8)
  return np.stack([wave(c + shift) for c in range(3 if name == "rgb" else 2)], -1)

spec = recipe.batch_spec()
batch = ({k: {f: field(f, i) for f in fields} for i, (k, fields) in enumerate(spec.items())}
         if stage == "student" else {f: field(f, 0) for f in spec})
state = recipe.init(jax.random.key(1), parents)
found = []
for n in (1, 4):
  step = jax.pmap(recipe.train_step, axis_name="batch", in_axes=(None, 0, None),
                  out_axes=(None, None), devices=jax.devices()[:n])
  split = jax.tree.map(lambda v: v.reshape(n, -1, *v.shape[1:]), batch)
  after, metrics = step(state, split, jax.random.key(1))
  found.append((jax.device_get(after), {k: float(s / c) for k, (s, c) in metrics.items()}))
(one, m1), (four, m4) = found
assert m1.keys() == m4.keys()
for name, value in m1.items():
  np.testing.assert_allclose(m4[name], value, rtol=2e-3, atol=1e-6, err_msg=name)
same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
jax.tree.map(same, one.batch_stats, four.batch_stats)
moved = lambda tree: [np.asarray(a, np.float64) - np.asarray(b) for a, b in zip(
    jax.tree.leaves(tree.params), jax.tree.leaves(state.params), strict=True)]
paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(state.params)]
for path, a, b in zip(paths, moved(one), moved(four), strict=True):
  # Steps of SGD follow the gradient; what is left of a bias before a norm is rounding.
  worst, size = np.abs(a - b).max(), np.abs(a).max()
  assert worst < 0.01 * size + 1e-6, (path, worst, size)
print("equal", len(m1))
"""
EVERYTHING = (
  "target.sensors=event_image,rgb,label",
  "aligned=True",
  "regime=with_event_labels",
  "model.reconstruction=dual_v3",
  "distill.mutual=1",
)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("supervised",), ("student", *EVERYTHING)], ids=lambda w: w[0])
def test_four_devices_equal_one(words):
  """Losses, batch norms and optimisers, of every part that there is."""
  devices.on_four(SCRIPT, *words)
