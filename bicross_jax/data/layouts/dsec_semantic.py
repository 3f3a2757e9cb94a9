"""DSEC-Semantic (Sun et al. 2022): classes of 440x640 pixels for sequences of DSEC, 20 a second.

    {train,test}/<sequence>/events/left/{events.h5,rectify_map.h5}                            as published by DSEC
    {train,test}/<sequence>/{11,19}classes/NAME.png, <sequence>_semantic_timestamps.txt       as published
    {train,test}/<sequence>/semantic/[left/]{11,19}classes/data/NAME.png, semantic/timestamps.txt     as ESS reads them
    {train,test}/<sequence>/images/left/ev_inf/NAME.png    frames in the view of the event camera, where they are asked for

Labels are of the rectified left event camera without its lowest 40 rows. Classes are those of `classes.DSEC` (domain
"11classes"), `classes.CITYSCAPES` ("19classes") or, made of the eleven, `classes.DDD17` ("6classes"). "11classes_ess" has the
labels that the repository of ESS trains and tests on, and others after it: every second one from the seventh on.

The last tenth of the training sequences (rounded up) validates; of a single one the last tenth of its frames.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import math
import pathlib

import numpy as np

from bicross_jax import errors
from bicross_jax.data import classes
from bicross_jax.data.formats import dsec, image, listing
from bicross_jax.data.layouts import event_sets, recordings, windows
from bicross_jax.data.layouts.frames import HELD_OUT, first_there
from bicross_jax.data.layouts.recordings import Settings, Take

SIZE = (440, 640)
PERIOD = 50_000  # microseconds between two labels
DOMAINS = ("11classes", "6classes", "19classes", "11classes_ess")
_FIRST, _EVERY = 6, 2  # of ESS: labels without 250 ms before them, and more, are left out
_KEPT = 1 - 1 / HELD_OUT  # of the frames of a single sequence


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> recordings.Finders | None:
  """What lists the parts of a domain; see the top of this page."""
  del parts  # the folders say it all
  found = {}
  for part in ("train", "test"):
    folder = root / part
    every = [_Sequence(folder / name, domain) for name in listing.folders(folder)]
    found[part] = [sequence for sequence in every if sequence.labels]
  if not any(found.values()):
    return None
  held = math.ceil(len(found["train"]) / HELD_OUT)
  if len(found["train"]) > 1:
    train = [Take(sequence) for sequence in found["train"][:-held]]
    validation = [Take(sequence) for sequence in found["train"][-held:]]
  else:
    train = [Take(sequence, share=(0.0, _KEPT)) for sequence in found["train"]]
    validation = [Take(sequence, share=(_KEPT, 1.0)) for sequence in found["train"]]
  test = [Take(sequence) for sequence in found["test"]]
  return {"train": lambda: train, "validation": lambda: validation, "test": lambda: test}


class _Sequence(recordings.Recording):
  """One sequence, by its folder."""

  def __init__(self, folder: pathlib.Path, domain: str):
    self.name, self.variant, self._folder = folder.name, domain, folder
    kind = "19classes" if domain == "19classes" else "11classes"
    published, arranged = folder / kind, folder / "semantic"
    places = (published, arranged / kind / "data", arranged / "left" / kind / "data")
    self.labels = next((str(place) for place in places if place.is_dir()), "")
    self.events = f"{folder}/events/left/events.h5"
    self._rectify = f"{folder}/events/left/rectify_map.h5"
    self._timestamps = first_there(
      [f"{folder}/{folder.name}_semantic_timestamps.txt", f"{arranged}/timestamps.txt"]
    )

  @functools.cached_property
  def _maps(self) -> dict[int, str]:
    """{number: path} of all label maps, ascending."""
    names = [name for name in listing.names(self.labels, (".png",)) if name[:-4].isdigit()]
    return {int(name[:-4]): f"{self.labels}/{name}" for name in names}

  def files(self, settings: Settings) -> list[str]:
    maps = [] if self._maps else [f"{self.labels}/*.png"]
    return [self.events, self._rectify, self._timestamps, *maps]

  def frame_files(self, frame: int) -> list[str]:
    return [self._maps[frame]]

  @functools.cached_property
  def _stamps(self) -> tuple[np.ndarray, np.ndarray]:
    stamps = dsec.read_timestamps(self._timestamps)
    if len(stamps) != len(self._maps):
      raise errors.BadFileError(
        self._timestamps, f"has {len(stamps)} lines", f"one for each of {len(self._maps)} maps"
      )
    chosen = slice(_FIRST, None, _EVERY) if self.variant.endswith("_ess") else slice(None)
    return np.array(list(self._maps), np.int64)[chosen], stamps[chosen]

  def stamps(self) -> tuple[np.ndarray, np.ndarray]:
    return self._stamps

  def covered(self, settings: Settings) -> tuple[int, int]:
    return windows.covered([(self.events, "left")], dsec.SIZE)

  @contextlib.contextmanager
  def open(
    self, settings: Settings, frames: Sequence[int], span: tuple[int, int] | None
  ) -> Iterator["_Open"]:
    numbers, stamps = self.stamps()
    wanted = stamps[np.searchsorted(numbers, frames)]
    table = dsec.read_rectify_map(self._rectify)
    source = windows.Source(self.events, "left", (table[..., 0], table[..., 1]))
    with contextlib.closing(
      windows.Windows([source], wanted, recordings.WINDOW, settings.bins)
    ) as counted:
      yield _Open(self._maps, f"{self._folder}/images/left/ev_inf", self.variant, counted, frames)


class _Open(recordings.Opened):
  def __init__(self, maps, pictures, domain, counted, frames):
    self.size, self.constants = SIZE, {}
    self._maps, self._pictures, self._windows = maps, pictures, counted
    self._six, self._count = domain == "6classes", 19 if domain == "19classes" else 11
    self._rows = {frame: row for row, frame in enumerate(frames)}

  def counts(self, frame: int) -> np.ndarray:
    return self._windows.counts(self._rows[frame])[: SIZE[0]]

  def label(self, frame: int) -> np.ndarray:
    path = self._maps[frame]
    label = image.read_classes(path)
    if label.shape != SIZE:
      raise errors.BadFileError(path, f"is {label.shape}", f"{SIZE}")
    classes.check(label, self._count, path)
    return classes.mapped(label, classes.DSEC_TO_DDD17) if self._six else label

  def rgb(self, frame: int) -> np.ndarray:
    path = f"{self._pictures}/{pathlib.Path(self._maps[frame]).name}"
    picture = image.read_rgb(path)
    if picture.shape[:2] not in (SIZE, dsec.SIZE):
      raise errors.BadFileError(path, f"is {picture.shape[:2]}", f"{SIZE} or {dsec.SIZE}")
    return picture[: SIZE[0]]


SET = event_sets.EventSet(
  name="dsec_semantic",
  title="DSEC-Semantic",
  published="https://dsec.ifi.uzh.ch/dsec-semantic/",
  trees=("{train,test}/<sequence>/{events/left/{events,rectify_map}.h5,11classes/NAME.png}",),
  domains=DOMAINS,
  find=find,
  size=SIZE,
  cameras=1,
  period=PERIOD,
  known=("events", "event_image", "label", "rgb"),
  default=("event_image", "label"),
  labels="label maps",
)
