"""The protocols of Akada et al. (WACV 2022), written out in NumPy."""

import numpy as np
import pytest

from bicross_jax.tasks.depth import TASK
from bicross_jax.tasks.depth import protocol as protocols
from bicross_jax.tasks.depth.protocol import PROTOCOLS

SIZE, VIEW = (375, 1242), (0, 0, 375, 1242)
GARG, EIGEN = np.s_[153:371, 44:1197], np.s_[124:342, 44:1197]  # of frames of that size
NAMES = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "d1", "d2", "d3")


def _metrics(g, p):
  ratio = np.maximum(g / p, p / g)
  return (
    np.mean(np.abs(g - p) / g),
    np.mean((g - p) ** 2 / g),
    np.sqrt(np.mean((g - p) ** 2)),
    np.sqrt(np.mean((np.log(g) - np.log(p)) ** 2)),
    np.mean(np.abs(np.log10(g) - np.log10(p))),
    *(np.mean(ratio < 1.25**k) for k in (1, 2, 3)),
  )


def _linear(x, size):
  """Two taps an axis, half-pixel centres, edges repeated."""
  for axis, new in enumerate(size):
    old = x.shape[axis]
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.minimum(at.astype(int), old - 2)
    share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
    x = np.take(x, low, axis) * (1 - share) + np.take(x, low + 1, axis) * share
  return x


@pytest.fixture(scope="module")
def kitti():
  """(prediction at 96x320 with a few values below 0 and beyond the cap, laser-like truth)."""
  rng = np.random.default_rng(0)
  v = np.linspace(0, 1, 96)[:, None]
  prediction = 60 * np.exp(-3 * v) + 8 * rng.standard_normal((96, 320))
  prediction[40:60, 100:104] = 90
  truth = rng.uniform(0.2, 95, SIZE) * (rng.random(SIZE) < 0.05)
  return prediction.astype(np.float32), truth.astype(np.float32)


@pytest.mark.parametrize(
  "name, low, high, crop, levels",
  [
    ("akada_kitti", 1, 80, GARG, 0),
    ("akada_kitti_50", 1, 50, GARG, 0),
    ("akada_kitti_eigen", 1, 80, EIGEN, 0),
    ("akada_kitti_legacy", 1, 80, GARG, 255),
    ("akada_validation", 1e-3, 80, GARG, 0),
  ],
)
def test_kitti(kitti, name, low, high, crop, levels):
  prediction, truth = kitti
  assert prediction.min() < 0
  p = prediction.astype(np.float64)
  if levels:
    p = np.floor(levels * np.clip(p / 80, 0, 1)) / levels * 80
  p = np.clip(_linear(p, SIZE), low, high)[crop]
  g = truth.astype(np.float64)[crop]
  valid = (g > low) & (g < high)
  found = protocols.measure(prediction, truth, VIEW, PROTOCOLS[name])
  assert found["pixels"] == valid.sum() > 1000
  np.testing.assert_allclose([found[n] for n in NAMES], _metrics(g[valid], p[valid]), rtol=2e-3)
  if not levels:  # whose steps of 0.3 m a rounding error may miss
    np.testing.assert_allclose([found[n] for n in NAMES], _metrics(g[valid], p[valid]), rtol=2e-5)


@pytest.mark.parametrize(
  "name, rows, levels",
  [("make3d_c1", 21, 0), ("make3d_c1_whole", 55, 0), ("akada_make3d_legacy", 21, 255)],
)
def test_make3d(name, rows, levels):
  """Truth is kept in the size of the picture, and comes back as it was."""
  rng = np.random.default_rng(1)
  laser = rng.uniform(1, 81, (rows, 305)).astype(np.float32)
  laser[0, :5] = 0
  height, width = {21: (852, 1704), 55: (2272, 1704)}[rows]
  at = [((2 * np.arange(n) + 1) * old) // (2 * n) for n, old in ((height, rows), (width, 305))]
  truth = laser[np.ix_(*at)]
  prediction = rng.uniform(0, 40, (64, 128)).astype(np.float32)
  p = prediction.astype(np.float64)
  if levels:
    p = np.floor(levels * p / 80) / levels * 80
  p = p[np.ix_(np.arange(rows) * 64 // rows, np.arange(305) * 128 // 305)]
  g = laser.astype(np.float64)
  valid = (g > 1e-3) & (g < 70)
  p = np.clip(p * (np.median(g[valid]) / np.median(p[valid])), 1e-3, 70)
  found = protocols.measure(prediction, truth, (0, 0, height, width), PROTOCOLS[name])
  assert found["pixels"] == valid.sum()
  tolerance = 2e-3 if levels else 1e-5
  np.testing.assert_allclose(
    [found[n] for n in NAMES], _metrics(g[valid], p[valid]), rtol=tolerance
  )
  assert TASK.summarise([found])["log10"] == found["log10"]


def test_what_lies_below_the_lowest_grey_level_does_not_wrap_around():
  """-0.2 is the grey level 0, where the repository's becomes 205: 64 m."""
  truth = np.full((4, 4), 5.0, np.float32)
  depth = np.full((4, 4), -0.2, np.float32)
  protocol = PROTOCOLS["akada_kitti_legacy"]._replace(crop="none")
  frame, *_ = protocols.predicted_frame(depth, truth, (0, 0, 4, 4), protocol)
  np.testing.assert_array_equal(frame, 1)
  frame, *_ = protocols.predicted_frame(depth + 5.3, truth, (0, 0, 4, 4), protocol)
  np.testing.assert_allclose(frame, 16 / 255 * 80, rtol=1e-6)
