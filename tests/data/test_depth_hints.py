"""Depth hints: matchers, fusion against float64 NumPy, sides, and real pairs of known disparity."""

import functools

import numpy as np
from PIL import Image
import pytest
from scipy import ndimage

from bicross_jax.data import depth_hints
from bicross_jax.data.depth_hints import Matcher


def _texture(height, width, seed=0):
  """A smooth random picture, uint8[height, width, 3]."""
  noise = np.random.default_rng(seed).normal(size=(height, width, 3))
  smooth = ndimage.gaussian_filter(noise, (1, 1, 0))
  return np.clip(128 + 200 * smooth, 0, 255).astype(np.uint8)


def _shifted(disparity, height=40, width=96):
  """Left and right view of a plane, so many pixels apart."""
  scene = _texture(height, width + disparity)
  return scene[:, :width], scene[:, disparity:]


def _motorcycle():
  """scikit-image's pair of Middlebury: left, right, the left view's disparity, 0 unknown."""
  data = pytest.importorskip("skimage.data")
  left, right, truth = data.stereo_motorcycle()
  return left, right, np.where(np.isfinite(truth), truth, 0)


@functools.cache
def _quarter():
  """A part of that pair which is quickly matched."""
  left, right, _ = _motorcycle()
  return left[200:300, 100:500], right[200:300, 100:500]


def test_ranges_are_the_published_ones_at_their_width():
  assert depth_hints.ranges(1024) == (64, 96, 128, 160)
  assert depth_hints.ranges(640) == (48, 64, 80, 112)
  assert depth_hints.ranges(160) == (16, 32)  # of equal ones there is one
  assert depth_hints.ranges(depth_hints.NARROWEST) == (16,)
  wide = [(block, n) for block in (1, 3) for n in (64, 96, 128, 160)]
  assert list(depth_hints.matchers(1024)) == wide
  assert len(depth_hints.matchers(1024, 12)) == 12


@pytest.mark.parametrize("distance, side", [(5, 1), (5, -1), (12, 1), (12, -1)])
def test_a_plane_lies_where_its_disparity_says(distance, side):
  """Metres are focal * baseline / disparity, and positive, also where the partner stands left."""
  left, right = _shifted(distance)
  pair = (left, right) if side > 0 else (right, left)
  hint = depth_hints.hints(*pair, baseline=0.5 * side, focal=60.0)
  assert hint.dtype == np.float32 and hint.shape == (40, 96)
  assert (hint > 0).mean() > 0.75
  assert np.median(hint[hint > 0]) == np.float32(30 / distance)
  assert (np.abs(30 / hint[hint > 0] - distance) < 0.5).mean() > 0.99
  empty = hint[:, : distance - 1] if side > 0 else hint[:, 1 - distance :]
  assert not empty.any()  # the partner does not see these columns


def test_pictures_of_the_right_side_are_mirrored():
  left, right = _quarter()
  chosen = depth_hints.matchers(400)
  found = depth_hints.disparities(right, left, -1, chosen)
  mirrored = depth_hints.disparities(right[:, ::-1], left[:, ::-1], 1, chosen)
  np.testing.assert_array_equal(found, mirrored[..., ::-1])
  hint = depth_hints.hints(right, left, -0.5, 400.0)
  turned = depth_hints.hints(right[:, ::-1], left[:, ::-1], 0.5, 400.0)[:, ::-1]
  assert (
    hint == turned
  ).mean() > 0.999  # errors are equal to rounding, and some are as good as equal


def test_a_matcher_finds_nothing_in_as_many_columns_as_it_tries():
  left, right = _quarter()
  for one in (Matcher(1, 32), Matcher(3, 48)):
    (found,) = depth_hints.disparities(left, right, 1, [one])
    assert not found[:, : one.range].any() and found[:, one.range].any()
    (found,) = depth_hints.disparities(right, left, -1, [one])
    assert not found[:, -one.range :].any() and found[:, -one.range - 1].any()


def test_windows_of_2_and_3_find_the_same():
  left, right = _quarter()
  for n in (64, 96, 128, 160):
    one, two, three = depth_hints.disparities(left, right, 1, [Matcher(b, n) for b in (1, 2, 3)])
    np.testing.assert_array_equal(two, three)
    assert (one != three).mean() > 0.1
  every, some = (depth_hints.hints(left, right, 0.5, 400.0, count) for count in (12, 8))
  np.testing.assert_array_equal(every, some)


