"""Maps in other sizes, as OpenCV resizes them."""

import cv2
import numpy as np

INTERPOLATIONS = {  # OpenCV's are torch's: half-pixel centres, bicubic with a = -0.75; nearest
  "bicubic": cv2.INTER_CUBIC,  # takes index floor(i * in / out)
  "bilinear": cv2.INTER_LINEAR,
  "nearest": cv2.INTER_NEAREST,
}


def resize(x: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
  """A map in another size: uint8 (nearest alone) or float32[h, w, ...] -> the same type[H, W, ...].

  Args:
    x: the map.
    size: (H, W).
    interpolation: of `INTERPOLATIONS`; none of them filters before it shrinks.
  """
  if x.shape[:2] == tuple(size):
    return x
  resized = cv2.resize(x, (size[1], size[0]), interpolation=INTERPOLATIONS[interpolation])
  return resized.reshape(*size, *x.shape[2:])


def nearest(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """A map [h, w, ...] in another size [H, W, ...], each pixel that of the nearest centre.

  Row i of H is row floor((i + 0.5) h / H) (as scikit-image resizes with order 0), which is not
  `resize`'s floor(i h / H).
  """
  rows, columns = (
    (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, x.shape[:2], strict=True)
  )
  return x[rows[:, None], columns[None, :]]
