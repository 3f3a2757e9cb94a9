"""The 18 corruptions of RoboDepth, each in five severities: what a camera's images may suffer.

Kong et al., RoboDepth: Robust Out-of-Distribution Depth Estimation under Corruptions, NeurIPS 2023
(Datasets and Benchmarks): fifteen of Hendrycks and Dietterich, ICLR 2019 (ImageNet-C), as Michaelis et
al. 2019 made them for images of any size, and three of their own (dark, color_quant, iso). The constants
by severity are those of these benchmarks. Other than there frost is drawn (`weather.frost_picture`), the
severities of an image share their random numbers, and values are rounded instead of cut.

    corrupt(image, "fog", 3, seed=7)
"""

from collections.abc import Callable
import io
from typing import Any, NamedTuple
import zlib

import numpy as np

from bicross_jax import errors
from bicross_jax.names import nearest
from bicross_jax.sim import blur, weather

SEVERITIES = (1, 2, 3, 4, 5)
_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
_PHOTONS = (60, 25, 12, 5, 3)


class Corruption(NamedTuple):
  """One corruption.

  Attributes:
    group: of RoboDepth's three.
    apply: (float32[H, W, 3] in 0..1, random generator, *constants) -> float[H, W, 3].
    constants: of the severities 1 to 5.
  """

  group: str
  apply: Callable[..., np.ndarray]
  constants: tuple[tuple[Any, ...], ...]


def corrupt(image: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
  """An image with a corruption.

  Args:
    image: uint8[H, W, 3], sRGB.
    name: a key of `CORRUPTIONS`.
    severity: 1 to 5.
    seed: not negative; the same for the same numbers of fog, flakes, noise.

  Returns:
    uint8[H, W, 3].

  Raises:
    errors.UserError: no such corruption or severity.
    ValueError: no such image.
  """
  check(name, severity)
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
    raise ValueError(f"an image uint8[H, W, 3] is needed, got {image.dtype}{list(image.shape)}")
  corruption = CORRUPTIONS[name]
  rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
  x = image.astype(np.float32) / 255
  x = corruption.apply(x, rng, *corruption.constants[severity - 1])
  return np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)


def check(name: str, severity: int) -> None:
  """Nothing, for a corruption and a severity that there are.

  Raises:
    errors.UserError: there are not.
  """
  if name not in CORRUPTIONS:
    raise errors.UserError(f"there is no corruption {name!r}{nearest(name, CORRUPTIONS)}")
  if severity not in SEVERITIES:
    raise errors.UserError(f"severity {severity}: 1 to 5 are possible")


def brightness(x, rng, amount):
  """The value of HSV raised; hue and saturation stay, so that all colours grow in proportion."""
  del rng
  value = x.max(-1, keepdims=True)
  raised = np.minimum(value + np.float32(amount), 1)
  return np.where(value > 0, x / np.where(value > 0, value, 1) * raised, raised)


def dark(x, rng, brightest, photons, noise):
  """Low light: a gamma of 2 on the stretched image, darkened, with the noise of both kinds."""
  low, high = x.min(), x.max()
  stretched = (x - low) / (high - low) if high > low else x
  return gaussian(shot(brightest * stretched**2, rng, photons), rng, noise)


def contrast(x, rng, keep):
  """Every colour drawn towards its mean over the image."""
  del rng
  mean = x.mean((0, 1), keepdims=True)
  return keep * (x - mean) + mean


def gaussian(x, rng, sigma):
  """Normal noise of a standard deviation in 0..1."""
  return np.clip(x + rng.normal(scale=sigma, size=x.shape), 0, 1)


def shot(x, rng, photons):
  """Counts of photons, of which full light brings so many."""
  return np.clip(rng.poisson(x * photons) / photons, 0, 1)


def iso(x, rng, photons, noise):
  """A sensor turned up: counts of photons and normal noise."""
  return gaussian(shot(x, rng, photons), rng, noise)


