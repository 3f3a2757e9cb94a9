"""DSEC's files (Gehrig et al. 2021): events and rectification maps in HDF5, disparity in PNG.

    events.h5          events/{x,y} uint16[N], events/t uint32[N] microseconds after t_offset,
                       events/p uint8[N], ms_to_idx uint64[M]: the first event at or after millisecond m,
                       t_offset int64[]: microseconds
    rectify_map.h5     rectify_map float32[H, W, 2]: the rectified column and row of every pixel
    NAME.png           disparity in pixels x 256, 16 bits, 0 = unknown
    timestamps.txt     microseconds of every disparity map, one a line

They are compressed with Blosc. `write_events` writes the same layout for sensors of any size, which it notes in the
attributes `height` and `width` of `events`; published files have 480x640 pixels and no such note.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import depth, events, hdf5

SIZE = (480, 640)
DIVISOR = 256.0  # of disparity
_CHUNK = 1 << 16  # events
_MILLI = 1000  # microseconds


def open_camera(path, camera: str = "left", size=None) -> events.EventFile:
  """The events of an events.h5, which holds one camera; see `events.open_events`."""
  del camera  # every camera has a file of its own
  return _Camera(path, size)


class _Camera(events.EventFile):
  def __init__(self, path, size):
    self.path = path
    self._file = hdf5.open_file(path)
    try:
      self._columns = {n: hdf5.dataset(self._file, f"events/{n}", 1, "iub") for n in "xytp"}
      lengths = {n: column.shape[0] for n, column in self._columns.items()}
      if len(set(lengths.values())) != 1:
        raise errors.BadFileError(path, f"has columns of {lengths} events", "one length")
      for name, column in self._columns.items():
        hdf5.require_stored(column, f"events/{name}")
      self.count = lengths["t"]
      self._offset = self._read_offset()
      self._index = self._read_index()
      self.size = size or self._noted_size()
      ends = [int(self._times(i, i + 1)[0]) for i in ((0, self.count - 1) if self.count else ())]
      self.first, self.last = ends or (0, -1)
    except BaseException:
      self.close()
      raise

  def _read_offset(self):
    with hdf5.refused(self.path):
      if "t_offset" not in self._file:
        return 0
    found = hdf5.read(hdf5.dataset(self._file, "t_offset", 0, "iu"))
    return int(events.microseconds(found[None], self.path)[0])

  def _read_index(self):
    """int64[M + 1]: where each millisecond begins, and the end."""
    found = hdf5.dataset(self._file, "ms_to_idx", 1, "iu")
    hdf5.require_stored(found, "ms_to_idx")
    index = hdf5.read(found, slice(None)).astype(np.int64)
    falls = (index[1:] < index[:-1]).any()
    if falls or (index.size and not 0 <= index[0] <= index[-1] <= self.count):
      raise errors.BadFileError(
        self.path, "ms_to_idx does not ascend", f"places among {self.count} events"
      )
    return np.append(index, self.count)

  def _noted_size(self):
    with hdf5.refused(self.path):
      noted = [int(self._file["events"].attrs.get(name, 0)) for name in ("height", "width")]
    if min(noted) < 0 or max(noted) > 1 << 16:
      raise errors.BadFileError(self.path, f"notes a sensor of {noted} pixels")
    return tuple(noted) if all(noted) else SIZE

  def _times(self, start, stop):
    times = hdf5.read(self._columns["t"], slice(start, stop))
    return events.microseconds(times, self.path, start) + self._offset

  def find(self, times):
    """See `events.EventFile.find`; only the milliseconds that are asked for are read."""
    times = np.asarray(times, np.int64)
    slots = np.clip((times - self._offset) // _MILLI, 0, max(len(self._index) - 2, 0))
    out = np.empty(times.shape, np.int64)
    for i, (time, slot) in enumerate(zip(times.tolist(), slots.tolist(), strict=True)):
      start = max(int(self._index[slot]) - 1, 0) if slot else 0  # one before and one after show
      last = slot + 2 >= len(self._index)  #                       whether the index is right
      stop = self.count if last else min(int(self._index[slot + 1]) + 1, self.count)
      inside = self._times(start, stop)
      events.require_order(inside, self.path, start)
      out[i] = start + np.searchsorted(inside, time)
      if out[i] == start > 0 or out[i] == stop < self.count:
        raise errors.BadFileError(
          self.path, f"ms_to_idx is wrong about millisecond {slot}", "the number of its first event"
        )
    return out

  def read(self, start, stop):
    x, y, p = (hdf5.read(self._columns[name], slice(start, stop)) for name in "xyp")
    return events.checked(x, y, self._times(start, stop), p, self.size, self.path, start)

  def close(self):
    self._file.close()


def read_rectify_map(path, size: tuple[int, int] = SIZE) -> np.ndarray:
  """float32[H, W, 2]: the column and the row that each pixel has when rectified.

  Raises:
    errors.BadFileError: it is damaged, or of another size.
  """
  with hdf5.open_file(path) as file:
    found = hdf5.read(hdf5.dataset(file, "rectify_map", 3, "f"), slice(None)).astype(np.float32)
  if found.shape != (*size, 2) or not np.isfinite(found).all():
    raise errors.BadFileError(
      path, f"rectify_map has {found.shape} numbers, or some that are none", f"{(*size, 2)}, finite"
    )
  return found


def read_disparity(path) -> np.ndarray:
  """float32[H, W] pixels, 0 = unknown."""
  return depth.read_png16(path, DIVISOR)


def read_timestamps(path) -> np.ndarray:
  """int64[M] microseconds, one a line.

  Raises:
    errors.BadFileError: a line is no whole number, or earlier than the one before it.
  """
  lines = files.read(path).split()
  try:
    stamps = np.array([int(line) for line in lines], np.int64)
  except (ValueError, OverflowError) as error:
    raise errors.BadFileError(path, f"is no list of microseconds: {error}") from error
  stamps = events.microseconds(stamps, path)
  events.require_order(stamps, path)
  return stamps


def write_events(
  path, chunks: Iterable[events.Events], size: tuple[int, int], t_offset: int = 0
) -> int:
  """Writes an events.h5, as `write_pieces`, and returns the number of events."""
  return sum(write_pieces(path, chunks, size, t_offset))


def write_pieces(
  path, chunks: Iterable[events.Events], size: tuple[int, int], t_offset: int = 0
) -> Iterator[int]:
  """Writes an events.h5 piece by piece; it takes its name when it is whole.

  Args:
    path: of the file.
    chunks: events in the order of time.
    size: height and width of the sensor.
    t_offset: microseconds that times are counted from; no event is earlier, and none is 2^32
      microseconds (71 minutes) later.

  Yields:
    the number of events of each piece, once it is written.

  Raises:
    errors.UserError: the disk is full, the place cannot be written, or times do not fit.
  """
  import hdf5plugin

  index, count = [np.zeros(0, np.int64)], 0
  kinds = {"x": np.uint16, "y": np.uint16, "t": np.uint32, "p": np.uint8}
  with hdf5.create(path) as (file, sink):
    group = file.create_group("events")
    group.attrs["height"], group.attrs["width"] = size
    columns = {
      name: group.create_dataset(
        name, (0,), kind, maxshape=(None,), chunks=(_CHUNK,), **hdf5plugin.Blosc(cname="zstd")
      )
      for name, kind in kinds.items()
    }
    slots, latest = 0, t_offset
    for chunk in chunks:
      times = chunk.t - t_offset
      if times.size and not (0 <= times[0] and times[-1] < 2**32):
        raise errors.UserError(
          f"{errors.shown(path)}: events from {chunk.t[0]} to {chunk.t[-1]} microseconds do not fit "
          f"behind t_offset {t_offset}"
        )
      events.require_order(np.append(latest, chunk.t), path, count - 1)
      for name, values in zip("xytp", (chunk.x, chunk.y, times, chunk.p), strict=True):
        columns[name].resize((count + len(values),))
        columns[name][count:] = values.astype(kinds[name])
      if times.size:
        last = int(times[-1]) // _MILLI + 1
        begins = np.arange(slots, last) * _MILLI
        index.append(count + np.searchsorted(times, begins))
        slots, latest = max(slots, last), int(chunk.t[-1])
      count += len(times)
      sink.require_written()
      yield len(times)
    file.create_dataset("ms_to_idx", data=np.concatenate(index).astype(np.uint64))
    file.create_dataset("t_offset", data=np.int64(t_offset))
