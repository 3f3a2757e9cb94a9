"""Frames of published data sets: an image, its spike stream, its depth map, and where they lie."""

from collections.abc import Callable, Mapping, Sequence
import math
import os
import pathlib
from typing import NamedTuple

import numpy as np

PARTS = ("train", "validation", "test")
PICTURES = (".png", ".jpg", ".jpeg")
STREAMS = "spike"  # folder of the streams made for a published layout
HELD_OUT = 10  # one of so many training sequences or frames validates


class Frame(NamedTuple):
  """One frame of a set: its name and its three files, which may or may not be there."""

  key: str
  rgb: str
  spike: str
  depth: str


class Run(NamedTuple):
  """Frames that were recorded one after the other.

  Attributes:
    folder: where their images are looked for.
    frames: in the order of time; none where the folder holds no image.
  """

  folder: str
  frames: tuple[Frame, ...]


class DataSet(NamedTuple):
  """A published data set.

  Attributes:
    title: its name in a sentence.
    published: where it can be had.
    trees: the layouts that are understood, below the data folder.
    domains: what `domain` may be: a split, a weather, a place.
    find: (data folder, domain, parts) -> {part: runs}, or None where the folder holds none of the
      trees; `parts` are the entries of a config, which only some sets look at. Without a
      "validation" it is cut from the training runs (`hold_out`).
    read_depth: (path, (height, width) of the image) -> float32[H, W] metres, 0 where unknown.
    recorded: streams are a real camera's, stored as `formats.spikes.read_npy` calls naive; those
      of other sets are simulated.
  """

  title: str
  published: str
  trees: tuple[str, ...]
  domains: tuple[str, ...]
  find: Callable[[pathlib.Path, str, Mapping[str, Sequence[str]]], dict[str, list[Run]] | None]
  read_depth: Callable[[str, tuple[int, int]], np.ndarray]
  recorded: bool = False


def stream_path(data_dir: str | os.PathLike, image_path: str | os.PathLike) -> str:
  """Where the stream of an image of a published layout lies: <data_dir>/spike/<image>.npy.

  <image> is the image's path below `data_dir` without its suffix, so a stream has the place and
  the name of its image in a tree beside it: `a/b/rgb_00001.jpg` -> `spike/a/b/rgb_00001.npy`.

  Raises:
    ValueError: the image does not lie in `data_dir`.
  """
  image = pathlib.Path(image_path).relative_to(data_dir)
  return str(pathlib.Path(data_dir) / STREAMS / image.with_suffix(".npy"))


def pictures(folder: str | os.PathLike, prefix: str = "") -> list[str]:
  """Names (with suffix) of the pictures in a folder that begin with `prefix`, sorted by stem.

  Of several kinds of one picture the PNG is taken. A folder that is not there has none.
  """
  try:
    names = sorted(os.listdir(folder))
  except (FileNotFoundError, NotADirectoryError):
    return []
  by_stem = {
    os.path.splitext(name)[0]: name
    for name in names
    if name.startswith(prefix) and name.lower().endswith(PICTURES) and name[0] != "."
  }
  return [by_stem[stem] for stem in sorted(by_stem)]


def first_there(paths: Sequence[str]) -> str:
  """The first of some paths that exists, or the first of all where none does."""
  return next((path for path in paths if os.path.exists(path)), paths[0])


def hold_out(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
  """(training, validation) of the runs that a set publishes for training, in order.

  Of ten runs or more the last tenth (rounded up) validates, whole, so that no scene is in both;
  of fewer runs the last tenth of the frames of each (rounded, at least one of two).
  """
  if len(runs) >= HELD_OUT:
    kept = len(runs) - math.ceil(len(runs) / HELD_OUT)
    return list(runs[:kept]), list(runs[kept:])
  cuts = [max(n - max(round(n / HELD_OUT), 1), 1) for n in (len(r.frames) for r in runs)]
  pairs = list(zip(runs, cuts, strict=True))
  return (
    [r._replace(frames=r.frames[:cut]) for r, cut in pairs],
    [r._replace(frames=r.frames[cut:]) for r, cut in pairs if r.frames[cut:]],
  )
