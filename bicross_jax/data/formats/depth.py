"""Depth maps in 16-bit PNG files (metres times a divisor, 0 = unknown) and in NumPy's files (metres)."""

import pathlib

import numpy as np

from bicross_jax import errors
from bicross_jax.data.formats import image, npy

KITTI = 256.0  # KITTI and DrivingStereo
VKITTI = 100.0  # Virtual KITTI: centimetres; 65535 is the sky
NYU = 1000.0  # NYU v2: millimetres
VKITTI_SKY = 65535


def read_png16(path, divisor: float, *, unknown: int | None = None) -> np.ndarray:
  """Depth in metres.

  Args:
    path: a 16-bit grey PNG file.
    divisor: file values per metre: 256 (KITTI, DrivingStereo), 100 (Virtual KITTI), 1000 (NYU).
    unknown: a further file value that means no depth (65535, the sky of Virtual KITTI).

  Returns:
    float32[H, W], 0 where unknown.

  Raises:
    errors.BadFileError: missing, damaged, or not 16 bits of grey (an 8-bit picture, for one).
  """
  values = image.decode(
    path, np.array, ("I;16", "I;16L", "I;16B"), "a 16-bit grey PNG (mode I;16)", formats=("PNG",)
  )
  values = values.astype(np.uint16)
  depth = values.astype(np.float32) / np.float32(divisor)
  if unknown is not None:
    depth[values == unknown] = 0
  return depth


def write_png16(path, depth: np.ndarray, divisor: float) -> None:
  """Writes float[H, W] metres (0 = unknown), rounded to 1 / divisor.

  Raises:
    ValueError: a value that 16 bits cannot hold: negative, not finite or beyond 65535 / divisor.
  """
  if depth.ndim != 2:
    raise ValueError(f"a depth map is [H, W], not {depth.shape}")
  values = np.round(np.asarray(depth, np.float64) * divisor)
  if not (np.isfinite(values) & (values >= 0) & (values <= 65535)).all():
    raise ValueError(f"depth outside 0 .. {65535 / divisor:.2f} m does not fit 16 bits")
  image.write_png(path, values.astype(np.uint16))


def read_npy(path) -> np.ndarray:
  """Depth in metres, of a .npy file or of the one array in a .npz file.

  Returns:
    float32[H, W], 0 where unknown: where the file has 0, a negative number, NaN or infinity.

  Raises:
    errors.BadFileError: missing, damaged, or not [H, W] of a floating type.
  """
  array = npy.read_npz(path) if pathlib.Path(path).suffix == ".npz" else npy.open_npy(path)
  if array.dtype.kind != "f" or array.ndim != 2 or not array.size:
    raise errors.BadFileError(
      path, f"is {array.dtype} {list(array.shape)}", "[H, W] of a floating type, metres"
    )
  metres = array.astype(np.float32)
  return np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(0))
