import matplotlib
import numpy as np
import pytest

from bicross_jax.tasks.depth import pictures as depth
from bicross_jax.viz import cells, colour


def test_places_on_the_three_scales():
  for kind, middle in [("linear", 5.5), ("log", np.sqrt(10)), ("inverse", 2 / 1.1)]:
    scale = colour.Scale(1, 10, kind)
    np.testing.assert_allclose(scale.place([1, middle, 10, 0.2, 99]), [0, 0.5, 1, 0, 1], atol=1e-12)
  np.testing.assert_allclose(colour.Scale(-1, 3).place([-1, 1, 3]), [0, 0.5, 1])


def test_senseless_scales_are_refused():
  with pytest.raises(ValueError, match="known: log, inverse, linear"):
    colour.Scale(1, 10, "square").place(3.0)
  for ends in [(2, 2), (1, np.inf), (3, 1), (0, np.nan)]:
    with pytest.raises(ValueError, match="low < high"):
      colour.Scale(*ends).place(3.0)
  with pytest.raises(ValueError, match="0 < low < high"):
    colour.Scale(0, 1, "log").place(3.0)


def test_ticks_lie_inside_and_apart():
  for scale in [colour.Scale(2, 60, "inverse"), colour.Scale(0.9, 80, "log")]:
    ticks = scale.ticks()
    assert len(ticks) >= 2
    assert all(scale.low <= t <= scale.high for t in ticks)
    assert np.diff(scale.place(ticks)).min() > 0.09
  assert colour.Scale(3, 3.5, "log").ticks() == [3, 3.5]
  assert colour.Scale(0, 3).ticks() == [0, 1.5, 3]


def test_colours_are_matplotlibs():
  ramp = colour.Ramp("magma", 1.0, 0.14)
  picture = colour.paint(np.array([[10.0, np.nan]]), ramp, colour.Scale(1, 100, "log"))
  want = matplotlib.colormaps["magma"](0.57, bytes=True)[:3]
  np.testing.assert_array_equal(picture[0, 0], want)
  np.testing.assert_array_equal(picture[0, 1], 0)
  assert picture.dtype == np.uint8


@pytest.mark.parametrize("ramp", [depth.DEPTH, depth.ERROR, cells.UNCERTAINTY, cells.FEATURE])
def test_lightness_is_even(ramp):
  """Perceptually uniform: CIE lightness is close to a straight line along the map."""
  x = np.linspace(0, 1, 64)[None]
  rgb = colour.paint(x, ramp, colour.Scale(0, 1))[0] / 255
  linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
  y = linear @ [0.2126, 0.7152, 0.0722]
  lightness = np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)
  line = np.polyval(np.polyfit(x[0], lightness, 1), x[0])
  assert np.abs(lightness - line).max() < 4
  assert abs(lightness[-1] - lightness[0]) > 60


def test_a_display_gets_srgb():
  """Values of the standard's tables: half the light is 188, a fifth of it is 124."""
  np.testing.assert_array_equal(
    colour.display(np.array([-1, 0, 0.001, 0.2, 0.5, 1, 2])), [0, 0, 3, 124, 188, 255, 255]
  )
