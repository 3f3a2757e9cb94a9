"""Data sets of event cameras: recordings with label maps, each of which ends a window of events."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from bicross_jax import errors, fields, folders
from bicross_jax.data.dataset import DataSet, Stored
from bicross_jax.data.layouts.frames import VERBS
from bicross_jax.data.layouts.recordings import BINNINGS, DEFAULT, WINDOW, Finders, Settings, Take


@dataclasses.dataclass(frozen=True, eq=False)
class EventSet(DataSet):
  """A data set of event cameras.

  Attributes:
    name, title, published, trees, domains: as of `frames.FrameSet`.
    find: (data folder, domain, entries of a config by part) -> what lists each part; None where the folder holds
      none of the trees.
    size: height and width of the cameras.
    cameras: how many the set has.
    window: microseconds of events that an example has.
    period: nominal microseconds between two frames.
    binnings: of `BINNINGS`.
    known: fields that can be chosen.
    default: those of a config that chooses none.
    labels: what a frame has, in words.
  """

  name: str
  title: str
  published: str
  trees: tuple[str, ...]
  domains: tuple[str, ...]
  find: Callable[[pathlib.Path, str, Mapping[str, Sequence[str]]], Finders | None]
  size: tuple[int, int]
  cameras: int = 2
  window: int = WINDOW
  period: int = WINDOW
  binnings: tuple[str, ...] = BINNINGS[:1]
  known: tuple[str, ...] = (*DEFAULT, "intrinsics", "baseline", "event_image")
  default: tuple[str, ...] = DEFAULT
  labels: str = "depth maps"

  def settings(self, config: Any) -> Settings:
    """What a data section says about how examples are made."""
    chosen = tuple(config.get("sensors", ())) or self.default
    return Settings(
      fields=tuple(name for name in self.known if name in chosen),
      bins=config.get("bins", 1),
      cameras=config.get("cameras", self.cameras),
      binning=config.get("binning", "timestamps"),
      closing=config.get("closing", True),
    )

  def check(self, config: Any, section: str) -> None:
    """Raises errors.UserError for what the set has not; see `DataSet.check`."""
    settings, field = self.settings(config), f"config.{section}"
    wrong = [name for name in config.get("sensors", ()) if name not in self.known]
    if wrong:
      raise errors.UserError(
        f"{self.name} has no field {wrong[0]!r} ({field}.sensors): choose from "
        f"{', '.join(self.known)}"
      )
    if not fields.maps(settings.fields):
      raise errors.UserError(f"{field}.sensors names none of {', '.join(fields.maps(self.known))}")
    if settings.cameras > self.cameras:
      raise errors.UserError(f"{self.name} has one camera, not {field}.cameras={settings.cameras}")
    if settings.binning not in self.binnings:
      raise errors.UserError(
        f"{field}.binning={settings.binning!r}: {self.name} has {', '.join(self.binnings)}"
      )
    self._finders(config, section)

  def fields(self, config: Any) -> Mapping[str, Stored]:
    """Those that `config.sensors` chooses, or `default`; see `DataSet.fields`."""
    return self.stored(self.settings(config))

  def stored(self, settings: Settings) -> Mapping[str, Stored]:
    """How the fields of some settings are stored."""
    every = {
      "events": Stored((*self.size, settings.bins, 2 * settings.cameras), "uint8"),
      "depth": Stored(self.size, "float32"),
      "depth_before": Stored(self.size, "float32"),
      "intrinsics": Stored((3, 3), "float32"),
      "baseline": Stored((), "float32"),
      "event_image": Stored((*self.size, 2), "uint8"),
      "label": Stored(self.size, "uint8"),
      "rgb": Stored((*self.size, 3), "uint8"),
    }
    return {name: every[name] for name in settings.fields}

  def build(self, config: Any, section: str, part: str) -> Any:
    """The builder of a part; see `DataSet.build`."""
    from bicross_jax.data.builders import recordings, storage  # TensorFlow is needed from here on

    chosen = recordings.RecordingsConfig(
      dataset=self,
      part=part,
      takes=self.takes(config, section, part),
      settings=self.settings(config),
    )
    return storage.prepare(recordings.Recordings, chosen, storage.root())

  def takes(self, config: Any, section: str, part: str) -> list[Take]:
    """What a part consists of, all frames by number.

    With `config.allow_missing` recordings and frames that lack files, or lie where there are no events,
    are left out with a line that says so.

    Raises:
      errors.UserError: missing files, an empty part, files without the frames of the set's lists.
    """
    settings, tolerant = self.settings(config), config.get("allow_missing", False)
    whole, problems = [], []
    for take in self._finders(config, section)[part]():
      problem = _lacking(take.recording.name, take.recording.files(settings))
      if problem:
        problems.append(problem)
        continue
      take = self._numbered(take, settings, tolerant)
      files = {frame: take.recording.frame_files(frame) for frame in take.frames}
      gone = [frame for frame in files if not all(map(os.path.isfile, files[frame]))]
      if gone:
        places = [path for frame in gone for path in files[frame]]
        name = f"{take.recording.name} ({len(gone)} of {len(files)} frames)"
        problems.append(_lacking(name, places))
        take = take._replace(frames=tuple(frame for frame in files if frame not in set(gone)))
      if take.frames:
        whole.append(take)
    if problems and not (tolerant and whole):
      raise errors.UserError(
        f"{'; '.join(problems[:3])}; {self.title} is published at {self.published}, "
        f"config.{section}.allow_missing=True leaves such recordings and frames out"
      )
    for problem in problems:
      print(f"left out: {problem}", flush=True)
    if not whole:
      raise errors.UserError(f"no frame to {VERBS[part]} with in {config.data_dir}")
    return whole

  def runs(self, take: Take) -> list[int]:
    """Numbers of frames of a take that were recorded one after the other, without gaps."""
    numbers, stamps = take.recording.stamps()
    rows = np.searchsorted(numbers, take.frames)
    late = np.diff(stamps[rows]) > 1.5 * self.period
    ends = np.flatnonzero(late | (np.diff(rows) != 1)) + 1
    return np.diff([0, *ends, len(rows)]).tolist()

  def before(self, take: Take) -> dict[int, int]:
    """{frame: the frame whose depth is that at the beginning of its window}, where there is one.

    It is the frame before, when its stamp lies within half a window of that beginning and its files
    are there.
    """
    numbers, stamps = take.recording.stamps()
    known = np.abs(stamps[1:] - self.window - stamps[:-1]) <= self.window / 2
    pairs = zip(numbers[1:][known].tolist(), numbers[:-1][known].tolist(), strict=True)
    files = take.recording.frame_files
    return {
      frame: previous for frame, previous in pairs if all(map(os.path.isfile, files(previous)))
    }

  def _finders(self, config: Any, section: str) -> Finders:
    field = f"config.{section}.data_dir"
    if not config.data_dir:
      raise errors.UserError(
        f"{self.name} needs {field}, the folder that holds {' or '.join(self.trees)}; it is "
        f"published at {self.published}"
      )
    root = folders.expand(config.data_dir, f"write {field} in full")
    found = self.find(root, config.domain, config.get("parts", {}))
    if found is None:
      places = " or ".join(f"{root}/{tree}" for tree in self.trees)
      raise errors.UserError(
        f"{f'no {self.name} in' if root.is_dir() else 'no folder'} {root} ({field}): {self.title} "
        f"is read from {places}; it is published at {self.published}"
      )
    return found

  def _numbered(self, take: Take, settings: Settings, tolerant: bool) -> Take:
    """A take with the numbers of its frames."""
    recording = take.recording
    numbers, stamps = recording.stamps()
    first, last = recording.covered(settings)
    begins = stamps - self.window
    if not take.frames:
      whole = (begins >= first) & (stamps <= last)
      found = numbers[whole]
      if not whole.all():
        print(
          f"left out: {(~whole).sum()} of the {len(whole)} {self.labels} of {recording.name}, whose "
          "windows begin before the events or end after them",
          flush=True,
        )
      low, high = (round(len(found) * x) for x in take.share)
      return take._replace(frames=tuple(found[low:high].tolist()))
    listed = np.asarray(take.frames)
    there = np.isin(listed, numbers)
    seen = np.isin(listed, numbers[(stamps >= first) & (begins < last)])
    if seen.all():
      return take
    frame = listed[~seen][0]
    if frame in listed[~there]:
      problem = f"{recording.labels}: has no depth of frame {frame}"
    else:
      ends = f"{first / 1e6:.6f} to {last / 1e6:.6f} s"
      problem = f"{recording.events}: has events from {ends}, none in the window of frame {frame}"
    if not tolerant:
      raise errors.UserError(f"{problem} (expected frames {listed[0]} to {listed[-1]})")
    print(
      f"left out: {(~seen).sum()} of the {len(listed)} frames of {recording.name}; {problem}",
      flush=True,
    )
    return take._replace(frames=tuple(listed[seen].tolist()))


def _lacking(name: str, files: Sequence[str]) -> str:
  """Which of some files are not there, in words; "" where all are."""
  gone = [path for path in files if not os.path.isfile(path)]
  more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
  return f"{name} lacks {', '.join(gone[:3])}{more}" if gone else ""
