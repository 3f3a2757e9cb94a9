import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.train import windows

METRICS = {
  "loss": (np.float32(1), np.float32(2)),
  "table": (np.ones((2, 2), np.int32), np.int32(3)),
  "none": (np.float32(0), np.int32(0)),
}


SUMS = {"loss": [1.5, 2], "table": [[[1, 2], [3, 4]], 3], "none": [0, 0]}


def run(steps, watched=lambda step: {"params": {"w": np.ones(3)}}, window=None):
  window = window or windows.empty(METRICS, watched(0))
  add = jax.jit(windows.add)
  for step, metrics in steps:
    window = add(window, metrics, watched(step), jnp.int32(step))
  return jax.device_get(window)


def scaled(k):
  return jax.tree.map(lambda x: (k * x).astype(x.dtype), METRICS)


def test_means():
  got = windows.means(run([(1, scaled(1)), (2, scaled(4))]).metrics)
  assert got["loss"] == pytest.approx(0.5) and "none" not in got
  np.testing.assert_allclose(got["table"], np.full((2, 2), 1 / 3))


def test_nothing_diverged():
  assert windows.diverged(run([(1, scaled(1))])) is None


def test_first_step_and_all_its_terms():
  bad = {
    **METRICS,
    "loss": (np.float32(np.nan), np.float32(1)),
    "table": (METRICS["table"][0], METRICS["table"][1]),
  }
  watched = lambda step: {"params": {"w": np.array([1, np.inf if step >= 7 else 0])}, "empty": {}}
  steps = [(k, bad if k in (7, 9) else METRICS) for k in range(5, 12)]
  assert windows.diverged(run(steps, watched)) == (["loss", "params"], 7)
  assert windows.diverged(run(steps[3:], watched)) == (["params"], 8)


def test_json_keeps_sums_exactly():
  rng = np.random.default_rng(0)
  draw = lambda: {**METRICS, "loss": tuple(rng.normal(size=2).astype(np.float32))}
  steps = [(k, draw()) for k in range(1, 7)]
  half = run(steps[:3])
  text = json.dumps(windows.to_json(half), allow_nan=False)
  resumed = windows.from_json(json.loads(text), windows.empty(METRICS, {"params": 0}))
  for x, y in zip(jax.tree.leaves(run(steps)), jax.tree.leaves(run(steps[3:], window=resumed))):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
  "sums",
  [
    {"other": [0, 1]},
    {},
    {**SUMS, "more": [0, 1]},
    {**SUMS, "loss": [0]},
    {**SUMS, "loss": None},
    {**SUMS, "table": [[[1, 2, 3]], 1]},
    {**SUMS, "loss": ["x", 1]},
    {**SUMS, "loss": [[1, 2], 1]},
  ],
  ids=str,
)
def test_other_metrics_are_refused(sums):
  like = windows.empty(METRICS, {})
  assert windows.from_json(SUMS, like).metrics["table"][0].shape == (2, 2)
  with pytest.raises(
    errors.UserError, match=r"checkpoint \(.*are not those of this step \(loss, no"
  ):
    windows.from_json(sums, like)
