"""MVSEC's HDF5 files (Zhu et al. 2018) and the maps of its calibration.

NAME_data.hdf5    davis/{left,right}/events float64[N, 4]: x, y, t (Unix seconds), p (-1, 1)
NAME_gt.hdf5      davis/left/depth_image_rect float32[M, 260, 346] metres, NaN where unknown,
                  davis/left/depth_image_rect_ts float64[M]
NAME_{left,right}_{x,y}_map.txt    [260, 346]: the rectified place of every pixel
"""

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import events, hdf5

SIZE = (260, 346)  # of a DAVIS346


def is_mvsec(path) -> bool:
  """Whether an HDF5 file is built as MVSEC's are."""
  with hdf5.open_file(path) as file, hdf5.refused(path):
    return "davis" in file


def open_camera(path, camera: str = "left", size=None) -> events.EventFile:
  """The events of one camera of a NAME_data.hdf5; see `events.open_events`."""
  return _Camera(path, camera, size or SIZE)


class _Camera(events.Located):
  cameras = 2

  def __init__(self, path, camera, size):
    if camera not in events.CAMERAS:
      raise ValueError(f"camera {camera!r}: choose from {', '.join(events.CAMERAS)}")
    self.path, self.size = path, size
    self._file = hdf5.open_file(path)
    try:
      name = f"davis/{camera}/events"
      self._events = hdf5.dataset(self._file, name, 2, "f")
      if self._events.shape[1] != 4 or self._events.dtype.itemsize < 8:  # t needs 64 bits
        raise errors.BadFileError(
          path, f"{name} is {self._events.dtype} {self._events.shape}", "float64 [N, 4]: x, y, t, p"
        )
      hdf5.require_stored(self._events, name)
      self.count = self._events.shape[0]
      self.look()
    except BaseException:
      self.close()
      raise

  def times(self, start, stop):
    rows = hdf5.read(self._events, slice(start, stop), 2)
    return events.microseconds(rows.astype(np.float64), self.path, start)

  def read(self, start, stop):
    rows = hdf5.read(self._events, slice(start, stop))
    x, y, t, p = rows.astype(np.float64).T
    return events.checked(x, y, t, p, self.size, self.path, start)

  def close(self):
    self._file.close()


class Truth:
  """The depth maps of a NAME_gt.hdf5, rectified left camera; a context manager.

  Attributes:
    path: of the file.
    stamps: int64[M], microseconds of every map, ascending.
  """

  def __init__(self, path, size: tuple[int, int] = SIZE):
    """Opens the file; `size` is that of the maps.

    Raises:
      errors.BadFileError: it is damaged, or has no such maps.
    """
    self.path = path
    self._file = hdf5.open_file(path)
    try:
      self._depth = hdf5.dataset(self._file, "davis/left/depth_image_rect", 3, "f")
      stamps = hdf5.read(hdf5.dataset(self._file, "davis/left/depth_image_rect_ts", 1), slice(None))
      if self._depth.shape != (len(stamps), *size):
        raise errors.BadFileError(
          path,
          f"davis/left/depth_image_rect has shape {self._depth.shape}",
          f"{(len(stamps), *size)}, as many maps as stamps",
        )
      self.stamps = events.microseconds(stamps.astype(np.float64), path)
      events.require_order(self.stamps, path)
    except BaseException:
      self.close()
      raise

  def depth(self, frame: int) -> np.ndarray:
    """One map: float32[H, W] metres, 0 where unknown.

    Raises:
      errors.BadFileError: a depth that there cannot be.
    """
    depth = hdf5.read(self._depth, int(frame)).astype(np.float32)
    known = ~np.isnan(depth)
    if not (np.isfinite(depth[known]).all() and (depth[known] >= 0).all()):
      raise errors.BadFileError(self.path, f"depth map {frame} has negative or infinite depth")
    return np.where(known, depth, np.float32(0))

  def close(self) -> None:
    """Closes the file."""
    self._file.close()

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self.close()


def read_map(path, size: tuple[int, int] = SIZE) -> np.ndarray:
  """A rectification map: float64[H, W], the column (or row) that each pixel has when rectified.

  Raises:
    errors.BadFileError: it is no table of numbers of that size.
  """
  data = files.read(path)
  try:
    lines = [line for line in data.decode("ascii").splitlines() if line.partition("#")[0].strip()]
    table = np.loadtxt(lines, np.float64, ndmin=2) if lines else np.zeros((0, 0))
  except (ValueError, UnicodeDecodeError) as error:
    told = " ".join(str(error).split())
    raise errors.BadFileError(path, f"is no table of numbers: {told[:200]}") from error
  if table.shape != tuple(size) or not np.isfinite(table).all():
    raise errors.BadFileError(
      path, f"has {table.shape} numbers, or some that are none", f"{tuple(size)} finite numbers"
    )
  return table


def write_events(path, left: events.Events, right: events.Events) -> None:
  """Writes the events of a pair as a NAME_data.hdf5, for tests and for tools that read MVSEC.

  Args:
    path: of the file.
    left, right: of the two cameras.
  """
  with hdf5.create(path) as (file, _):
    for camera, given in zip(events.CAMERAS, (left, right), strict=True):
      polarity = np.where(given.p, 1.0, -1.0)
      table = np.stack([given.x, given.y, given.t / events.MICRO, polarity], axis=1)
      file.create_dataset(f"davis/{camera}/events", data=table.astype(np.float64), chunks=True)
