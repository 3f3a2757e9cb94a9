"""DDD17 with labels and raw events, as the repository of ESS (Sun et al. 2022) reads it.

    dirK/events.dat.t, events.dat.xyp           int64[N] times; int16[N, 3] column, row, polarity 0 or 1
    dirK/index/index_50ms.npy                   [frames, 3]: time of a frame, the event that ends there, the one 50 ms before
    dirK/segmentation_masks/NAME_<number>.png   classes of the upper 200 rows; frames are numbered from 1
    dirK/imgs/img_<number>.png                  frames, of 8 digits, or of 10 without `img_`, where they are asked for

Events are found by their numbers in the index. Domain "frames": a window is what lies between two frames; "50ms": the
50 ms before a frame. Of the seven folders, in order, the second is Ev-SegNet's test recording; the fifth, which ESS leaves
out of its training, validates; the others train.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import pathlib
import re

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data import classes, event_counts
from bicross_jax.data.formats import image, listing, npy
from bicross_jax.data.formats.events import Events
from bicross_jax.data.layouts import event_sets, recordings
from bicross_jax.data.layouts.frames import first_there
from bicross_jax.data.layouts.recordings import Settings, Take

SENSOR, SIZE = (260, 346), (200, 346)  # of the camera; of what has labels
FOLDERS = 7
TEST, VALIDATION = 1, 4  # of the folders
_PERIOD = 50_000  # microseconds, nominal
_NUMBER = re.compile(r"(\d+)\.png$", re.I)
_INDEX = "index/index_50ms.npy"
_ROW = 3 * 2  # bytes of an event's column, row and polarity


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> recordings.Finders | None:
  """What lists the parts; see the top of this page.

  Raises:
    errors.UserError: there are not seven folders, which the parts are told by.
  """
  del parts  # the order of the folders says it all
  names = sorted(n for n in listing.folders(root) if n.startswith("dir"))
  if not names:
    return None
  if len(names) != FOLDERS:
    raise errors.UserError(
      f"{root} has the {len(names)} folders {', '.join(names)}: parts are told by the order of {FOLDERS}"
    )
  takes = [Take(_Folder(root / name, domain)) for name in names]
  held = {"test": TEST, "validation": VALIDATION}
  train = [take for i, take in enumerate(takes) if i not in held.values()]
  return {"train": lambda: train, **{part: lambda i=i: [takes[i]] for part, i in held.items()}}


class _Folder(recordings.Recording):
  """One recording, by its folder."""

  def __init__(self, folder: pathlib.Path, domain: str):
    self.name, self.variant, self._folder = folder.name, domain, folder
    self.labels, self.events = f"{folder}/segmentation_masks", f"{folder}/events.dat.t"

  @functools.cached_property
  def _masks(self) -> dict[int, str]:
    """{number: path} of the label maps, ascending."""
    found = {}
    for name in listing.names(self.labels, (".png",)):
      if number := _NUMBER.search(name):
        found[int(number[1])] = f"{self.labels}/{name}"
    return dict(sorted(found.items()))

  def files(self, settings: Settings) -> list[str]:
    masks = [] if self._masks else [f"{self.labels}/*.png"]
    return [self.events, f"{self._folder}/events.dat.xyp", f"{self._folder}/{_INDEX}", *masks]

  def frame_files(self, frame: int) -> list[str]:
    return [self._masks[frame]]

  def stamps(self) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.array(list(self._masks), np.int64)
    return numbers, numbers * _PERIOD

  def covered(self, settings: Settings) -> tuple[int, int]:
    return -(2**62), 2**62  # windows are found by number

  @contextlib.contextmanager
  def open(
    self, settings: Settings, frames: Sequence[int], span: tuple[int, int] | None
  ) -> Iterator["_Open"]:
    yield _Open(self._folder, self._masks, self.variant == "50ms")


class _Open(recordings.Opened):
  def __init__(self, folder: pathlib.Path, masks: Mapping[int, str], milliseconds: bool):
    self.size, self.constants = SIZE, {}
    self._folder, self._masks = folder, masks
    self._index, self._events = f"{folder}/{_INDEX}", f"{folder}/events.dat.xyp"
    table = npy.open_npy(self._index)
    if table.ndim != 2 or table.shape[1] != 3 or table.dtype.kind not in "iu":
      raise errors.BadFileError(
        self._index, f"is {table.dtype} {table.shape}", "whole numbers (frames, 3)"
      )
    ends = np.maximum(table[:, 1].astype(np.int64), 0)
    begins = (
      np.maximum(table[:, 2].astype(np.int64), 0) if milliseconds else np.append(0, ends[:-1])
    )
    self._windows = np.stack([begins, ends], axis=1)
    size = files.size(self._events)
    if size % _ROW or files.size(f"{folder}/events.dat.t") != size // _ROW * 8:
      raise errors.BadFileError(self._events, f"has {size} bytes", "6 for every 8 of events.dat.t")
    self._rows = np.memmap(self._events, "<i2", "r").reshape(-1, 3)

  def counts(self, frame: int) -> np.ndarray:
    if not 1 <= frame <= len(self._windows):
      raise errors.BadFileError(
        self._masks[frame],
        f"is of frame {frame}",
        f"1 to {len(self._windows)}, as in {self._index}",
      )
    begin, end = self._windows[frame - 1]
    if not begin <= end <= len(self._rows):
      raise errors.BadFileError(
        self._index, f"frame {frame} has events {begin} to {end}", f"of {len(self._rows)}, in order"
      )
    x, y, p = np.asarray(self._rows[begin:end]).T
    if ((x < 0) | (x >= SENSOR[1]) | (y < 0) | (y >= SENSOR[0]) | (p < 0) | (p > 1)).any():
      raise errors.BadFileError(
        self._events, f"has other numbers than events in {begin} to {end}", f"pixels of {SENSOR}"
      )
    seen = y < SIZE[0]
    found = Events(x[seen], y[seen], np.ones(int(seen.sum()), np.int64), p[seen] > 0)
    return event_counts.histogram(found, 0, 1, bins=1, size=SIZE)

  def label(self, frame: int) -> np.ndarray:
    path = self._masks[frame]
    label = image.read_rgb(path)  # some writers repeat the grey values
    if label.shape[:2] != SIZE or (label != label[..., :1]).any():
      raise errors.BadFileError(path, f"is {label.shape[:2]}, or has colours", f"{SIZE}, grey")
    classes.check(label[..., 0], len(classes.DDD17.names), path)
    return np.ascontiguousarray(label[..., 0])

  def rgb(self, frame: int) -> np.ndarray:
    path = first_there(
      [f"{self._folder}/imgs/{n}.png" for n in (f"img_{frame:08d}", f"{frame:010d}")]
    )
    picture = image.read_rgb(path)
    if picture.shape[:2] not in (SENSOR, SIZE):
      raise errors.BadFileError(path, f"is {picture.shape[:2]}", f"{SENSOR} or {SIZE}")
    return picture[: SIZE[0]]


SET = event_sets.EventSet(
  name="ddd17_ess",
  title="DDD17 with events and labels in the form of ESS",
  published="https://github.com/Shathe/Ev-SegNet",
  trees=("dirK/{events.dat.t,events.dat.xyp,index/index_50ms.npy,segmentation_masks/NAME_N.png}",),
  domains=("frames", "50ms"),
  find=find,
  size=SIZE,
  cameras=1,
  known=("event_image", "label", "rgb"),
  default=("event_image", "label"),
  labels="label maps",
)
