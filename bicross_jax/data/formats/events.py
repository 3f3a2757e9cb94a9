"""Events of an event camera, whatever file they lie in.

An event is a column, a row, a time in whole microseconds and a polarity. Times are integers everywhere:
Unix times near 1e15 microseconds lose their last digits as floats of 32 bits, and differences taken
late lose them as floats of 64.

`open_events` takes

  .hdf5 .h5   MVSEC's (`formats.mvsec`) or DSEC's (`formats.dsec`); both are read piece by piece
  .aedat4     iniVation's (`formats.aedat4`)
  .txt        "t x y p" a line (`formats.event_text`)
  .npz        arrays x, y, t, p
  .npy        [N, 4]: columns t, x, y, p, as DENSE's

In the last two, times of a floating type are seconds and whole numbers are microseconds. Polarity 1 is ON;
0 or -1 is OFF, and a file that has both of these is refused.
"""

import abc
from collections.abc import Callable
import os
from typing import NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax import files as whole_files
from bicross_jax.data.formats import npy

MICRO = 1_000_000  # microseconds in a second
SUFFIXES = (".h5", ".hdf5", ".aedat4", ".txt", ".npz", ".npy")
CAMERAS = ("left", "right")
_WIDEST = 1 << 16  # pixels
_LATEST = 2**62  # microseconds; beyond that is no time


class Events(NamedTuple):
  """Events in the order of time; arrays of one length.

  Attributes:
    x: uint16[N], column.
    y: uint16[N], row.
    t: int64[N], microseconds, not decreasing.
    p: bool[N], True where it became brighter (ON).
  """

  x: np.ndarray
  y: np.ndarray
  t: np.ndarray
  p: np.ndarray


NOTHING = Events(
  np.zeros(0, np.uint16), np.zeros(0, np.uint16), np.zeros(0, np.int64), np.zeros(0, bool)
)


class EventFile(abc.ABC):
  """The events of one camera in an open file; a context manager that closes it.

  Attributes:
    path: of the file.
    size: height and width of the sensor, or None where neither the file nor the caller says it.
    count: number of events.
    first, last: microseconds of the first and the last event; 0 and -1 where there is none.
    cameras: how many the file holds, of which this is one.
  """

  path: str | os.PathLike
  size: tuple[int, int] | None
  count: int
  first: int
  last: int
  cameras: int = 1

  @abc.abstractmethod
  def find(self, times: np.ndarray) -> np.ndarray:
    """How many events are earlier than each time: int64[K] microseconds -> int64[K]."""

  @abc.abstractmethod
  def read(self, start: int, stop: int) -> Events:
    """Events number start..stop-1, checked.

    Raises:
      errors.BadFileError: what stands there are no events of this camera.
    """

  @abc.abstractmethod
  def close(self) -> None:
    """Closes the file."""

  def __enter__(self) -> "EventFile":
    return self

  def __exit__(self, *error) -> None:
    self.close()


class Held(EventFile):
  """Events that are in memory."""

  def __init__(self, path, events: Events, size: tuple[int, int] | None):
    """Takes checked events."""
    self.path, self.size, self._events = path, size, events
    self.count = len(events.t)
    self.first, self.last = (int(events.t[0]), int(events.t[-1])) if self.count else (0, -1)

  def find(self, times):
    return np.searchsorted(self._events.t, np.asarray(times, np.int64))

  def read(self, start, stop):
    return Events(*(x[start:stop] for x in self._events))

  def close(self):
    """Nothing is open."""


class Located(EventFile):
  """Events that stay in the file, found through the times of every `BLOCK`-th of them.

  Subclasses set the attributes, and say how events and their times are read.
  """

  BLOCK = 1 << 16
  _blocks: np.ndarray
  _kept: dict[int, np.ndarray]

  @abc.abstractmethod
  def times(self, start: int, stop: int) -> np.ndarray:
    """int64[stop - start] microseconds."""

  def look(self) -> None:
    """Reads the times that the others are found through; to be called when the file is open."""
    starts = range(0, self.count, self.BLOCK)
    self._blocks = np.array([self.times(i, i + 1)[0] for i in starts], np.int64)
    self._kept = {}
    require_order(self._blocks, self.path)
    self.first = int(self._blocks[0]) if self.count else 0
    self.last = int(self.times(self.count - 1, self.count)[0]) if self.count else -1

  def find(self, times):
    times = np.asarray(times, np.int64)
    if not self.count:
      return np.zeros(times.shape, np.int64)
    block = np.maximum(np.searchsorted(self._blocks, times) - 1, 0)
    out = np.empty(times.shape, np.int64)
    for number in np.unique(block):
      of_it = block == number
      out[of_it] = number * self.BLOCK + np.searchsorted(self._block(int(number)), times[of_it])
    return out

  def _block(self, number):
    """The times of a block; the last few are kept, since windows come in order."""
    if number not in self._kept:
      if len(self._kept) >= 4:
        del self._kept[min(self._kept)]
      start = number * self.BLOCK
      times = self.times(start, min(start + self.BLOCK, self.count))
      require_order(times, self.path, start)
      self._kept[number] = times
    return self._kept[number]


