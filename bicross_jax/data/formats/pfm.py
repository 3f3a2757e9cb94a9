"""Portable float maps (.pfm): float32 pictures, rows from the bottom up.

Line 1 `Pf` (grey) or `PF` (three channels), line 2 `width height`, line 3 a scale whose sign
names the byte order (negative = little), then the numbers. Used by Middlebury and Respike.
"""

import math
import re

import numpy as np

from bicross_jax import errors, files

_HEADER = re.compile(
  rb"(P[fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?[0-9.]+(?:[eE][-+]?\d+)?)(?:\r\n|\s)"
)


def read_pfm(path) -> np.ndarray:
  """The numbers as they stand in the file; unknown values (usually inf) are left to the caller.

  Returns:
    float32[H, W] or float32[H, W, 3], the top row first. The scale's size is not applied.

  Raises:
    errors.BadFileError: missing, not a PFM, or of another length than its header says.
  """
  data = files.read(path)
  header = _HEADER.match(data[:200])
  if header is None:
    raise errors.BadFileError(path, "does not begin as a PFM file", "Pf or PF, size and scale")
  width, height = int(header[2]), int(header[3])
  try:
    scale = float(header[4])
  except ValueError as error:
    raise errors.BadFileError(path, f"the scale is no number: {header[4]!r}") from error
  if not width or not height or not scale or not math.isfinite(scale):
    raise errors.BadFileError(path, f"declares {height}x{width} pixels, scale {scale}")
  shape = (height, width, 3) if header[1] == b"PF" else (height, width)
  length = header.end() + 4 * math.prod(shape)
  if len(data) != length:
    raise errors.BadFileError(path, f"has {len(data)} bytes", f"{length} for {shape}")
  array = np.frombuffer(data, "<f4" if scale < 0 else ">f4", offset=header.end())
  return np.ascontiguousarray(array.reshape(shape)[::-1], np.float32)


def write_pfm(path, array: np.ndarray, *, little: bool = True) -> None:
  """Writes float[H, W] or float[H, W, 3], the top row first, with scale 1."""
  if array.ndim not in (2, 3) or array.ndim == 3 and array.shape[2] != 3 or not array.size:
    raise ValueError(f"a PFM is [H, W] or [H, W, 3], not {array.shape}")
  kind, scale = "Pf" if array.ndim == 2 else "PF", -1.0 if little else 1.0
  head = f"{kind}\n{array.shape[1]} {array.shape[0]}\n{scale}\n".encode()
  with files.write_whole(path) as file:
    file.write(head)
    file.write(array[::-1].astype("<f4" if little else ">f4").tobytes())
