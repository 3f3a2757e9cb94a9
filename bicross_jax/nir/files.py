"""NIR graphs in files (HDF5, by the package nir), with errors that a user can read."""

import importlib.util
import io
import math
import os
import pathlib

from bicross_jax import errors, files
from bicross_jax.nir import layers, network
from bicross_jax.nir.graph import GraphError

# What h5py, HDF5 and the package nir raise for damaged files, depending on where the damage lies.
_DAMAGE = (
  OSError,
  RuntimeError,  # with RecursionError, NotImplementedError
  LookupError,
  ValueError,
  TypeError,
  AttributeError,
  AssertionError,
  ArithmeticError,
)
_HEAP = b"GCOL\1\0\0\0"  # how a heap of strings begins (HDF5 file format, III.E Global Heap)
_HEADER = 16  # bytes before the heap's first object, and of an object's header
_SLACK = 1 << 20  # bytes that a small file may declare
_PACKED = 1100  # times a file's size that its arrays may be: what gzip makes of zeros


def wanted() -> None:
  """Nothing, where the package nir is installed.

  Raises:
    errors.UserError: it is not.
  """
  if importlib.util.find_spec("nir") is None:
    raise errors.UserError('NIR files need nir: pip install "bicross_jax[nir]"')


def read(path: str | os.PathLike):
  """The `nir.NIRGraph` of a file.

  Raises:
    errors.BadFileError: it is not there, damaged, or no file of NIR.
    errors.UserError: nir is not installed.
  """
  wanted()
  import nir

  files.size(path)
  try:
    _look(path)
    graph = nir.read(path, type_check=False)
  except MemoryError as error:
    raise errors.BadFileError(path, "declares more than memory holds") from error
  except _DAMAGE as error:
    told = " ".join(str(error).split()) or type(error).__name__
    raise errors.BadFileError(path, f"is damaged, or no NIR file: {told[:200]}") from error
  return graph


def load(
  path: str | os.PathLike,
  *,
  dt: float | None = None,
  derivative: layers.Derivative = network.arctan,
) -> network.Network:
  """The network of a file; arguments as of `network.create`.

  Raises:
    errors.BadFileError: it is not there or damaged, or holds what cannot be computed here.
    errors.UserError: nir is not installed.
  """
  graph = read(path)
  try:
    return network.create(graph, dt=dt, derivative=derivative)
  except GraphError as error:
    raise errors.BadFileError(path, str(error)) from error


def write(path: str | os.PathLike, graph, told: dict) -> pathlib.Path:
  """Writes a graph, and beside it, with the suffix ".json", what is told about it.

  Args:
    path: of the file to be.
    graph: `nir.NIRGraph`.
    told: of JSON.

  Returns:
    The JSON file.

  Raises:
    errors.UserError: nir is not installed, or the place cannot be written.
  """
  wanted()
  import nir

  buffer = io.BytesIO()
  nir.write(buffer, graph)
  with files.write_whole(path) as file:
    file.write(buffer.getvalue())
  beside = pathlib.Path(path).with_suffix(".json")
  files.write_json(beside, told)
  return beside


def _look(path):
  """Raises ValueError for a file without a graph, and for arrays that cannot have come from it."""
  import h5py

  _check_heaps(files.read(path))
  total = 0

  def add(name, item):
    nonlocal total
    if isinstance(item, h5py.Dataset):
      text = h5py.check_string_dtype(item.dtype) is not None
      if not text and item.dtype.kind not in "biufS":  # HDF5 crashes on some damaged types
        raise ValueError(f"{name} holds neither numbers nor texts")
      total += math.prod(item.shape or ()) * item.dtype.itemsize

  with h5py.File(path, "r", locking=False) as file:
    file.visititems(add)
    kind = file["node/type"][()]
    if kind != b"NIRGraph":
      raise ValueError(f"a single {kind.decode()} node, not a graph")
  if total > _PACKED * files.size(path) + _SLACK:
    raise ValueError(f"arrays of {total} bytes")


def _check_heaps(data):
  """Raises ValueError for a heap of strings in which HDF5 would look for the next object for ever."""
  start = data.find(_HEAP)
  while start >= 0:
    at = start + _HEADER
    end = start + int.from_bytes(data[start + 8 : at], "little")
    while at + _HEADER <= end:
      index = int.from_bytes(data[at : at + 2], "little")
      size = int.from_bytes(data[at + 8 : at + _HEADER], "little")
      at += size if index == 0 else _HEADER + -(-size // 8) * 8  # 0: what is free, with its header
      if not size or at > end or end > len(data):
        raise ValueError("a heap of strings without an end")
    start = data.find(_HEAP, start + 1)
