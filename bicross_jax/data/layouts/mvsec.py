"""MVSEC: two DAVIS346 cameras (260x346) with depth from a laser, as published.

    indoor_flying/indoor_flyingK_{data,gt}.hdf5
    indoor_flying/indoor_flying_calib/indoor_flying_{left,right}_{x,y}_map.txt
    outdoor_day/..., outdoor_night/...                                     the same

The folder of a scene may be left out, and so may that of the calibration (an archive, whose files lie in
its root).

Domains: "split1" to "split3" are StereoSpike's, with the flight K as test; "splitK_shifted" are the
frames that its shipped loader takes, "splitK_blocked" has the first 200 frames of the test flight to
validate (`split`). "outdoor_day" trains on outdoor_day2, whose last tenth validates, and tests
outdoor_day1; "outdoor_night1" to "outdoor_night3" train on the same and test that night.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import importlib.resources
import pathlib
from typing import NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax.data import filling
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.formats import mvsec, yaml_numbers
from bicross_jax.data.layouts import event_sets, recordings, windows
from bicross_jax.data.layouts.frames import first_there
from bicross_jax.data.layouts.recordings import Settings, Take

SCENES = ("indoor_flying", "outdoor_day", "outdoor_night")
SPLITS = tuple(f"split{k}{kind}" for kind in ("", "_shifted", "_blocked") for k in (1, 2, 3))
OUTDOOR = {  # domain: its test recording
  "outdoor_day": "outdoor_day1",
  **{f"outdoor_night{k}": f"outdoor_night{k}" for k in (1, 2, 3)},
}
OUTDOOR_TRAINING = "outdoor_day2"
TRAINING_SHARE = 0.9  # of its frames; the rest validates
BLOCK = 200  # frames that validate of a "_blocked" split, as many as published


class Listed(NamedTuple):
  """What a list of the package says of a part's frames in one recording.

  Attributes:
    recording: its name.
    frames: numbers of depth maps, ascending.
    span: the first and the last depth map that StereoSpike reads of the recording.
  """

  recording: str
  frames: tuple[int, ...]
  span: tuple[int, int]


@functools.cache
def split(domain: str, part: str) -> tuple[Listed, ...]:
  """The frames of a part of a split of indoor_flying (StereoSpike, `indices.py` of its repository).

  There a sample has an index i in its flight, whose labels are read from frame a on. Without warm-up the
  frame of its label is a + 1 + i, which makes the frames those of Tulyakov et al. (ICCV 2019): the lists
  of the package, and domains "splitK". The shipped loader has a warm-up window, and so the
  frame is a + 2 + i: "splitK_shifted" (the last frame of split 1 is then none, and fails there). In both the 200
  frames that validate lie between those that test; "splitK_blocked" takes the first 200 of all of
  them instead.

  Args:
    domain: one of `SPLITS`.
    part: one of `dataset.PARTS`.
  """
  number, _, kind = domain.removeprefix("split").partition("_")
  table = _table(int(number))
  spans = {name: (frames[0], frames[-1]) for name, frames in table["span"].items()}
  chosen = table[part]
  if kind == "blocked" and part != "train":
    (name,) = chosen
    whole = sorted(table["validation"][name] + table["test"][name])
    chosen = {name: tuple(whole[:BLOCK] if part == "validation" else whole[BLOCK:])}
  if kind == "shifted":
    moved = {name: [frame + 1 for frame in frames] for name, frames in chosen.items()}
    chosen = {
      name: tuple(frame for frame in frames if frame <= spans[name][1])
      for name, frames in moved.items()
    }
  return tuple(Listed(name, frames, spans[name]) for name, frames in chosen.items())


def _table(number: int) -> dict[str, dict[str, tuple[int, ...]]]:
  """{"span" or part: {recording: frames}} of a list of the package."""
  lists = importlib.resources.files("bicross_jax.data") / "splits"
  table: dict[str, dict[str, tuple[int, ...]]] = {}
  for line in (lists / f"mvsec_split{number}.txt").read_text().splitlines():
    if not line.startswith("#"):
      name, kind, *words = line.split()
      ends = [word.partition("-") for word in words]
      table.setdefault(kind, {})[name] = tuple(
        frame for low, _, high in ends for frame in range(int(low), int(high or low) + 1)
      )
  return table


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> recordings.Finders | None:
  """What lists the parts of a domain; see the top of this page."""
  del parts  # the lists say it all
  places = [root, *(root / scene for scene in SCENES)]
  if not any(next(place.glob("*_gt.hdf5"), None) for place in places):
    return None
  if domain in OUTDOOR:
    training, test = (_Flight(root, name) for name in (OUTDOOR_TRAINING, OUTDOOR[domain]))
    return {
      "train": lambda: [Take(training, share=(0.0, TRAINING_SHARE))],
      "validation": lambda: [Take(training, share=(TRAINING_SHARE, 1.0))],
      "test": lambda: [Take(test)],
    }

  def listed(part):
    return [Take(_Flight(root, x.recording), x.frames, x.span) for x in split(domain, part)]

  return {part: functools.partial(listed, part) for part in PARTS}


class _Flight(recordings.Recording):
  """One recording, by its name ("indoor_flying1")."""

  def __init__(self, root: pathlib.Path, name: str):
    self.name = name
    self._scene = name.rstrip("0123456789")
    near, flat = root / self._scene, root
    self.events = first_there([f"{place}/{name}_data.hdf5" for place in (near, flat)])
    self.labels = first_there([f"{place}/{name}_gt.hdf5" for place in (near, flat)])
    folder = f"{self._scene}_calib"
    self._places = (near / folder, near, flat / folder, flat)

  def _calibration(self, name: str) -> str:
    return first_there([f"{place}/{name}" for place in self._places])

  def _maps(self, side: str) -> list[str]:
    return [self._calibration(f"{self._scene}_{side}_{axis}_map.txt") for axis in "xy"]

  def _camchain(self) -> str:
    return self._calibration(f"camchain-imucam-{self._scene}.yaml")

  def files(self, settings: Settings) -> list[str]:
    maps = [path for side in settings.sides for path in self._maps(side)]
    chain = [self._camchain()] if settings.calibrated else []
    return [self.events, self.labels, *maps, *chain]

  @functools.cached_property
  def _stamps(self) -> np.ndarray:
    with mvsec.Truth(self.labels) as truth:
      return truth.stamps

  def stamps(self) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(self._stamps)), self._stamps

  def covered(self, settings: Settings) -> tuple[int, int]:
    return windows.covered([(self.events, side) for side in settings.sides], mvsec.SIZE)

  @contextlib.contextmanager
  def open(
    self, settings: Settings, frames: Sequence[int], span: tuple[int, int] | None
  ) -> Iterator["_Open"]:
    chosen, stamps = np.asarray(frames), self._stamps
    first, last = span or (0, len(stamps))
    last = min(last, len(stamps) - 1)
    sources = [
      windows.Source(self.events, side, (mvsec.read_map(x), mvsec.read_map(y)))
      for side in settings.sides
      for x, y in [self._maps(side)]
    ]
    counted = None
    if settings.binning == "legacy":
      counted = int(stamps[first]), int(stamps[last]), chosen - first
    with (
      mvsec.Truth(self.labels) as truth,
      contextlib.closing(
        windows.Windows(sources, stamps[chosen], recordings.WINDOW, settings.bins, counted)
      ) as seen,
      contextlib.closing(filling.Fillers(len(frames) if settings.fills else 0)) as fillers,
    ):
      fill = fillers.fill if settings.fills else None
      yield _Open(truth, seen, frames, fill, self._constants(settings))

  def _constants(self, settings: Settings) -> dict[str, np.ndarray]:
    """The fields of the calibration: P of the left camera, and how far the right one is."""
    if not settings.calibrated:
      return {}
    path = self._camchain()
    found = yaml_numbers.read(path)
    left, right = (
      yaml_numbers.numbers(path, found, f"{camera}.projection_matrix", (3, 4))
      for camera in ("cam0", "cam1")
    )
    if not left[0, 0] > 0 < right[0, 0]:
      raise errors.BadFileError(path, "has a projection_matrix without a focal length")
    return {
      "intrinsics": left[:, :3].astype(np.float32),
      "baseline": np.array(-right[0, 3] / right[0, 0], np.float32),
    }


class _Open(recordings.Opened):
  def __init__(self, truth, seen, frames, fill, constants):
    self.size, self.constants = mvsec.SIZE, constants
    self._truth, self._windows, self._fill = truth, seen, fill
    self._rows = {frame: row for row, frame in enumerate(frames)}

  def counts(self, frame: int) -> np.ndarray:
    return self._windows.counts(self._rows[frame])

  def depth(self, frame: int) -> np.ndarray:
    depth = self._truth.depth(frame)
    return self._fill(depth) if self._fill else depth


SET = event_sets.EventSet(
  name="mvsec",
  title="MVSEC",
  published="https://daniilidis-group.github.io/mvsec/download/",
  trees=("<scene>/<recording>_{data,gt}.hdf5 with <scene>/<scene>_calib/<scene>_left_x_map.txt",),
  domains=(*SPLITS, *OUTDOOR),
  find=find,
  size=mvsec.SIZE,
  binnings=recordings.BINNINGS,
)
