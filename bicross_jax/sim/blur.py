"""What lenses, panes and moving cameras do to an image: blurs and a local deformation.

Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019 (ImageNet-C), in the form for images of any size of Michaelis et al.,
Benchmarking Robustness in Object Detection, 2019, whose motion blur and elastic transform these are.

Images are float32[H, W, 3] in 0..1 (a single map [H, W] too, where nothing else is said).
"""

import cv2
import numpy as np


def gaussian(image: np.ndarray, sigma: float | tuple[float, float], reach: float) -> np.ndarray:
  """A Gaussian blur, the border repeated outwards.

  Args:
    image: what is blurred.
    sigma: pixels, or (down, across).
    reach: where the kernel ends, in sigmas.
  """
  down, across = np.broadcast_to(sigma, 2)
  size = tuple(2 * int(reach * s + 0.5) + 1 for s in (across, down))
  return cv2.GaussianBlur(image, size, across, sigmaY=down, borderType=cv2.BORDER_REPLICATE)


def defocus(image: np.ndarray, radius: int, soften: float) -> np.ndarray:
  """A lens out of focus: every point becomes a disk.

  Args:
    image: what is blurred.
    radius: of the disk, pixels.
    soften: sigma of a small Gaussian, pixels, that takes the steps off the disk's edge.
  """
  size = 3 if radius <= 8 else 5
  reach = radius + size  # nothing of the disk is lost, or mirrored, at the border of its kernel
  places = np.arange(-reach, reach + 1)
  disk = (places[:, None] ** 2 + places[None] ** 2 <= radius**2).astype(np.float32)
  kernel = cv2.GaussianBlur(disk / disk.sum(), (size, size), soften)
  return cv2.filter2D(image, -1, kernel)


def glass(
  image: np.ndarray, rng: np.random.Generator, sigma: float, most: int, rounds: int
) -> np.ndarray:
  """Frosted glass: a blur, pixels that change places with near ones, and the blur again.

  Args:
    image: [H, W, 3].
    rng: draws the partners.
    sigma: of the blurs, pixels.
    most: how far a partner may stand away along each axis, pixels.
    rounds: how often every pixel changes places.
  """
  height, width = image.shape[:2]
  rows = np.arange(height - most, most, -1)
  columns = np.arange(width - most, most, -1)
  here = rows[:, None] * width + columns[None]
  place = list(range(height * width))
  for _ in range(rounds):
    step = rng.integers(-most, most, (2, *here.shape))
    there = here + step[0] * width + step[1]
    for a, b in zip(here.ravel().tolist(), there.ravel().tolist(), strict=True):
      place[a], place[b] = place[b], place[a]
  blurred = gaussian(image, sigma, 4)
  moved = blurred.reshape(-1, image.shape[-1])[np.array(place)].reshape(image.shape)
  return gaussian(moved, sigma, 4)


def motion(image: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
  """A camera, or flakes, that move while the shutter is open: half a Gaussian along a line.

  Args:
    image: what is blurred.
    radius: the line has 2 x radius + 1 points, a pixel apart.
    sigma: of the Gaussian, pixels.
    angle: of the line, degrees; 0 lies across, 90 points down.
  """
  steps = np.arange(2 * radius + 1)
  weights = np.exp(-(steps**2) / (2 * sigma**2))
  turn = np.deg2rad(angle)
  down, across = (np.rint(steps * f).astype(int) for f in (np.sin(turn), np.cos(turn)))
  kernel = np.zeros((4 * radius + 1, 4 * radius + 1), np.float32)
  np.add.at(kernel, (2 * radius + down, 2 * radius + across), weights / weights.sum())
  return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def enlarge(image: np.ndarray, factor: float) -> np.ndarray:
  """The middle of an image at its size, `factor` times as large, by linear interpolation."""
  height, width = image.shape[:2]
  shift = (1 - 1 / factor) / 2
  matrix = np.array(
    [[1 / factor, 0, shift * (width - 1)], [0, 1 / factor, shift * (height - 1)]], np.float64
  )
  flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
  return cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)


def zoom(image: np.ndarray, most: int, step: int) -> np.ndarray:
  """A camera that drives ahead: the mean of the image and of enlarged ones.

  Args:
    image: what is blurred.
    most: the largest enlargement is by so many percent, the smallest by none.
    step: percent between two.
  """
  factors = [1 + percent / 100 for percent in range(0, most + 1, step)]
  return (image + sum(enlarge(image, f) for f in factors)) / (len(factors) + 1)


def elastic(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
  """Pixels displaced by a smooth random field.

  The field is uniform noise of half a percent of the height, blurred by a hundredth of each side
  and multiplied.

  Args:
    image: [H, W, 3].
    rng: draws the field.
    strength: what the blurred noise is multiplied by.
  """
  size = np.array(image.shape[:2])

  def field():
    most = 0.005 * size[0]
    noise = rng.uniform(-most, most, size).astype(np.float32)
    return strength * gaussian(noise, tuple(0.01 * size), 3)

  down, across = np.indices(size, np.float32)
  return cv2.remap(
    image, across + field(), down + field(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
  )
