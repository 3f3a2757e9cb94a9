"""Arrays of numbers in MATLAB's files of versions 5 to 7.

The format is published (MathWorks, MAT-File Format). SciPy reads more of it, but is ended by the system on damaged files.
"""

from collections.abc import Iterator
import math
import struct
import zlib

import numpy as np

from bicross_jax import errors, files

_HEAD, _VERSION = 128, 0x0100
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # fmt: skip
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}  # fmt: skip
_COMPLEX = 1 << 11
_MOST_AXES = 32
_SHOWN = 5  # names in a message


class _DamagedError(Exception):
  """What is wrong, in a few words."""


def read(path, name: str) -> np.ndarray:
  """A variable of a file: real numbers [...], of the type that MATLAB has them in.

  Args:
    path: the file.
    name: of the variable.

  Raises:
    errors.BadFileError: the file is missing, damaged or of another version (7.3 is HDF5), or has no
      array of real numbers of that name.
  """
  data = files.read(path)
  order = {b"IM": "<", b"MI": ">"}.get(data[_HEAD - 2 : _HEAD])
  if order is None or struct.unpack(f"{order}H", data[_HEAD - 4 : _HEAD - 2])[0] != _VERSION:
    raise errors.BadFileError(path, "is no MATLAB file of version 5 to 7", "save -v7 writes one")
  names = []
  try:
    for kind, body in _elements(memoryview(data)[_HEAD:], order):
      if kind == _COMPRESSED:
        inside = zlib.decompressobj().decompress(body)
        kind, body = next(_elements(memoryview(inside), order), (0, body))
      if kind != _MATRIX:
        continue
      parts = _elements(body, order)
      flags, shape, found = (_numbers(next(parts, (0, b"")), order) for _ in range(3))
      names.append(bytes(found).decode("latin1"))
      if names[-1] == name:
        return _array(flags, shape, next(parts, (0, b"")), order)
  except (_DamagedError, zlib.error) as error:
    raise errors.BadFileError(path, f"cannot be read: {error}") from error
  has = ", ".join(map(errors.shown, names[:_SHOWN])) or "none"
  raise errors.BadFileError(path, f"has no variable {name}", f"one of that name; there are: {has}")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
  """(type, content) of each data element."""
  at = 0
  while at + 8 <= len(data):
    kind, length = struct.unpack_from(f"{order}II", data, at)
    begin, small = at + 8, kind >> 16
    if small:  # up to four bytes, which stand in the tag
      kind, length, begin = kind & 0xFFFF, small, at + 4
    if begin + length > len(data) or small > 4:
      raise _DamagedError(f"an element of {length} bytes where {len(data) - begin} are left")
    yield kind, data[begin : begin + length]
    padded = 4 if small else length if kind == _COMPRESSED else -(-length // 8) * 8
    at = begin + padded


def _numbers(element, order: str) -> np.ndarray:
  """The content of an element that holds numbers."""
  kind, body = element
  stored = _STORED.get(kind)
  if stored is None or len(body) % int(stored[1]):
    raise _DamagedError(f"{len(body)} bytes of type {kind} where numbers should be")
  return np.frombuffer(body, np.dtype(stored).newbyteorder(order))


def _array(flags, shape, element, order) -> np.ndarray:
  kind = _CLASSES.get(int(flags[0]) & 0xFF) if len(flags) else None
  if kind is None or int(flags[0]) & _COMPLEX:
    raise _DamagedError("the variable is no array of real numbers")
  sizes = tuple(map(int, shape))
  values = _numbers(element, order)
  if not 0 < len(sizes) <= _MOST_AXES or min(sizes) < 0 or math.prod(sizes) != len(values):
    raise _DamagedError(f"{len(values)} numbers in an array of {list(sizes[:_MOST_AXES])}")
  with np.errstate(
    invalid="ignore", over="ignore"
  ):  # damaged numbers, of another type than declared
    return values.astype(kind).reshape(sizes, order="F")
