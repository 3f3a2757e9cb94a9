"""The 18 corruptions: closed forms, statistics, and that a higher severity is a worse image."""

import colorsys
import zlib

import numpy as np
import pytest
from skimage import data, transform

from bicross_jax import errors
from bicross_jax.sim import corruptions
from bicross_jax.sim.corruptions import CORRUPTIONS, SEVERITIES, corrupt

NAMES = list(CORRUPTIONS)
# Their severities leave less of the image, and lay more or finer things over it: not always a larger change.
LAID_OVER = ("fog", "frost")


@pytest.fixture(scope="module")
def photo():
  """A photograph, uint8[96, 128, 3]."""
  return np.rint(
    255 * transform.resize(data.astronaut()[:384], (96, 128), anti_aliasing=True)
  ).astype(np.uint8)


def _flat(value, size=(200, 300)):
  return np.full((*size, 3), value, np.uint8)


def _constants(name):
  return [c[0] if len(c) == 1 else c for c in CORRUPTIONS[name].constants]


def test_there_are_those_of_the_benchmark():
  assert len(NAMES) == 18 and all(len(c.constants) == 5 for c in CORRUPTIONS.values())
  groups = [c.group for c in CORRUPTIONS.values()]
  assert [groups.count(g) for g in dict.fromkeys(groups)] == [6, 6, 6]


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_back_is_an_image_and_the_same_for_the_same_seed(name, photo):
  before = photo.copy()
  found = corrupt(photo, name, 3, seed=5)
  assert found.shape == photo.shape and found.dtype == np.uint8
  np.testing.assert_array_equal(photo, before)
  np.testing.assert_array_equal(corrupt(photo, name, 3, seed=5), found)
  drawn = name not in (
    "brightness",
    "contrast",
    "defocus",
    "zoom",
    "color_quant",
    "pixelate",
    "jpeg",
  )
  assert (corrupt(photo, name, 3, seed=6) != found).any() == drawn
  for size in ((7, 9), (40, 3), (1, 1)):
    assert corrupt(_flat(100, size), name, 5, seed=0).shape == (*size, 3)
  for value in (0, 255):
    assert corrupt(_flat(value, (20, 30)), name, 1, seed=0).shape == (20, 30, 3)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LAID_OVER])
def test_a_higher_severity_changes_more(name, photo):
  found = [corrupt(photo, name, severity, seed=1) for severity in SEVERITIES]
  changes = [np.abs(x.astype(float) - photo).mean() for x in found]
  assert changes[0] > 1 and np.all(np.diff(changes) > 0), changes


@pytest.mark.parametrize("name", ["defocus", "glass", "motion", "zoom"])
def test_blurs_take_away_the_fine_structure(name, photo):
  fine = lambda x: np.square(np.diff(x.astype(float), axis=0)).mean()
  found = [fine(corrupt(photo, name, severity, seed=1)) for severity in SEVERITIES]
  assert found[0] < fine(photo) / 2 and found[-1] < found[0]


@pytest.mark.parametrize("name", LAID_OVER)
def test_of_two_images_the_weather_leaves_a_share_of_the_difference(name):
  """fog: brightest / (brightest + amount); frost: as much as is kept; both grow less and less."""
  rng = np.random.default_rng(0)
  a, b = rng.integers(0, 40, (2, 64, 96, 3)).astype(np.uint8)
  a[0, 0], b[0, 0] = 40, 40
  shares = []
  for severity, (first, second) in zip(SEVERITIES, _constants(name), strict=True):
    change = corrupt(a, name, severity, 3).astype(float) - corrupt(b, name, severity, 3)
    share = 40 / 255 / (40 / 255 + first) if name == "fog" else first
    clear = (corrupt(a, name, severity, 3) < 255) & (corrupt(b, name, severity, 3) < 255)
    np.testing.assert_allclose(change[clear], share * (a.astype(float) - b)[clear], atol=1.01)
    shares.append((share, second))
  assert shares == sorted(shares, reverse=True)


def test_brightness_raises_the_value_of_hsv(photo):
  for severity, amount in zip(SEVERITIES, _constants("brightness"), strict=True):
    found = corrupt(photo, "brightness", severity, 0)
    for y, x in ((0, 0), (20, 60), (50, 100), (90, 20)):
      hue, saturation, value = colorsys.rgb_to_hsv(*photo[y, x] / 255)
      wanted = colorsys.hsv_to_rgb(hue, saturation, min(value + amount, 1))
      np.testing.assert_allclose(found[y, x], 255 * np.array(wanted), atol=0.51)
  assert (corrupt(_flat(0), "brightness", 2, 0) == 51).all()


