"""NumPy's .npy and .npz files, read without trusting them.

The header is matched, never evaluated; only plain numbers are read (no objects, no structures);
nothing is allocated before the declared shape has been compared with the file's length. The arrays
of a .npz are unpacked piece by piece, so that a reader holds what it needs and no more.
"""

from collections.abc import Iterator
import contextlib
import io
import math
import re
from typing import IO, NamedTuple
import zipfile
import zlib

import numpy as np

from bicross_jax import errors, files

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 4096
_DEFLATE = 1100  # deflate makes data at most 1032 times smaller
_ALWAYS_UNPACKED = 1 << 30  # bytes; more than that must not be nearly empty
_LARGE_RATIO = 512  # as deflate makes a recording with one spike in 3000 steps
_PIECE = 4 << 20  # bytes unpacked at a time
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
  # Python 2 wrote long integers as 128L.
  shape = re.search(
    r"""['"]shape['"]\s*:\s*\(((?:\s*\d{1,18}L?\s*,)*\s*(?:\d{1,18}L?)?\s*)\)""", text
  )
  if not (dtype and fortran and shape):
    raise errors.BadFileError(path, "the .npy header does not describe an array of plain numbers")
  try:
    dtype = np.dtype(dtype[1])
  except TypeError as error:
    raise errors.BadFileError(path, f"the .npy header has no valid type: {error}") from error
  shape = tuple(int(n) for n in shape[1].replace("L", "").split(",") if n.strip())
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


def npz_header(path, key: str | None = None) -> Header:
  """The header of an array in a .npz file; arguments and errors as for `read_npz`."""
  with _member(path, key) as (header, _):
    return header


def npz_pieces(path, key: str | None = None, unit: int = 1, start: int = 0) -> Iterator[np.ndarray]:
  """The numbers of an array in a .npz file, in the order of the file, piece by piece.

  Args:
    path: the file.
    key: the array's name; may be left out where there is only one.
    unit: pieces are whole multiples of so many numbers, of about 4 MB.
    start: numbers to leave out at the beginning. Who stops early unpacks no more.

  Yields:
    arrays of one axis, read-only.
  """
  with _member(path, key) as (header, member):
    size = header.dtype.itemsize * unit
    size *= max(_PIECE // size, 1)
    left = math.prod(header.shape) * header.dtype.itemsize
    skipped = start * header.dtype.itemsize
    left -= skipped
    while skipped:
      skipped -= len(_unpack(path, member, min(skipped, _PIECE)))
    while left:
      data = _unpack(path, member, min(left, size))
      left -= len(data)
      yield np.frombuffer(data, header.dtype)


def read_npz(path, key: str | None = None) -> np.ndarray:
  """One array of a .npz file.

  Args:
    path: the file.
    key: the array's name; may be left out where there is only one.

  Raises:
    errors.BadFileError: missing, damaged, without that array, or with one that has another length
      than its header says or is larger and emptier than any recording.
  """
  header = npz_header(path, key)
  array, at = np.empty(math.prod(header.shape), header.dtype), 0
  for piece in npz_pieces(path, key):
    array[at : at + piece.size] = piece
    at += piece.size
  return array.reshape(header.shape, order="F" if header.fortran else "C")


@contextlib.contextmanager
def _member(path, key: str | None) -> Iterator[tuple[Header, IO[bytes]]]:
  """(header, the unpacked bytes that follow it) of an array in a .npz file."""
  length = files.size(path)
  try:
    with zipfile.ZipFile(path) as archive:
      info = _find(path, archive, key, length)
      with archive.open(info) as member:
        yield _member_header(path, member, info.file_size), member
  except _NPZ_ERRORS as error:
    raise errors.BadFileError(path, f"cannot be read: {error}", "a .npz file") from error


def _find(path, archive: zipfile.ZipFile, key: str | None, length: int) -> zipfile.ZipInfo:
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
  packed = min(info.compress_size, length)
  most = max(_ALWAYS_UNPACKED, _LARGE_RATIO * packed)
  if info.file_size > min(most, _DEFLATE * packed + _MAX_HEADER):
    raise errors.BadFileError(
      path,
      f"declares {info.file_size} bytes in {info.compress_size}, emptier than any recording",
      f"what is over {_ALWAYS_UNPACKED >> 30} GiB in at least a {_LARGE_RATIO}th, or as a .npy",
    )
  return info


def _member_header(path, member: IO[bytes], size: int) -> Header:
  """The header at the beginning of a member, which is left where the numbers begin."""
  head = member.read(12)
  start = 10 if head[6:7] == b"\x01" else 12
  offset = start + int.from_bytes(head[8:start], "little")
  if head[:6] == _MAGIC and offset <= _MAX_HEADER:
    head += member.read(offset - len(head))
  header = parse_header(path, head)
  _check_length(path, header, size)
  return header


def _unpack(path, member: IO[bytes], length: int) -> bytes:
  data = member.read(length)
  if len(data) != length:
    raise errors.BadFileError(path, "ends before its array does")
  return data


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


def npz_names(path) -> list[str]:
  """The names of the arrays in a .npz file.

  Raises:
    errors.BadFileError: missing, or no such file.
  """
  files.size(path)
  try:
    with zipfile.ZipFile(path) as archive:
      return [info.filename.removesuffix(".npy") for info in archive.infolist()]
  except _NPZ_ERRORS as error:
    raise errors.BadFileError(path, f"is not a whole .npz file: {error}") from error