def open_events(path, *, camera: str = "left", size: tuple[int, int] | None = None) -> EventFile:
  """The events of one camera in a file; see the top of this page for the kinds.

  Args:
    path: the file.
    camera: "left" or "right", of a file that holds both (MVSEC's).
    size: height and width of the sensor, where it is known: events outside of it are an error.

  Raises:
    errors.BadFileError: it is no such file, or is damaged; a package that it needs is missing.
  """
  suffix = os.path.splitext(os.fspath(path))[1].lower()
  whole_files.size(path)
  if suffix in (".h5", ".hdf5"):
    from bicross_jax.data.formats import dsec, mvsec  # HDF5 is slow to load

    kind = mvsec if mvsec.is_mvsec(path) else dsec
    return kind.open_camera(path, camera, size)
  if suffix == ".aedat4":
    from bicross_jax.data.formats import aedat4

    return Held(path, *aedat4.read(path, size))
  if suffix == ".txt":
    from bicross_jax.data.formats import event_text

    return Held(path, *event_text.read(path, size))
  readers: dict[str, Callable] = {".npz": _read_npz, ".npy": _read_npy}
  if suffix not in readers:
    raise errors.BadFileError(path, "unknown kind of event file", ", ".join(SUFFIXES))
  return Held(path, *readers[suffix](path, size))


def checked(x, y, t, p, size: tuple[int, int] | None, path, begin: int = 0) -> Events:
  """Events from columns as a file has them.

  Args:
    x, y: [N], whole numbers of any type.
    t: int64[N] microseconds, or floating seconds.
    p: [N], 1 for ON, 0 or -1 for OFF.
    size: height and width of the sensor, or None.
    path: of the file, for errors.
    begin: number of the first of these events in the file.

  Raises:
    errors.BadFileError: a number that is none or not whole, a place outside of the sensor, a time
      before the one before it, another polarity.
  """
  lengths = {len(column) for column in (x, y, t, p)}
  if len(lengths) != 1:
    raise errors.BadFileError(path, f"columns of {sorted(lengths)} numbers", "one length")

  def refuse(wrong, problem, expected):
    i = int(np.argmax(wrong))
    raise errors.BadFileError(path, f"event {begin + i} {problem(i)}", expected)

  height, width = size or (_WIDEST, _WIDEST)
  for name, values, most in (("x", x, width), ("y", y, height)):
    values, most = np.asarray(values), min(most, _WIDEST)
    with np.errstate(invalid="ignore"):
      wrong = ~((values >= 0) & (values < most)) | (values != np.floor(values))
    if wrong.any():
      words = f"whole numbers in 0 .. {most - 1}"
      refuse(wrong, lambda i, name=name, values=values: f"has {name} {values[i]}", words)
  t = microseconds(t, path, begin)
  require_order(t, path, begin)
  p = np.asarray(p)
  known = (p == 1) | (p == 0) | (p == -1)
  if not known.all():
    refuse(~known, lambda i: f"has polarity {p[i]}", "1, and 0 or -1")
  if p.dtype != bool and (p == 0).any() and (p == -1).any():
    refuse(p == 0, lambda i: "has polarity 0, and others -1", "1, and either 0 or -1")
  return Events(np.asarray(x, np.uint16), np.asarray(y, np.uint16), t, p == 1)


def require_order(t: np.ndarray, path, begin: int = 0) -> None:
  """Raises errors.BadFileError for an event that is earlier than the one before it.

  Args:
    t: int64[N] microseconds.
    path, begin: as for `checked`.
  """
  late = np.flatnonzero(t[1:] < t[:-1])
  if late.size:
    i = int(late[0]) + 1
    raise errors.BadFileError(
      path,
      f"event {begin + i} at {t[i]} microseconds comes after one at {t[i - 1]}",
      "events in the order of time",
    )


def microseconds(t, path, begin: int = 0) -> np.ndarray:
  """Times as a file has them, in whole microseconds: [N] -> int64[N].

  Args:
    t: floating seconds, or whole microseconds.
    path, begin: as for `checked`.

  Raises:
    errors.BadFileError: a time that is no number, or none that there can be.
  """
  t = np.asarray(t)
  seconds = np.issubdtype(t.dtype, np.floating)
  if seconds:
    t = t.astype(np.float64)
  most = _LATEST / MICRO if seconds else _LATEST
  with np.errstate(invalid="ignore"):
    wrong = ~((t > -most) & (t < most))
  if wrong.any():
    i = int(np.argmax(wrong))
    raise errors.BadFileError(path, f"event {begin + i} has time {t[i]}", "a time")
  if not seconds:
    return t.astype(np.int64)
  return np.rint(t * MICRO).astype(np.int64)


def _read_npz(path, size):
  held = npy.npz_names(path)
  lacking = [name for name in "xytp" if name not in held]
  if lacking:
    raise errors.BadFileError(
      path, f"holds {errors.shown(', '.join(held))[:200] or 'nothing'}", "arrays x, y, t, p"
    )
  columns = [npy.read_npz(path, name) for name in "xytp"]
  for name, column in zip("xytp", columns, strict=True):
    if column.ndim != 1:
      raise errors.BadFileError(path, f"{name} has shape {column.shape}", "one axis")
  return checked(*columns, size, path), size


def _read_npy(path, size):
  if npy.read_header(path).shape == (0, 4):
    return NOTHING, size
  table = npy.open_npy(path)
  if table.ndim != 2 or table.shape[1] != 4:
    raise errors.BadFileError(path, f"has shape {table.shape}", "[events, 4]: t, x, y, p")
  t, x, y, p = table.T
  return checked(x, y, t, p, size, path), size
