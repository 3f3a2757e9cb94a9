"""Event files as the input of a network: one or two cameras, rectified, a window at a time."""

from collections.abc import Sequence
import pathlib
from typing import Any

import numpy as np

from bicross_jax import errors
from bicross_jax.data import event_counts
from bicross_jax.data.formats import events, listing
from bicross_jax.data.layouts.recordings import WINDOW
from bicross_jax.ops import event_image

MILLI = 1_000  # microseconds of a step of --start and --stride


class Cameras:
  """The event files of one or two cameras, open; a context manager.

  Attributes:
    path: of the left one.
    first, last: microseconds of the first and the last event of the left one.
  """

  def __init__(
    self, path: pathlib.Path, files: Sequence[events.EventFile], maps: Sequence[Any], bins: int
  ):
    """Takes open files, the rectification maps of each (or None), and the network's bins."""
    self.path, self._files, self._maps, self._bins = path, files, maps, bins
    self.first, self.last = files[0].first, files[0].last

  def counts(self, start: int) -> np.ndarray:
    """Counts of the window that begins `start` ms after the first event: uint8[H, W, T, C]."""
    return np.minimum(self._counts(start), 255).astype(np.uint8)

  def image(self, start: int) -> np.ndarray:
    """The event image of that window, of the left camera: uint8[H, W, 2]."""
    return event_image.encode(self._counts(start)[..., :2].sum(2))

  def _counts(self, start):
    begin = self.first - 1 + MILLI * start
    each = []
    for file, maps in zip(self._files, self._maps, strict=True):
      found = file.read(*(int(i) for i in file.find(np.array([begin, begin + WINDOW]) + 1)))
      size = file.size
      if maps is not None:
        found, size = event_counts.rectified(found, maps), maps[0].shape
      each.append(event_counts.histogram(found, begin, begin + WINDOW, bins=self._bins, size=size))
    return np.concatenate(each, axis=-1)

  def __enter__(self) -> "Cameras":
    return self

  def __exit__(self, *error) -> None:
    for file in self._files:
      file.close()


def open_cameras(
  path: pathlib.Path,
  bins: int,
  cameras: int,
  right: pathlib.Path | None = None,
  rectify: pathlib.Path | None = None,
  size: tuple[int, int] | None = None,
) -> Cameras:
  """The event cameras that a network reads.

  The right one is in the same file (MVSEC), in `right`, or in the folder `right` beside the folder
  `left` (DSEC). Maps are those of `rectify`, or DSEC's rectify_map.h5 beside the events.

  Args:
    path: the file of the left one.
    bins: of a window, T.
    cameras: how many the network sees, 1 or 2.
    right: the file of the right one.
    rectify: a folder with MVSEC's maps.
    size: height and width of the sensors, where files do not say them.

  Raises:
    errors.BadFileError: a file that is not there, is damaged, or has cameras of another size.
  """
  names = events.CAMERAS[:cameras]
  paths = [path, right or beside(path)][: len(names)]
  opened: list[events.EventFile] = []
  try:
    for name, one in zip(names, paths, strict=True):
      if opened and one == path and opened[0].cameras == 1:
        raise errors.BadFileError(path, "has one camera, and the network reads two", "--right FILE")
      opened.append(events.open_events(one, camera=name, size=size))
      if opened[-1].size is None:
        raise errors.BadFileError(
          one, "does not say the size of its sensor", "--height and --width"
        )
    maps = [_maps(rectify, *pair) for pair in zip(names, paths, opened, strict=True)]
    sizes = {file.size if m is None else m[0].shape for file, m in zip(opened, maps, strict=True)}
    if len(sizes) > 1:
      raise errors.BadFileError(path, f"and its partner have {sorted(sizes)} pixels", "one size")
  except BaseException:
    for file in opened:
      file.close()
    raise
  return Cameras(path, opened, maps, bins)


def beside(path: pathlib.Path) -> pathlib.Path:
  """The file of the right camera: DSEC's, in the folder `right` beside `left`, else the same one."""
  return path.parent.with_name("right") / path.name if path.parent.name == "left" else path


def _maps(rectify, camera, path, file):
  """Column and row that each pixel has when rectified, or None where nothing says it."""
  from bicross_jax.data.formats import dsec, mvsec

  if rectify is not None:
    names = listing.names(rectify, (".txt",))
    found = [n for axis in "xy" for n in names if n.endswith(f"{camera}_{axis}_map.txt")]
    if len(found) != 2:
      raise errors.BadFileError(
        rectify, f"holds no maps of the {camera} camera", f"*_{camera}_{{x,y}}_map.txt"
      )
    return tuple(mvsec.read_map(rectify / name, file.size) for name in found)
  published = path.parent / "rectify_map.h5"
  if published.is_file():
    table = dsec.read_rectify_map(published, file.size)
    return table[..., 0], table[..., 1]
  return None


def starts(cameras: Cameras, start: int, stride: int) -> range:
  """The begins of all windows that lie whole among the events, milliseconds after the first one.

  Raises:
    errors.BadFileError: not even one fits.
  """
  length = (cameras.last - cameras.first) // MILLI
  if start + WINDOW // MILLI > length + 1:
    raise errors.BadFileError(
      cameras.path,
      f"has events for {length} ms",
      f"at least {start + WINDOW // MILLI} for a window",
    )
  return range(start, length + 2 - WINDOW // MILLI, stride)
