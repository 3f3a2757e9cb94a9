"""NumPy's .npy and .npz files, read without trusting them.

The header is matched, never evaluated; only plain numbers are read (no objects, no structures);
nothing is allocated before the declared shape has been compared with the file's length.
"""

import io
import math
import re
from typing import NamedTuple
import zipfile
import zlib

import numpy as np

from bicross_jax import errors, files

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 4096
_DEFLATE = 1100  # deflate makes data at most 1032 times smaller
_NPZ_ERRORS = (
  zipfile.BadZipFile,
  zlib.error,
  EOFError,
  OSError,
  NotImplementedError,
  RuntimeError,
  ValueError,
  KeyError,
  IndexError,
  OverflowError,
)


class Header(NamedTuple):
  """What a .npy file declares; `offset` is where its numbers begin."""

  dtype: np.dtype
  shape: tuple[int, ...]
  fortran: bool
  offset: int


def parse_header(path, head: bytes) -> Header:
  """The header at the beginning of a .npy file.

  Args:
    path: the file, for the error.
    head: its first bytes (4096 are enough for any plain array).
  """
  if head[:6] != _MAGIC:
    raise errors.BadFileError(path, "does not begin as a .npy file")
  if head[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
    raise errors.BadFileError(path, "unknown version of the .npy format", "1.0, 2.0 or 3.0")
  start = 10 if head[6] == 1 else 12
  offset = start + int.from_bytes(head[8:start], "little")
  if len(head) < min(offset, _MAX_HEADER) or offset > _MAX_HEADER:
    raise errors.BadFileError(path, "the .npy header is cut off or too long")
  text = head[start:offset].decode("latin1")
  dtype = re.search(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[biuf][1248])['"]""", text)
  fortran = re.search(r"""['"]fortran_order['"]\s*:\s*(True|False)""", text)
  shape = re.search(r"""['"]shape['"]\s*:\s*\(((?:\s*\d{1,18}\s*,)*\s*(?:\d{1,18})?\s*)\)""", text)
  if not (dtype and fortran and shape):
    raise errors.BadFileError(path, "the .npy header does not describe an array of plain numbers")
  try:
    dtype = np.dtype(dtype[1])
  except TypeError as error:
    raise errors.BadFileError(path, f"the .npy header has no valid type: {error}") from error
  shape = tuple(int(n) for n in shape[1].split(",") if n.strip())
  return Header(dtype, shape, fortran[1] == "True", offset)


def read_header(path) -> Header:
  """The header of a .npy file whose length is exactly what that header declares."""
  length = files.size(path)
  header = parse_header(path, files.read(path, 0, min(length, _MAX_HEADER)))
  _check_length(path, header, length)
  return header


def open_npy(path) -> np.ndarray:
  """The array of a .npy file as a read-only memory map: reading a part costs that part only."""
  header = read_header(path)
  if not math.prod(header.shape):
    raise errors.BadFileError(path, f"is empty: shape {header.shape}")
  return np.memmap(
    path, header.dtype, "r", header.offset, header.shape, "F" if header.fortran else "C"
  )


def read_npz(path, key: str | None = None) -> np.ndarray:
  """One array of a .npz file.

  Args:
    path: the file.
    key: the array's name; may be left out where there is only one.
  """
  files.size(path)
  try:
    with zipfile.ZipFile(path) as archive:
      members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
      if key is None and len(members) == 1:
        key = next(iter(members))
      if key not in members:
        raise errors.BadFileError(
          path,
          f"holds the arrays {sorted(members)}",
          "one array" if key is None else f"an array {key!r}",
        )
      info = members[key]
      if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise errors.BadFileError(path, "is compressed in an unusual way", "stored or deflated")
      if info.file_size > _DEFLATE * min(info.compress_size, files.size(path)) + _MAX_HEADER:
        raise errors.BadFileError(path, f"declares {info.file_size} bytes in {info.compress_size}")
      with archive.open(info) as member:
        data = member.read(info.file_size)
  except _NPZ_ERRORS as error:
    raise errors.BadFileError(path, f"is not a whole .npz file: {error}") from error
  header = parse_header(path, data[:_MAX_HEADER])
  _check_length(path, header, len(data))
  array = np.frombuffer(data, header.dtype, offset=header.offset)
  return array.reshape(header.shape, order="F" if header.fortran else "C")


def write_npy(path, array: np.ndarray) -> None:
  """Writes an array of plain numbers; the file appears only when it is complete."""
  with files.write_whole(path) as file:
    file.write(header_bytes(array.shape, array.dtype))
    file.write(np.ascontiguousarray(array).data)


def header_bytes(shape: tuple[int, ...], dtype) -> bytes:
  """The bytes that stand before the numbers of a .npy file in C order."""
  out = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    out,
    {
      "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
      "fortran_order": False,
      "shape": tuple(shape),
    },
  )
  return out.getvalue()


def _check_length(path, header: Header, length: int) -> None:
  declared = header.offset + math.prod(header.shape) * header.dtype.itemsize
  if declared != length:
    raise errors.BadFileError(
      path, f"has {length} bytes", f"{declared} for {header.dtype} {header.shape}"
    )
