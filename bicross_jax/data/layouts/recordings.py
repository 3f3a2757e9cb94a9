"""What a recording of event cameras is to a data set: labelled frames, each of which ends a window."""

import abc
from collections.abc import Callable, Mapping, Sequence
import contextlib
from typing import NamedTuple

import numpy as np

DEFAULT = ("events", "depth", "depth_before")  # the fields of a config that chooses none
BINNINGS = ("timestamps", "legacy")
WINDOW = 50_000  # microseconds, the event window of all sets that do not say otherwise


class Settings(NamedTuple):
  """How examples are made of recordings.

  Attributes:
    fields: which.
    bins: parts of equal length that a window is divided into.
    cameras: 1: the left one alone.
    binning: "timestamps": a window of depth stamp s is (s - window, s]; "legacy": as the repository
      of StereoSpike counts (`mvsec`).
    closing: whether small holes in depth are filled, as StereoSpike does, where the set is one that it
      does that to.
  """

  fields: tuple[str, ...]
  bins: int
  cameras: int
  binning: str
  closing: bool

  @property
  def sides(self) -> tuple[str, ...]:
    """The cameras, in the order of the channels."""
    return ("left", "right")[: self.cameras]

  @property
  def fills(self) -> bool:
    """Whether depth is stored, and its holes are filled."""
    return self.closing and not {"depth", "depth_before"}.isdisjoint(self.fields)

  @property
  def calibrated(self) -> bool:
    """Whether numbers of the calibration are stored."""
    return not {"intrinsics", "baseline"}.isdisjoint(self.fields)


class Opened(abc.ABC):
  """A recording whose files are open. Threads may share it. It has the maps that its set knows.

  Attributes:
    size: height and width of its maps.
    constants: fields that are the same in all frames.
  """

  size: tuple[int, int]
  constants: Mapping[str, np.ndarray]

  @abc.abstractmethod
  def counts(self, frame: int) -> np.ndarray:
    """Counts of the events of a frame's window, uint16[H, W, T, C]."""

  def depth(self, frame: int) -> np.ndarray:
    """Depth at the end of a frame's window, float32[H, W] metres, 0 where unknown."""
    raise NotImplementedError

  def label(self, frame: int) -> np.ndarray:
    """Classes at the end of a frame's window, uint8[H, W], 255 where unknown."""
    raise NotImplementedError

  def rgb(self, frame: int) -> np.ndarray:
    """What an ordinary camera sees at the end of a frame's window, uint8[H, W, 3]."""
    raise NotImplementedError


class Recording(abc.ABC):
  """One sequence of a set.

  Attributes:
    name: in keys.
    labels, events: files or folders that labels and events come from, for errors.
    variant: what its maps are made of its files by, where there are several ways.
  """

  variant: str = ""
  name: str
  labels: str
  events: str

  @abc.abstractmethod
  def files(self, settings: Settings) -> list[str]:
    """The files that all examples are made of."""

  def frame_files(self, frame: int) -> list[str]:
    """The files that one frame alone is made of."""
    del frame
    return []

  @abc.abstractmethod
  def stamps(self) -> tuple[np.ndarray, np.ndarray]:
    """Frames that have labels: (int64[M] their numbers, int64[M] microseconds), both ascending.

    Raises:
      errors.BadFileError: the files do not say it.
    """

  @abc.abstractmethod
  def covered(self, settings: Settings) -> tuple[int, int]:
    """Microseconds of the first and the last event; of a pair, between which both cameras have some."""

  @abc.abstractmethod
  def open(
    self, settings: Settings, frames: Sequence[int], span: tuple[int, int] | None
  ) -> contextlib.AbstractContextManager[Opened]:
    """The open files.

    Args:
      settings: how examples are made.
      frames: those that are wanted, ascending.
      span: the first and the last frame of those that `legacy` counts windows in; None: all.
    """


class Take(NamedTuple):
  """What a part has of a recording.

  Attributes:
    recording: which.
    frames: their numbers, ascending; (): every frame whose window the events cover.
    span: see `Recording.open`.
    share: the part of `frames` that is meant, from which fraction to which.
  """

  recording: Recording
  frames: tuple[int, ...] = ()
  span: tuple[int, int] | None = None
  share: tuple[float, float] = (0.0, 1.0)


Finders = Mapping[str, Callable[[], list[Take]]]  # by part, what lists it
