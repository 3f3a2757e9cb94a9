"""Windows of events of stereo recordings: where they lie in time, and their counts."""

from collections.abc import Sequence
import contextlib
from typing import NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax.data import event_counts
from bicross_jax.data.formats import events
from bicross_jax.data.formats.events import EventFile

_SOUGHT = 1 << 16  # events that are looked through at once for one that survives rectification

Maps = tuple[np.ndarray, np.ndarray]  # column and row that each pixel has when rectified


class Source(NamedTuple):
  """Where the events of one camera come from.

  Attributes:
    path: of their file.
    camera: "left" or "right".
    maps: of the rectification.
  """

  path: str
  camera: str
  maps: Maps


def covered(sources: Sequence[tuple[str, str]], size: tuple[int, int]) -> tuple[int, int]:
  """Microseconds between which all cameras have events.

  Args:
    sources: (path, camera) of each.
    size: height and width.

  Raises:
    errors.BadFileError: a camera has none.
  """
  ends = []
  for path, camera in sources:
    with events.open_events(path, camera=camera, size=size) as file:
      if not file.count:
        raise errors.BadFileError(path, f"has no event of the {camera} camera")
      ends.append((file.first, file.last))
  return max(first for first, _ in ends), min(last for _, last in ends)


class Windows:
  """Counts of the windows of a recording's cameras; close it when done.

  Args:
    sources: the cameras, left first.
    stamps: int64[N], microseconds of the windows' labels.
    window: microseconds.
    bins: parts of a window.
    span: None: a window ends with the stamp of its label. For binning "legacy" the stamps of the first
      and the last label that windows are counted in, and the number of each window (int64[N]).
  """

  def __init__(
    self,
    sources: Sequence[Source],
    stamps: np.ndarray,
    window: int,
    bins: int,
    span: tuple[int, int, np.ndarray] | None = None,
  ):
    self._bins, self._strict = bins, span is not None
    self._cameras = []
    with contextlib.ExitStack() as stack:  # which closes what is open when another one fails
      for path, camera, maps in sources:
        size = maps[0].shape
        file = stack.enter_context(events.open_events(path, camera=camera, size=size))
        begins, limit = stamps - window, np.iinfo(np.int64).max
        if span is not None:
          first, limit, numbers = span
          begins = _origin(file, maps, first - window) + window * numbers
        ends = np.minimum(begins + window + 1, limit)
        starts, stops = np.split(file.find(np.concatenate([begins + 1, ends])), 2)
        self._cameras.append((file, maps, begins, starts, np.maximum(starts, stops)))
      self._open, self._window = stack.pop_all(), window

  def counts(self, number: int) -> np.ndarray:
    """Counts of window `number`: uint16[H, W, T, 2 * cameras]; ON and OFF of the left, the right."""
    every = []
    for file, maps, begins, starts, stops in self._cameras:
      found = file.read(int(starts[number]), int(stops[number]))
      found = event_counts.rectified(found, maps)
      begin = int(begins[number])
      every.append(
        event_counts.histogram(
          found,
          begin,
          begin + self._window,
          bins=self._bins,
          size=maps[0].shape,
          strict=self._strict,
        )
      )
    return np.concatenate(every, axis=-1)

  def close(self) -> None:
    """Closes the files."""
    self._open.close()


def _origin(file: EventFile, maps: Maps, after: int) -> int:
  """Microseconds of the first event later than `after` that lies inside of the rectified frame."""
  start = int(file.find(np.array([after + 1]))[0])
  for begin in range(start, file.count, _SOUGHT):
    found = event_counts.rectified(file.read(begin, min(begin + _SOUGHT, file.count)), maps)
    if found.t.size:
      return int(found.t[0])
  return after
