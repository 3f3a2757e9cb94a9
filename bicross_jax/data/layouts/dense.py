"""DENSE: one simulated event camera (260x346) in CARLA at 30 frames a second, as rpg_e2depth reads it.

    {train,validation,test}/<sequence>/events/data/NAME_<number>.npy     [N, 4]: t, x, y, p
    {train,validation,test}/<sequence>/depth/data/NAME_<number>.npy      [260, 346], metres

A file of events is the window of the depth map of its number: from its first event to its last, and so
it is not 50 ms long. With binning "legacy" both ends of every bin are left out, as StereoSpike's
loader leaves them, and with "timestamps" every event counts. Frames that have but one of both files
are missing files (`config.data.allow_missing`).
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import os
import pathlib
import re

import numpy as np

from bicross_jax import errors
from bicross_jax.data import event_counts
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.formats import events, listing, npy
from bicross_jax.data.layouts import event_sets, recordings
from bicross_jax.data.layouts.recordings import Settings, Take

SIZE = (260, 346)
PERIOD = 33_333  # microseconds between two frames
_NUMBER = re.compile(r"(\d+)\.npy$")


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> recordings.Finders | None:
  """What lists the parts: the folders of that name."""
  del domain, parts  # the folders say it all
  if not any((root / part).is_dir() for part in PARTS):
    return None
  return {part: functools.partial(_takes, root / part) for part in PARTS}


def _takes(folder: pathlib.Path) -> list[Take]:
  names = [name for name in listing.folders(folder) if (folder / name / "depth").is_dir()]
  return [Take(_Drive(folder / name)) for name in names]


class _Drive(recordings.Recording):
  """One sequence, by its folder."""

  def __init__(self, folder: pathlib.Path):
    self.name = f"{folder.parent.name}/{folder.name}"
    self.events, self.labels = f"{folder}/events/data", f"{folder}/depth/data"

  @functools.cached_property
  def _pairs(self) -> dict[int, tuple[str, str]]:
    """{number: (events, depth)}, ascending; where one is not there, the place it should have."""
    found, lone = (_numbered(place) for place in (self.events, self.labels))
    return {
      number: (
        found.get(number, f"{self.events}/*{number}.npy"),
        lone.get(number, f"{self.labels}/*{number}.npy"),
      )
      for number in sorted({*found, *lone})
    }

  def files(self, settings: Settings) -> list[str]:
    del settings
    return [] if self._pairs else [f"{self.labels}/*.npy"]

  def frame_files(self, frame: int) -> list[str]:
    return list(self._pairs[frame])

  def stamps(self) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.array(list(self._pairs), np.int64)
    return numbers, numbers * PERIOD

  def covered(self, settings: Settings) -> tuple[int, int]:
    del settings  # every window is a file of its own
    return -(2**62), 2**62

  @contextlib.contextmanager
  def open(
    self, settings: Settings, frames: Sequence[int], span: tuple[int, int] | None
  ) -> Iterator["_Open"]:
    del frames, span
    yield _Open(self._pairs, settings)


class _Open(recordings.Opened):
  def __init__(self, pairs: Mapping[int, tuple[str, str]], settings: Settings):
    self.size, self.constants = SIZE, {}
    self._pairs, self._bins = pairs, settings.bins
    self._strict = settings.binning == "legacy"

  def counts(self, frame: int) -> np.ndarray:
    with events.open_events(self._pairs[frame][0], size=SIZE) as file:
      found, begin, end = file.read(0, file.count), file.first, max(file.last, file.first + 1)
    begin = begin if self._strict else begin - 1
    return event_counts.histogram(
      found, begin, end, bins=self._bins, size=SIZE, strict=self._strict
    )

  def depth(self, frame: int) -> np.ndarray:
    path = self._pairs[frame][1]
    depth = npy.open_npy(path)
    if depth.shape != SIZE or depth.dtype.kind not in "fiu":
      raise errors.BadFileError(path, f"is {depth.dtype} {depth.shape}", f"numbers {SIZE}")
    depth = np.asarray(depth, np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _numbered(folder: str) -> dict[int, str]:
  """{number at the end of a name: path} of the .npy files of a folder."""
  found = {}
  for name in listing.names(folder, (".npy",)):
    if number := _NUMBER.search(name):
      found[int(number[1])] = os.path.join(folder, name)
  return found


SET = event_sets.EventSet(
  name="dense",
  title="DENSE",
  published="https://rpg.ifi.uzh.ch/E2DEPTH.html",
  trees=("{train,validation,test}/<sequence>/{events,depth}/data",),
  domains=("town",),
  find=find,
  size=SIZE,
  cameras=1,
  window=PERIOD,
  period=PERIOD,
  binnings=recordings.BINNINGS,
  known=recordings.DEFAULT,
)
