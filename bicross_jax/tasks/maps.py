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
