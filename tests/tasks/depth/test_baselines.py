import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.evaluation import run
from bicross_jax.tasks import depth
from bicross_jax.tasks.depth import baselines
from bicross_jax.tasks.depth import protocol as protocols

WHOLE = protocols.Protocol(crop="none")


@pytest.fixture(scope="module")
def depths():
  rng = np.random.default_rng(0)
  maps = np.exp(rng.normal(2.2, 0.8, (41, 10, 14))).astype(np.float32)
  maps[rng.random(maps.shape) < 0.3] = 0
  maps[rng.random(maps.shape) < 0.05] = 200.0  # beyond the cap
  maps[0, :5, :5] = np.nan
  maps[:, 0, 0] = 0  # never known
  return maps


def known(maps, low=1e-3, high=80.0):
  return np.where((maps > low) & (maps < high), maps, np.nan)


def test_constant_minimises_abs_rel(depths):
  got = baselines.fit(depths, WHOLE).constant
  images = [x[~np.isnan(x)].astype(np.float64) for x in known(depths)]

  def abs_rel(constant):
    return np.mean([np.mean(np.abs(constant - x) / x) for x in images])

  every = np.concatenate(images)  # the minimum of a piecewise linear function is at a kink
  best = every[np.argmin([abs_rel(c) for c in every])]
  assert got == pytest.approx(best, rel=2e-4)
  assert abs_rel(got) == pytest.approx(abs_rel(best), rel=1e-6)


def test_pixel_median_equals_numpy(depths):
  got = baselines.fit(iter(depths), WHOLE)
  want = np.nanmedian(known(depths).reshape(41, -1)[:, 1:], axis=0)
  np.testing.assert_allclose(got.median.reshape(-1)[1:], want, rtol=1e-6)
  assert got.median[0, 0] == np.float32(got.constant)
  assert got.median.dtype == np.float32


def test_crop_concerns_the_constant_alone(depths):
  cropped = baselines.fit(depths, protocols.Protocol())
  inside = np.zeros_like(depths)
  inside[:, 4:9, 0:13] = depths[:, 4:9, 0:13]  # the Garg crop of 10x14
  assert cropped.constant == baselines.fit(inside, WHOLE).constant
  np.testing.assert_array_equal(
    cropped.median.ravel()[1:], baselines.fit(depths, WHOLE).median.ravel()[1:]
  )


def test_bounded_memory_takes_a_uniform_sample():
  """3 of 9 maps are kept; over many seeds each map is kept equally often."""
  maps = [np.full((2, 2), i + 1.0, np.float32) for i in range(9)]
  medians = [
    baselines.fit(maps, WHOLE, budget=3 * maps[0].nbytes, seed=s).median[0, 0] for s in range(300)
  ]
  # Median of 3 out of 1..9: symmetric about 5, variance (9+1)(9-3)/20.
  assert np.mean(medians) == pytest.approx(5, abs=0.3)
  assert np.var(medians) == pytest.approx(3, abs=0.6)
  assert baselines.fit(maps, WHOLE).median[0, 0] == 5


def test_evaluated_like_any_prediction(depths):
  fitted = baselines.fit(depths, WHOLE)
  truths = [
    {"key": str(i), "depth": np.repeat(np.repeat(x, 2, 0), 2, 1), "crop": (0, 0, 20, 28)}
    for i, x in enumerate(depths[1:4])
  ]
  batch = {"mask": np.array([True, True, True, False])}
  reports = {
    name: run.evaluate(depth.TASK, predict, [(batch, truths)], WHOLE)
    for name, predict in depth.TASK.baselines(({"depth": x} for x in depths), WHOLE).items()
  }
  assert list(reports) == ["best constant", "pixel median"]
  want = np.mean([np.nanmean(np.abs(fitted.constant - x) / x) for x in known(depths[1:4])])
  assert reports["best constant"].summary["abs_rel"] == pytest.approx(want, rel=1e-5)


def test_errors():
  with pytest.raises(errors.UserError, match="none of 2"):
    baselines.fit(np.zeros((2, 3, 4)), WHOLE)
  with pytest.raises(errors.UserError, match="none of 0"):
    baselines.fit([], WHOLE)
  with pytest.raises(ValueError, match=r"\(3, 4\) and \(3, 5\)"):
    baselines.fit([np.ones((3, 4)), np.ones((3, 5))], WHOLE)
