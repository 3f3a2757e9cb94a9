import matplotlib
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.viz import colour


def test_places_on_the_three_scales():
  for kind, middle in [("linear", 5.5), ("log", np.sqrt(10)), ("inverse", 2 / 1.1)]:
    scale = colour.Scale(1, 10, kind)
    np.testing.assert_allclose(scale.place([1, middle, 10, 0.2, 99]), [0, 0.5, 1, 0, 1], atol=1e-12)


def test_senseless_scales_are_refused():
  with pytest.raises(ValueError, match="known: log, inverse, linear"):
    colour.Scale(1, 10, "square").place(3.0)
  for ends in [(0, 1), (2, 2), (1, np.inf)]:
    with pytest.raises(ValueError, match="low < high"):
      colour.Scale(*ends).place(3.0)


def test_near_is_bright_and_unknown_alone_is_black():
  depth = np.array([[1.0, 2.0, 5.0, 20.0, 99.0, 0.0, np.nan, np.inf, -1.0]])
  picture = colour.depth_picture(depth, colour.Scale(1, 40))
  light = picture.astype(int).sum(-1)[0]
  assert picture.dtype == np.uint8 and picture.shape == (1, 9, 3)
  assert (np.diff(light[:5]) < 0).all() and light[4] > 30
  np.testing.assert_array_equal(light[5:], 0)


def test_colours_are_matplotlibs():
  name, start, end = colour.MAPS["depth"]
  picture = colour.depth_picture(np.array([[10.0]]), colour.Scale(1, 100))
  want = matplotlib.colormaps[name]((start + end) / 2, bytes=True)[:3]
  np.testing.assert_array_equal(picture[0, 0], want)


@pytest.mark.parametrize("quantity", colour.MAPS)
def test_lightness_is_even(quantity):
  """Perceptually uniform: CIE lightness is close to a straight line along the map."""
  x = np.linspace(0, 1, 64)[None]
  rgb = colour.paint(x, quantity, x >= 0)[0] / 255
  linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
  y = linear @ [0.2126, 0.7152, 0.0722]
  lightness = np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)
  line = np.polyval(np.polyfit(x[0], lightness, 1), x[0])
  assert np.abs(lightness - line).max() < 4
  assert abs(lightness[-1] - lightness[0]) > 60


def test_common_scale_holds_the_central_share():
  near, far = np.arange(1.0, 101).reshape(10, 10), np.array([[0.0, np.nan, 150.0]])
  scale = colour.common_scale(near, far, kind="linear", share=0.9)
  known = np.append(near, 150.0)
  assert np.mean((known >= scale.low) & (known <= scale.high)) == pytest.approx(0.9, abs=0.02)
  assert scale.kind == "linear"
  plane = colour.common_scale(np.full((2, 2), 5.0))
  assert plane.low < 5 < plane.high
  with pytest.raises(errors.UserError, match="no depth map"):
    colour.common_scale(np.zeros((2, 2)))


def test_relative_error():
  prediction = np.array([[1.0, 3.0, 9.0, np.nan, 5.0]])
  truth = np.array([[2.0, 2.0, 2.0, 2.0, 0.0]])
  error, known = colour.relative_error(prediction, truth)
  np.testing.assert_allclose(error, [[0.5, 0.5, 1.0, 1.0, 0.0]])
  np.testing.assert_array_equal(known, [[1, 1, 1, 1, 0]])
  picture = colour.error_picture(prediction, truth)
  assert picture[0, 4].sum() == 0 and picture[0, 3].sum() > picture[0, 0].sum() > 0
  with pytest.raises(ValueError, match="differ"):
    colour.relative_error(prediction, truth[0])


def test_uncertainty_and_feature():
  picture = colour.uncertainty_picture(np.array([[0.0, 1.0, 2.0, 5.0, np.nan]]), high=2.0)
  light = picture.astype(int).sum(-1)[0]
  assert light[0] < light[1] < light[2] == light[3] and light[4] == 0
  feature = np.zeros((4, 4, 3))
  feature[:2] = [[[1.0, -1.0, 1.0]]]
  picture = colour.feature_picture(feature).astype(int).sum(-1)
  assert picture[:2].min() > picture[2:].max()
  low = colour.feature_picture(feature, high=2.0).astype(int).sum(-1)
  assert (low[:2] < picture[:2]).all() and (low[2:] == picture[2:]).all()


def test_spike_picture_is_the_mean_of_the_first_steps():
  rng = np.random.default_rng(0)
  bits = rng.random((5, 6, 32)) < rng.random((5, 6, 1))
  spike = np.packbits(bits, axis=-1, bitorder="little")
  for steps in (8, 16, 32):
    rate = bits[..., :steps].mean(-1)
    want = np.round(255 * np.minimum(rate / np.percentile(rate, 99.5), 1))
    picture = colour.spike_picture(spike, steps)
    np.testing.assert_array_equal(picture, np.repeat(want[..., None], 3, -1))
  half = colour.spike_picture(spike, 16, white=0.5)
  np.testing.assert_array_equal(half[..., 0] == 255, bits[..., :16].mean(-1) >= 0.5 - 1e-3)
  assert not colour.spike_picture(spike * 0).any()
  for bad in [spike.astype(int), spike[0]]:
    with pytest.raises(ValueError, match="packed spikes"):
      colour.spike_picture(bad)


def test_thicken_spreads_the_nearest_depth():
  depth = np.zeros((5, 7))
  depth[2, 2], depth[2, 4] = 10.0, 3.0
  got = colour.thicken(depth)
  assert got[2, 2] == 10 and got[2, 4] == got[2, 3] == got[1, 3] == 3 and got[1, 1] == 10
  assert (got > 0).sum() == 15
  assert (colour.thicken(depth, 2) > 0).sum() == 35
  assert got.dtype == np.float32
