"""A pinhole camera: pixels with depth to points in space, and back (Hartley and Zisserman 2004, ch. 6).

Functions take NumPy's or JAX's arrays and give the same kind. Pixel centres lie at whole numbers;
points are metres in the camera's frame: x right, y down, z forward.
"""

from typing import Any

import numpy as np

Array = Any  # NumPy's or JAX's


def back_project(depth: Array, intrinsics: Array) -> Array:
  """The points that the pixels of a depth map show.

  Args:
    depth: float[..., H, W] metres along the optical axis.
    intrinsics: float[3, 3], pixels; the last row is 0, 0, 1.

  Returns:
    float[..., H, W, 3] metres.
  """
  xp, (height, width) = depth.__array_namespace__(), depth.shape[-2:]
  fx, skew, cx = intrinsics[0, 0], intrinsics[0, 1], intrinsics[0, 2]
  fy, cy = intrinsics[1, 1], intrinsics[1, 2]
  # Broadcast by hand: rows and columns have the type of the depth, and its number of axes.
  axes = (1,) * (depth.ndim - 2)
  rows = xp.asarray(np.arange(height), dtype=depth.dtype).reshape(*axes, height, 1)
  columns = xp.asarray(np.arange(width), dtype=depth.dtype).reshape(*axes, 1, width)
  y = (rows - cy) / fy
  x = (columns - cx - skew * y) / fx
  return xp.stack([x * depth, y * depth, depth], axis=-1)


def project(points: Array, intrinsics: Array) -> tuple[Array, Array]:
  """Where points are seen.

  Args:
    points: float[..., 3] metres, z not 0.
    intrinsics: float[3, 3], pixels; the last row is 0, 0, 1.

  Returns:
    (float[..., 2], column and row of every point in pixels; float[...], its depth in metres, which is
    negative behind the camera).
  """
  xp = points.__array_namespace__()
  x, y, z = points[..., 0], points[..., 1], points[..., 2]
  x, y = x / z, y / z
  column = intrinsics[0, 0] * x + intrinsics[0, 1] * y + intrinsics[0, 2]
  row = intrinsics[1, 1] * y + intrinsics[1, 2]
  return xp.stack([column, row], axis=-1), z