def _errors(target, partner, side, found):
  """The reprojection error of every matcher's disparity, float64[M, H, W], pixel by pixel."""
  target, partner = target / 255.0, partner / 255.0
  height, width = found.shape[1:]
  window = functools.partial(ndimage.uniform_filter, size=(3, 3, 1), mode="mirror")
  out = []
  for disparity in found.astype(np.float64):
    seen = np.zeros_like(target)
    for v in range(height):
      for u in range(width):
        x = np.clip(u - side * disparity[v, u], 0, width - 1)
        i = min(int(x), width - 2)
        seen[v, u] = (1 - x + i) * partner[v, i] + (x - i) * partner[v, i + 1]
        if disparity[v, u] == 0:
          seen[v, u] = partner[0, 0 if side > 0 else width - 1]
    a, b = window(seen), window(target)
    spread = window(seen**2) - a**2, window(target**2) - b**2
    both = window(seen * target) - a * b
    likeness = (2 * a * b + 0.01**2) * (2 * both + 0.03**2)
    likeness /= (a**2 + b**2 + 0.01**2) * (sum(spread) + 0.03**2)
    structure = np.clip((1 - likeness) / 2, 0, 1).mean(-1)
    out.append(0.85 * structure + 0.15 * np.abs(target - seen).mean(-1))
  return np.stack(out)


@pytest.mark.parametrize("side", [1, -1])
def test_the_best_explained_disparity_is_chosen(side):
  rng = np.random.default_rng(1)
  target, partner = _texture(12, 20, 1), _texture(12, 20, 2)
  target[3:6, 3:9] = partner[0, 0 if side > 0 else -1]  # where having none explains it best
  found = rng.uniform(0, 12, (4, 12, 20)).astype(np.float32)
  found[rng.uniform(size=found.shape) < 0.4] = 0
  found[1, 2:7, 2:10] = 0
  found[3] = found[0]  # of equals the first
  best, index = depth_hints.fuse(target, partner, side, found)
  errors = _errors(target, partner, side, found)
  want = errors.argmin(0)
  np.testing.assert_array_equal(index, want)
  np.testing.assert_array_equal(best, np.take_along_axis(found, want[None], 0)[0])
  assert (index < 3).all() and set(np.unique(index)) == {0, 1, 2}
  assert (best[4, 4:8] == 0).all()


def test_where_nothing_can_be_matched_there_is_no_hint():
  grey = np.full((40, 64, 3), 90, np.uint8)
  assert not depth_hints.hints(grey, grey, 0.5, 60.0).any()


def test_pictures_that_are_no_pair():
  narrow = np.zeros((40, 31, 3), np.uint8)
  with pytest.raises(ValueError, match="no pair"):
    depth_hints.hints(narrow, narrow, 0.5, 60.0)
  with pytest.raises(ValueError, match="no pair"):
    depth_hints.hints(np.zeros((40, 64, 3), np.uint8), np.zeros((40, 65, 3), np.uint8), 0.5, 60.0)


def _judge(hint, truth):
  """(share of known pixels with a hint, of these the share that is off by over 3 pixels), both disparities."""
  known = (truth > 0) & (hint > 0)
  wrong = np.abs(hint - truth)[known] > 3
  return known.sum() / (truth > 0).sum(), wrong.mean()


def _inverse(x):
  """1 / x, 0 where x is 0."""
  return np.where(x > 0, 1 / np.where(x > 0, x, 1), 0)


def test_motorcycle():
  """Measured: 90.1 % of the pixels have a hint, 6.7 % of those are off by over 3 pixels."""
  left, right, truth = _motorcycle()
  hint = depth_hints.hints(left, right, 1.0, 1.0)  # 1 / disparity
  covered, wrong = _judge(_inverse(hint), truth)
  assert covered > 0.89 and wrong < 0.075


def test_kitti(samples):
  """Measured, matched at 320x1024 as published: 93.3 % and 4.8 %; of the laser's pixels."""
  folder = samples / "kitti_stereo_2015" / "training"
  if not folder.is_dir():
    pytest.skip("no KITTI stereo 2015 among the samples")
  pair = [Image.open(folder / f"image_{n}" / "000046_10.png") for n in (2, 3)]
  truth = np.asarray(Image.open(folder / "disp_occ_0" / "000046_10.png")) / 256
  small = [np.asarray(x.resize((1024, 320), Image.Resampling.LANCZOS)) for x in pair]
  focal, baseline = 721.5377, 0.5327
  hint = depth_hints.hints(*small, baseline, focal * 1024 / 1242)
  rows, columns = (np.arange(n) * old // n for n, old in zip(truth.shape, hint.shape))
  metres = hint[rows[:, None], columns[None, :]]
  covered, wrong = _judge(focal * baseline * _inverse(metres), truth)
  assert covered > 0.92 and wrong < 0.055
