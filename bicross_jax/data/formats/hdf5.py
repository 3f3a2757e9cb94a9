"""HDF5 files opened with errors that a user can read."""

from collections.abc import Iterator
import contextlib

import h5py
import numpy as np

from bicross_jax import errors, files

# What h5py and HDF5 raise for damaged files, depending on where the damage lies.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, UnicodeError)
_FILTERS = ("filter", "plugin")


def open_file(path) -> h5py.File:
  """The file, to be closed by the caller; Blosc and other filters are known where they can be.

  Raises:
    errors.BadFileError: it is not there, or no HDF5 file.
  """
  import hdf5plugin  # noqa: F401 (registers its filters)

  files.size(path)
  with refused(path):
    return h5py.File(path, "r", locking=False)


@contextlib.contextmanager
def refused(path) -> Iterator[None]:
  """Turns what h5py raises inside of the block into errors.BadFileError."""
  try:
    yield
  except MemoryError as error:
    raise errors.BadFileError(path, "declares more than memory holds") from error
  except DAMAGE as error:
    told = " ".join(str(error).split())
    if any(word in told.lower() for word in _FILTERS):
      raise errors.BadFileError(
        path, f"is compressed by a filter that is not there: {told}", "one of package hdf5plugin"
      ) from error
    raise errors.BadFileError(path, f"is damaged, or no such HDF5 file: {told[:200]}") from error


def dataset(file: h5py.File, name: str, ndim: int, kinds: str = "iuf") -> h5py.Dataset:
  """A data set of an open file.

  Args:
    file: open.
    name: in the file.
    ndim: number of axes that it must have.
    kinds: NumPy kinds of numbers that it may hold.

  Raises:
    errors.BadFileError: it is not there, is no array of so many axes, or holds no such numbers.
  """
  path = file.filename
  with refused(path):
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
      raise errors.BadFileError(path, f"has no data set {name}")
    if found.shape is None or found.ndim != ndim or found.dtype.kind not in kinds:
      raise errors.BadFileError(
        path, f"{name} is {found.dtype} {found.shape}", f"{ndim} axes of numbers"
      )
    return found


def read(data: h5py.Dataset, *where) -> np.ndarray:
  """A data set, or part of it: `read(data, slice(0, 9))` is data[0:9].

  Raises:
    errors.BadFileError: it is damaged, or its filter is not there.
  """
  with refused(data.file.filename):
    return np.asarray(data[where])