def test_contrast_draws_to_the_mean_of_each_colour(photo):
  mean = photo.mean((0, 1))
  for severity, keep in zip(SEVERITIES, _constants("contrast"), strict=True):
    wanted = mean + keep * (photo - mean)
    np.testing.assert_allclose(corrupt(photo, "contrast", severity, 0), wanted, atol=0.51)


def test_quantisation_keeps_the_upper_bits(photo):
  for severity in SEVERITIES:
    step = 2 ** (2 + severity)
    np.testing.assert_array_equal(corrupt(photo, "color_quant", severity, 0), photo // step * step)


def test_pixelation_is_the_mean_of_blocks(photo):
  for severity, size in ((2, 2), (5, 4)):
    blocks = photo.reshape(96 // size, size, 128 // size, size, 3).mean((1, 3))
    wanted = np.repeat(np.repeat(blocks, size, 0), size, 1)
    np.testing.assert_allclose(corrupt(photo, "pixelate", severity, 0), wanted, atol=1)


def test_jpeg_rounds_the_mean_of_a_block_to_its_table():
  """The first number of a grey block is 8 (grey - 128), in steps of 16 times 50 / quality."""
  grey = np.repeat(np.arange(0, 256, 5, np.uint8), 16)[None].repeat(16, 0)
  image = np.repeat(grey[..., None], 3, -1)
  for severity, quality in zip(SEVERITIES, _constants("jpeg"), strict=True):
    step = (16 * (5000 // quality) + 50) // 100
    wanted = 128 + np.rint(8 * (grey.astype(float) - 128) / step) * step / 8
    found = corrupt(image, "jpeg", severity, 0)[..., 0]
    sure = np.abs(np.abs(8 * (grey.astype(float) - 128) / step % 1) - 0.5) > 0.01
    assert sure.mean() > 0.7
    np.testing.assert_allclose(found[sure], np.clip(wanted, 0, 255)[sure], atol=0.51)


def test_noise_has_the_variance_of_its_source():
  x = 128 / 255
  for severity in (1, 2):
    (sigma,), (photons,) = (CORRUPTIONS[n].constants[severity - 1] for n in ("gaussian", "shot"))
    counts, more = CORRUPTIONS["iso"].constants[severity - 1]
    wanted = {"gaussian": sigma**2, "shot": x / photons, "iso": x / counts + more**2}
    for name, variance in wanted.items():
      found = corrupt(_flat(128), name, severity, 2) / 255.0
      assert found.mean() == pytest.approx(x, abs=0.005), name
      assert found.var() == pytest.approx(variance, rel=0.03), name


def test_impulses_are_as_many_and_as_often_white_as_black():
  for severity, share in zip(SEVERITIES, _constants("impulse"), strict=True):
    found = corrupt(_flat(128), "impulse", severity, 0)
    assert (found == 0).mean() == pytest.approx(share / 2, rel=0.05)
    assert (found == 255).mean() == pytest.approx(share / 2, rel=0.05)
    assert ((found == 0) | (found == 255) | (found == 128)).all()


def test_in_the_dark_white_is_what_is_left_and_grey_its_square():
  image = _flat(255)
  image[:, :100], image[:, 100:200] = 0, 128
  for severity, (brightest, photons, sigma) in zip(SEVERITIES, _constants("dark"), strict=True):
    found = corrupt(image, "dark", severity, 0) / 255.0
    grey = brightest * (128 / 255) ** 2
    assert found[:, 200:].mean() == pytest.approx(brightest, abs=0.01)
    assert found[:, 100:200].mean() == pytest.approx(grey, abs=0.01)
    if severity < 4:  # beyond, much of the noise is cut off at black
      assert found[:, 200:].var() == pytest.approx(brightest / photons + sigma**2, rel=0.05)


def test_the_severities_of_an_image_share_what_is_drawn():
  first, second = (corrupt(_flat(128), "gaussian", s, 9).astype(float) - 128 for s in (1, 2))
  assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.99
  other = corrupt(_flat(128), "iso", 1, 9).astype(float) - 128
  assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.02
  assert zlib.crc32(b"gaussian") != zlib.crc32(b"iso")


def test_bad_input_is_named(photo):
  with pytest.raises(errors.UserError, match="no corruption 'fogg'; did you mean fog"):
    corrupt(photo, "fogg", 1, 0)
  for severity in (0, 6, 2.5):
    with pytest.raises(errors.UserError, match="1 to 5 are possible"):
      corrupt(photo, "fog", severity, 0)
  for image in (photo / 255, photo[..., 0], photo[:0], photo[..., :2]):
    with pytest.raises(ValueError, match="uint8"):
      corrupt(image, "fog", 1, 0)
  assert corruptions.SEVERITIES == (1, 2, 3, 4, 5)