def impulse(x, rng, share):
  """Values of single colours that are 0 or 1, as likely: salt and pepper."""
  drawn = rng.uniform(size=x.shape)
  return np.where(drawn < share / 2, 0, np.where(drawn < share, 1, x))


def color_quant(x, rng, bits):
  """The upper bits of each colour alone."""
  del rng
  kept = 256 - (1 << (8 - bits))
  return (np.rint(255 * x).astype(np.uint8) & np.uint8(kept)) / np.float32(255)


def pixelate(x, rng, share):
  """The image made smaller by means over areas, and large again without interpolation."""
  del rng
  from PIL import Image

  picture = _picture(x)
  small = tuple(max(1, int(share * n)) for n in picture.size)
  coarse = picture.resize(small, Image.Resampling.BOX)
  return _array(coarse.resize(picture.size, Image.Resampling.NEAREST))


def jpeg(x, rng, quality):
  """The image as a JPEG file of a low quality."""
  del rng
  from PIL import Image

  file = io.BytesIO()
  _picture(x).save(file, "JPEG", quality=quality)
  return _array(Image.open(file))


def _picture(x):
  from PIL import Image

  return Image.fromarray(np.rint(255 * x).astype(np.uint8))


def _array(picture):
  return np.asarray(picture, np.float32) / 255


def _without_rng(function):
  """A corruption in which nothing is drawn."""
  return lambda x, rng, *constants: function(x, *constants)


def _motion(x, rng, radius, sigma):
  return blur.motion(x, radius, sigma, rng.uniform(-45, 45))


def _each(*constants):
  """One constant a severity."""
  return tuple((c,) for c in constants)


_LIGHT, _SENSOR, _DATA = "weather and lighting", "sensor and movement", "data and processing"
CORRUPTIONS = {
  "brightness": Corruption(_LIGHT, brightness, _each(0.1, 0.2, 0.3, 0.4, 0.5)),
  "dark": Corruption(
    _LIGHT,
    dark,
    tuple((c, 10 * n, 0.1 * s) for c, n, s in zip((0.6, 0.5, 0.4, 0.3, 0.2), _PHOTONS, _NOISE)),
  ),
  "fog": Corruption(
    _LIGHT, weather.fog, ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
  ),
  "frost": Corruption(
    _LIGHT, weather.frost, ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
  ),
  "snow": Corruption(
    _LIGHT,
    weather.snow,
    (
      (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
      (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
      (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
      (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
      (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
  ),
  "contrast": Corruption(_LIGHT, contrast, _each(0.4, 0.3, 0.2, 0.1, 0.05)),
  "defocus": Corruption(
    _SENSOR, _without_rng(blur.defocus), ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
  ),
  "glass": Corruption(
    _SENSOR, blur.glass, ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
  ),
  "motion": Corruption(_SENSOR, _motion, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
  "zoom": Corruption(
    _SENSOR, _without_rng(blur.zoom), ((11, 1), (15, 1), (20, 2), (24, 2), (30, 3))
  ),
  "elastic": Corruption(_SENSOR, blur.elastic, _each(12.5, 16.25, 21.25, 25.0, 30.0)),
  "color_quant": Corruption(_SENSOR, color_quant, _each(5, 4, 3, 2, 1)),
  "gaussian": Corruption(_DATA, gaussian, _each(*_NOISE)),
  "impulse": Corruption(_DATA, impulse, _each(0.03, 0.06, 0.09, 0.17, 0.27)),
  "shot": Corruption(_DATA, shot, _each(*_PHOTONS)),
  "iso": Corruption(_DATA, iso, tuple((25, 0.7 * s) for s in _NOISE)),
  "pixelate": Corruption(_DATA, pixelate, _each(0.6, 0.5, 0.4, 0.3, 0.25)),
  "jpeg": Corruption(_DATA, jpeg, _each(25, 18, 15, 10, 7)),
}
