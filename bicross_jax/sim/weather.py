"""Fog, frost and snow on an image.

Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019 (ImageNet-C), for images of any size. Their frost lays photographs of frosted
panes over an image; none is shipped here, so that `frost_picture` draws one.

Images are float32[H, W, 3] in 0..1.
"""

import cv2
import numpy as np

from bicross_jax.sim import blur

_REC601 = np.array([0.299, 0.587, 0.114], np.float32)
_TINT = np.array([0.93, 1.0, 1.07], np.float32)  # of ice: the photographs are bluish
_LEVEL = (0.48, 0.78)  # mean brightness of a frosted pane
_FERNS = 100  # for an area of the shorter side squared


def plasma(rng: np.random.Generator, size: tuple[int, int], decay: float) -> np.ndarray:
  """Clouds by the diamond-square method on a torus, cut to an image: float32[H, W] in 0..1.

  Args:
    rng: draws the heights.
    size: (H, W).
    decay: the noise of a level is that of the coarser one divided by the square of this.
  """
  heights, spread = np.zeros((1, 1), np.float32), np.float32(1)
  while len(heights) < max(size):
    n = len(heights)
    down, across, both = (np.roll(heights, -1, axis) for axis in (0, 1, (0, 1)))
    draw = lambda: spread * (2 * rng.random((n, n), np.float32) - 1)
    middle = (heights + down + across + both) / 4 + draw()
    above, left = np.roll(middle, 1, 0), np.roll(middle, 1, 1)
    finer = np.empty((2 * n, 2 * n), np.float32)
    finer[::2, ::2], finer[1::2, 1::2] = heights, middle
    finer[::2, 1::2] = (heights + across + middle + above) / 4 + draw()
    finer[1::2, ::2] = (heights + down + middle + left) / 4 + draw()
    heights, spread = finer, spread / np.float32(decay**2)
  heights -= heights.min()
  return heights[: size[0], : size[1]] / max(heights.max(), np.float32(1e-12))


def fog(image: np.ndarray, rng: np.random.Generator, amount: float, decay: float) -> np.ndarray:
  """Clouds added to an image, whose brightest value stays what it is.

  Args:
    image: what is seen.
    rng: draws the clouds.
    amount: of fog where it is thickest.
    decay: of `plasma`; the smaller, the finer the clouds.
  """
  brightest = image.max()
  clouds = amount * plasma(rng, image.shape[:2], decay)[..., None]
  return (image + clouds) * brightest / (brightest + amount)


def frost(image: np.ndarray, rng: np.random.Generator, keep: float, ice: float) -> np.ndarray:
  """A frosted pane before an image, `frost_picture`.

  Args:
    image: what is seen.
    rng: draws the pane.
    keep, ice: how much of the image and of the pane is seen.
  """
  return keep * image + ice * frost_picture(rng, image.shape[:2])


def frost_picture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
  """A drawn pane with ferns of ice: float32[H, W, 3] in 0..1.

  It is no photograph: a mean brightness drawn between those of the photographs of ImageNet-C, patches
  of thick and thin ice (`plasma`), ferns of needles and grains, in the tint of ice.

  Args:
    rng: draws it.
    size: (H, W).
  """
  drawn = np.zeros(size, np.uint8)
  for _ in range(round(_FERNS * size[0] * size[1] / min(size) ** 2)):
    _fern(drawn, rng)
  patches = plasma(rng, size, 1.7)
  ice = drawn / np.float32(255) + 0.3 * rng.random(size, np.float32)  # needles and grains
  grey = rng.uniform(*_LEVEL) + 0.4 * (patches - patches.mean()) + 0.35 * (ice - ice.mean())
  return np.clip(grey[..., None] * _TINT, 0, 1)


def _fern(picture: np.ndarray, rng: np.random.Generator) -> None:
  """Draws a stem with needles on both sides, shorter and shorter, into uint8[H, W]."""
  start = rng.uniform((0, 0), picture.shape[::-1])
  turn, length = rng.uniform(0, 2 * np.pi), min(picture.shape) * 0.5 * rng.uniform(0.3, 1) ** 2
  stem = length * np.array([np.cos(turn), np.sin(turn)])
  lines = [np.array([[start, start + stem]])]
  for side in (-1, 1):
    along = np.sort(rng.uniform(0, 1, max(3, int(length / 2))))[:, None]
    turns = turn + side * rng.normal(np.pi / 4, 0.15, along.shape)
    reach = 0.5 * length * (1 - along) * rng.uniform(0.2, 1, along.shape)
    roots = start + along * stem
    tips = roots + reach * np.concatenate([np.cos(turns), np.sin(turns)], axis=1)
    lines.append(np.stack([roots, tips], axis=1))
  points = np.rint(16 * np.concatenate(lines)).astype(np.int32)  # in sixteenths of a pixel
  cv2.polylines(picture, list(points), False, rng.uniform(80, 255), 1, cv2.LINE_AA, 4)


def snow(
  image: np.ndarray,
  rng: np.random.Generator,
  mean: float,
  spread: float,
  size: float,
  threshold: float,
  radius: int,
  sigma: float,
  keep: float,
) -> np.ndarray:
  """Flakes that fall across an image that has turned paler.

  Args:
    image: what is seen.
    rng: draws flakes and their direction.
    mean, spread: of the normal numbers that flakes are made of.
    size: how many times noise of a pixel is enlarged.
    threshold: what is below is no flake.
    radius, sigma: of the streaks, `blur.motion`.
    keep: how much of the image stays; the rest is its paler version.
  """
  noise = rng.normal(mean, spread, image.shape[:2]).astype(np.float32)
  noise = blur.enlarge(noise, size)
  flakes = np.clip(np.where(noise < threshold, 0, noise), 0, 1)
  flakes = blur.motion(flakes, radius, sigma, rng.uniform(-135, -45))
  grey = (image @ _REC601)[..., None]
  pale = keep * image + (1 - keep) * np.maximum(image, 1.5 * grey + 0.5)
  return pale + (flakes + flakes[::-1, ::-1])[..., None]
