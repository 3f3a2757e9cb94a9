import math

import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.losses import depth
from bicross_jax.tasks.depth import metrics


def by_loops(prediction, truth, valid):
  """The definitions, one pixel at a time, with nothing shared."""
  pairs = []
  for i in range(truth.shape[0]):
    for j in range(truth.shape[1]):
      if valid[i, j]:
        pairs.append((float(prediction[i, j]), float(truth[i, j])))
  n = len(pairs)
  ratios = [max(d / g, g / d) for d, g in pairs]
  return {
    "abs_rel": math.fsum(abs(d - g) / g for d, g in pairs) / n,
    "sq_rel": math.fsum((d - g) ** 2 / g for d, g in pairs) / n,
    "rmse": math.sqrt(math.fsum((d - g) ** 2 for d, g in pairs) / n),
    "rmse_log": math.sqrt(math.fsum(math.log(d / g) ** 2 for d, g in pairs) / n),
    "log10": math.fsum(abs(math.log10(d / g)) for d, g in pairs) / n,
    "mde": 100 * math.fsum(abs(d - g) for d, g in pairs) / n,
    **{f"d{k}": sum(r < 1.25**k for r in ratios) / n for k in (1, 2, 3)},
  }


@pytest.fixture
def image():
  rng = np.random.default_rng(0)
  truth = rng.uniform(0.5, 70, (13, 17)).astype(np.float32)
  prediction = (truth * rng.uniform(0.4, 2.2, truth.shape)).astype(np.float32)
  return prediction, truth, rng.random(truth.shape) < 0.7


def test_equal_to_plain_loops(image):
  got, want = metrics.measure(*image), by_loops(*image)
  assert set(want) == {*metrics.METRICS, "log10"}
  for name, value in want.items():
    assert got[name] == pytest.approx(value, rel=1e-12), name


def test_sig_is_the_training_loss_of_the_image(image):
  want = depth.sig(*(jnp.asarray(x)[None] for x in image))
  assert metrics.measure(*image)["sig"] == pytest.approx(float(want), rel=1e-5)


def test_a_common_factor_in_closed_form():
  truth = np.array([[2.0, 4.0, 8.0]])
  got = metrics.measure(1.5 * truth, truth, truth > 0)
  assert got["abs_rel"] == pytest.approx(0.5)
  assert got["sq_rel"] == pytest.approx(0.25 * 14 / 3)
  assert got["rmse"] == pytest.approx(0.5 * math.sqrt(84 / 3))
  assert got["rmse_log"] == pytest.approx(math.log(1.5))
  assert (got["d1"], got["d2"], got["d3"]) == (0, 1, 1)


def test_thresholds_are_exclusive_and_symmetric():
  truth = np.array([[4.0, 5.0, 1.0]])
  got = metrics.measure(np.array([[5.0, 4.0, 1.0]]), truth, truth > 0)
  assert got["d1"] == pytest.approx(1 / 3)
  assert got["d2"] == 1


def test_one_pixel_and_none():
  truth = np.array([[2.0, 1.0]])
  got = metrics.measure(2 * truth, truth, np.array([[True, False]]))
  assert got["sig"] == pytest.approx(math.sqrt(0.15) * math.log(4.1 / 2.1))
  assert all(math.isnan(v) for v in metrics.measure(truth, truth, truth > 9).values())


def test_shapes_are_named_in_the_error():
  with pytest.raises(ValueError, match=r"prediction \(1, 2, 1\)"):
    metrics.measure(np.ones((1, 2, 1)), np.ones((1, 2)), np.ones((1, 2), bool))
