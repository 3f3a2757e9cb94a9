"""DSEC: two event cameras (480x640) in a car, with disparity from a laser, as published.

    train/<sequence>/events/{left,right}/{events.h5,rectify_map.h5}
    train/<sequence>/disparity/event/NAME.png, train/<sequence>/disparity/timestamps.txt
    train/<sequence>/calibration/cam_to_cam.yaml

The official test sequences have no labels, so all parts are cut from the training sequences. Domain
"train": by drive, which is a sequence's name without the letter at its end, so that no drive is in two
parts: the last tenth of the drives (rounded up) tests, and of the others the last tenth validates. Of
fewer than three drives the last tenth of each sequence's frames tests, and the tenth before validates.
Domain "listed": the sequences that `config.data.parts` names.

Depth of disparity d is f * baseline / d, by the matrix `disparity_to_depth/cams_03` of the calibration.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import math
import pathlib
import re

import numpy as np

from bicross_jax import errors
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.formats import dsec, listing, yaml_numbers
from bicross_jax.data.layouts import event_sets, recordings, windows
from bicross_jax.data.layouts.frames import HELD_OUT
from bicross_jax.data.layouts.recordings import Settings, Take

PERIOD = 100_000  # microseconds between two disparity maps
_SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
_LETTER = re.compile(r"_[a-z]$")


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> recordings.Finders | None:
  """What lists the parts of a domain; see the top of this page.

  Raises:
    errors.UserError: "listed" without sequences for a part.
  """
  folder = root / "train"
  there = [name for name in listing.folders(folder) if (folder / name / "events").is_dir()]
  if not there:
    return None
  if domain == "listed":
    return {part: functools.partial(_listed, folder, part, parts.get(part, ())) for part in PARTS}
  names = by_drive(there)
  if names is None:
    shares = _SHARES.items()
    return {part: functools.partial(_takes, folder, there, share) for part, share in shares}
  return {part: functools.partial(_takes, folder, chosen) for part, chosen in names.items()}


def _takes(folder: pathlib.Path, names: Sequence[str], share=(0.0, 1.0)) -> list[Take]:
  return [Take(_Drive(folder / name), share=share) for name in names]


def by_drive(names: Sequence[str]) -> dict[str, list[str]] | None:
  """The sequences of each part where there are three drives or more; see the top of this page.

  Args:
    names: of sequences, in natural order.
  """
  drives = list(dict.fromkeys(_LETTER.sub("", name) for name in names))
  if len(drives) < len(PARTS):
    return None
  tested = math.ceil(len(drives) / HELD_OUT)
  validated = math.ceil((len(drives) - tested) / HELD_OUT)
  cut = len(drives) - tested
  chosen = {
    "train": drives[: cut - validated],
    "validation": drives[cut - validated : cut],
    "test": drives[cut:],
  }
  return {
    part: [name for name in names if _LETTER.sub("", name) in of_part]
    for part, of_part in chosen.items()
  }


def _listed(folder: pathlib.Path, part: str, names: Sequence[str]) -> list[Take]:
  if not names:
    raise errors.UserError(f"the config's parts.{part} lists no sequence")
  return _takes(folder, names)


class _Drive(recordings.Recording):
  """One sequence, by its folder."""

  def __init__(self, folder: pathlib.Path):
    self.name = folder.name
    self._folder = folder
    self.labels = f"{folder}/disparity/event"
    self.events = f"{folder}/events/left/events.h5"

  @property
  def _timestamps(self) -> str:
    return f"{self._folder}/disparity/timestamps.txt"

  @property
  def _calibration(self) -> str:
    return f"{self._folder}/calibration/cam_to_cam.yaml"

  def _camera(self, side: str) -> tuple[str, str]:
    place = f"{self._folder}/events/{side}"
    return f"{place}/events.h5", f"{place}/rectify_map.h5"

  @functools.cached_property
  def _maps(self) -> dict[int, str]:
    """{number: path} of the disparity maps, ascending."""
    names = [name for name in listing.names(self.labels, (".png",)) if name[:-4].isdigit()]
    return {int(name[:-4]): f"{self.labels}/{name}" for name in names}

  def files(self, settings: Settings) -> list[str]:
    events = [path for side in settings.sides for path in self._camera(side)]
    maps = [] if self._maps else [f"{self.labels}/*.png"]
    return [*events, self._timestamps, self._calibration, *maps]

  def frame_files(self, frame: int) -> list[str]:
    return [self._maps[frame]]

  @functools.cached_property
  def _stamps(self) -> np.ndarray:
    found = dsec.read_timestamps(self._timestamps)
    if len(found) != len(self._maps):
      raise errors.BadFileError(
        self._timestamps, f"has {len(found)} lines", f"one for each of {len(self._maps)} maps"
      )
    return found

  def stamps(self) -> tuple[np.ndarray, np.ndarray]:
    return np.array(list(self._maps), np.int64), self._stamps

  def covered(self, settings: Settings) -> tuple[int, int]:
    sources = [(self._camera(side)[0], side) for side in settings.sides]
    return windows.covered(sources, dsec.SIZE)

  @contextlib.contextmanager
  def open(
    self, settings: Settings, frames: Sequence[int], span: tuple[int, int] | None
  ) -> Iterator["_Open"]:
    numbers, stamps = self.stamps()
    wanted = stamps[np.searchsorted(numbers, frames)]
    sources = []
    for side in settings.sides:
      events, rectify = self._camera(side)
      table = dsec.read_rectify_map(rectify)
      sources.append(windows.Source(events, side, (table[..., 0], table[..., 1])))
    with contextlib.closing(
      windows.Windows(sources, wanted, recordings.WINDOW, settings.bins)
    ) as counted:
      yield _Open(self._maps, self._calibration, counted, frames)


class _Open(recordings.Opened):
  def __init__(self, maps, calibration, counted, frames):
    self.size = dsec.SIZE
    self._maps, self._windows = maps, counted
    self._rows = {frame: row for row, frame in enumerate(frames)}
    found = yaml_numbers.read(calibration)
    fx, fy, cx, cy = yaml_numbers.numbers(
      calibration, found, "intrinsics.camRect0.camera_matrix", (4,)
    )
    q = yaml_numbers.numbers(calibration, found, "disparity_to_depth.cams_03", (4, 4))
    if not (q[2, 3] > 0 and q[3, 2] > 0):
      raise errors.BadFileError(
        calibration, "disparity_to_depth.cams_03 has no focal length or baseline", "positive ones"
      )
    self._depth_of_one = q[2, 3] / q[3, 2]  # metres where the disparity is one pixel
    self.constants = {
      "intrinsics": np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float32),
      "baseline": np.array(1 / q[3, 2], np.float32),
    }

  def counts(self, frame: int) -> np.ndarray:
    return self._windows.counts(self._rows[frame])

  def depth(self, frame: int) -> np.ndarray:
    path = self._maps[frame]
    disparity = dsec.read_disparity(path)
    if disparity.shape != self.size:
      raise errors.BadFileError(path, f"is {disparity.shape}", f"{self.size}")
    known = disparity > 0
    metres = self._depth_of_one / np.where(known, disparity, 1)
    return np.where(known, metres, 0).astype(np.float32)


SET = event_sets.EventSet(
  name="dsec",
  title="DSEC",
  published="https://dsec.ifi.uzh.ch/dsec-datasets/download/",
  trees=("train/<sequence>/{events/{left,right}/{events,rectify_map}.h5,disparity,calibration}",),
  domains=("train", "listed"),
  find=find,
  size=dsec.SIZE,
  period=PERIOD,
)
