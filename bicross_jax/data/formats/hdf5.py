"""HDF5 files opened with errors that a user can read."""

from collections.abc import Iterator
import contextlib
import io
import math

import h5py
import numpy as np

from bicross_jax import errors, files

# What h5py and HDF5 raise for damaged files, depending on where the damage lies.
DAMAGE = (
  OSError,
  RuntimeError,
  KeyError,
  ValueError,
  TypeError,
  AttributeError,
  OverflowError,
  UnicodeError,
)
# Numbers that a filter takes from the file without looking whether they are there: Blosc, Blosc 2.
_PARAMETERS = {32001: 4, 32026: 4}


def open_file(path) -> h5py.File:
  """The file, to be closed by the caller; Blosc and other filters are known where they can be.

  Raises:
    errors.BadFileError: it is not there, or no HDF5 file.
  """
  import hdf5plugin  # noqa: F401 (registers its filters)

  files.size(path)
  with refused(path):
    return h5py.File(path, "r", locking=False)


class Sink(io.FileIO):
  """A file that HDF5 writes into, and that never refuses: HDF5 may crash where a disk is full."""

  _failed: OSError | None = None

  def write(self, data) -> int:
    left = memoryview(data).cast("B")
    length = len(left)
    try:
      while left and not self._failed:
        left = left[super().write(left) :]
    except OSError as error:
      self._failed = error
    return length

  def truncate(self, size=None) -> int:
    try:
      return super().truncate(size)
    except OSError as error:
      self._failed = self._failed or error
      return size or 0

  def require_written(self) -> None:
    """Raises the OSError with which writing failed, if it did."""
    if self._failed:
      raise self._failed


@contextlib.contextmanager
def create(path) -> Iterator[tuple[h5py.File, Sink]]:
  """A file to write into that takes its name only when it is complete (`files.write_whole`).

  Yields:
    the file, and what says whether the disk took it so far.

  Raises:
    errors.UserError: the disk is full, or the place cannot be written.
  """
  with files.write_whole(path) as out, Sink(out.name, "r+b") as sink:
    with h5py.File(sink, "w") as file:
      yield file, sink
    sink.require_written()


@contextlib.contextmanager
def refused(path) -> Iterator[None]:
  """Turns what h5py raises inside of the block into errors.BadFileError."""
  try:
    yield
  except MemoryError as error:
    raise errors.BadFileError(path, "declares more than memory holds") from error
  except DAMAGE as error:
    told = " ".join(str(error).split())
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
    _require_filters(found, name)
    return found


def _require_filters(data, name):
  made = data.id.get_create_plist()
  for number in range(made.get_nfilters()):
    code, _, values, known_as = made.get_filter(number)
    if not h5py.h5z.filter_avail(code):
      known_as = known_as.decode("ascii", "backslashreplace").strip("\0")
      raise errors.BadFileError(
        data.file.filename,
        f"{name} is compressed by filter {code} {known_as!r}, which is not there",
        "filters of HDF5 or of package hdf5plugin",
      )
    if len(values) < _PARAMETERS.get(code, 0):
      raise errors.BadFileError(data.file.filename, f"{name} lacks parameters of filter {code}")


def require_stored(data: h5py.Dataset, name: str) -> None:
  """Looks whether every number of a data set was written; HDF5 reads others as zeros.

  Args:
    data: of an open file.
    name: its name, for the error.

  Raises:
    errors.BadFileError: some are not there: writing it was cut off, or its length is damaged.
  """
  path = data.file.filename
  with refused(path):
    if data.chunks:
      pieces = zip(data.shape, data.chunks, strict=True)
      missing = math.prod(-(-n // chunk) for n, chunk in pieces) - data.id.get_num_chunks()
    else:
      missing = math.prod(data.shape) * data.dtype.itemsize - data.id.get_storage_size()
    if missing > 0:
      raise errors.BadFileError(path, f"{name} has shape {data.shape}, and not all was written")


def read(data: h5py.Dataset, *where) -> np.ndarray:
  """A data set, or part of it: `read(data, slice(0, 9))` is data[0:9].

  Raises:
    errors.BadFileError: it is damaged, or its filter is not there.
  """
  with refused(data.file.filename):
    return np.asarray(data[where])
