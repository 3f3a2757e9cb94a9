"""DrivingStereo with spike streams: its sequences, and its frames of four weathers, at half size.

Sequences (set `drivingstereo`):

    input/{train,test}/<sequence>/{rgb,depth,spike/npy}/NAME              BiCross
    {train,test}-left-image/..., {train,test}-depth-map/...               as published

where a sequence's files lie in `<sequence>/` or, of the test archives, together in
`left-image-half-size/` and `depth-map-half-size/`, named `<sequence>_<time>`.

Weathers (set `drivingstereo_weather`):

    <weather>/input/{half,full}/{rgb,depth,spike/npy}/NAME                BiCross; `half` is read
    <weather>/{left-image,depth-map}-half-size/NAME                       as published

Depth files are 16-bit PNG, metres times 256. The published places were taken from the archives'
names and from public loaders of the set, as no copy of it was at hand.
"""

from collections.abc import Mapping, Sequence
import functools
import os
import pathlib

import numpy as np

from bicross_jax.data.formats import depth, listing
from bicross_jax.data.layouts import frames, readers
from bicross_jax.data.layouts.frames import Recording

SELECTED = {  # the sequences of the repository Theia-4869/BiCross
  "train": (
    "2018-07-31-11-07-48",
    "2018-07-31-11-22-31",
    "2018-08-17-09-45-58",
    "2018-10-11-17-08-31",
    "2018-10-16-11-13-47",
    "2018-10-17-14-35-33",
    "2018-10-17-15-38-01",
    "2018-10-24-11-01-00",
  ),
  "test": ("2018-08-01-11-13-14",),
}
TEST = (
  "2018-07-11-14-48-52",
  "2018-08-01-11-13-14",
  "2018-08-07-13-46-08",
  "2018-10-11-16-03-19",
)  # of the publication
WEATHERS = ("sunny", "cloudy", "rainy", "foggy")
TRAINING_SHARE = 0.8  # of a weather's frames, the first by name


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """Runs are sequences: those that BiCross selected ("selected"), or all that are there ("all")."""
  del parts  # the sequences of each part are fixed
  if (root / "input").is_dir():
    recording, folders = _rearranged, {part: root / "input" / part for part in SELECTED}
  elif (root / "train-left-image").is_dir() or (root / "test-left-image").is_dir():
    recording, folders = _published, {part: root / f"{part}-left-image" for part in SELECTED}
  else:
    return None

  def recordings(part):
    chosen = SELECTED[part] if domain == "selected" else _sequences(folders[part], part)
    return [recording(root, part, sequence) for sequence in chosen]

  return {part: functools.partial(recordings, part) for part in SELECTED}


def _sequences(folder: pathlib.Path, part: str) -> list[str]:
  """Names of the sequences below a folder; of the published test archives the four it has."""
  names = listing.folders(folder)
  return list(TEST) if part == "test" and "left-image-half-size" in names else names


def _rearranged(root, part, sequence) -> Recording:
  return _recording(f"{root}/input/{part}/{sequence}", sequence)


def _recording(folder: str, place: str) -> Recording:
  """The frames of one folder of BiCross's layout."""
  names = [(os.path.splitext(image)[0], image) for image in listing.pictures(f"{folder}/rgb")]
  return Recording(
    f"{folder}/rgb",
    tuple(frames.rearranged(f"{place}/{name}", folder, image) for name, image in names),
  )


def _published(root, part, sequence) -> Recording:
  images, maps = f"{root}/{part}-left-image", f"{root}/{part}-depth-map"
  for left, truth in (
    (f"{sequence}", f"{sequence}"),
    (f"left-image-half-size/{sequence}", f"depth-map-half-size/{sequence}"),
    ("left-image-half-size", "depth-map-half-size"),
  ):
    prefix = "" if left.endswith(sequence) else f"{sequence}_"
    names = listing.pictures(f"{images}/{left}", prefix)
    if names:
      return _pairs(root, f"{images}/{left}", f"{maps}/{truth}", names, sequence)
  return Recording(f"{images}/{sequence}", ())


def _pairs(root, images: str, maps: str, names: Sequence[str], place: str) -> Recording:
  """Frames of two folders of a published layout."""
  stems = [(os.path.splitext(name)[0], name) for name in names]
  return Recording(
    images,
    tuple(
      frames.published(root, f"{place}/{stem}", f"{images}/{name}", f"{maps}/{stem}.png")
      for stem, name in stems
    ),
  )


def find_weather(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """One recording: a weather's frames by name, the first 80 % to train and the last 20 % to test."""
  del parts  # the share of each part is fixed
  folder = root / domain
  images = f"{folder}/left-image-half-size"
  if (folder / "input").is_dir():
    whole = functools.partial(_recording, f"{folder}/input/half", domain)
  elif os.path.isdir(images):
    maps = f"{folder}/depth-map-half-size"
    whole = lambda: _pairs(root, images, maps, listing.pictures(images), domain)
  else:
    return None

  def share(first, last):
    recording = whole()
    cuts = [int(len(recording.frames) * x) for x in (first, last)]
    return [recording._replace(frames=recording.frames[slice(*cuts)])]

  return {"train": lambda: share(0, TRAINING_SHARE), "test": lambda: share(TRAINING_SHARE, 1)}


def read_depth(asked: readers.Asked) -> np.ndarray:
  """Depth of a frame, float32[H, W] metres, 0 where unknown."""
  return depth.read_png16(asked.path, depth.KITTI)


_PUBLISHED = "https://drivingstereo-dataset.github.io"
SET = frames.FrameSet(
  name="drivingstereo",
  title="DrivingStereo",
  published=_PUBLISHED,
  trees=(
    "input/{train,test}/<sequence>/{rgb,depth,spike/npy}",
    "{train,test}-{left-image,depth-map}/<sequence>",
  ),
  domains=("selected", "all"),
  find=find,
  readers={"rgb": readers.picture(), "spike": readers.spike(), "depth": readers.depth(read_depth)},
  hint=frames.SIMULATED,
)
WEATHER = frames.FrameSet(
  name="drivingstereo_weather",
  title="DrivingStereo's weather set",
  published=_PUBLISHED,
  trees=(
    "<weather>/input/half/{rgb,depth,spike/npy}",
    "<weather>/{left-image,depth-map}-half-size",
  ),
  domains=WEATHERS,
  find=find_weather,
  readers={"rgb": readers.picture(), "spike": readers.spike(), "depth": readers.depth(read_depth)},
  hint=frames.SIMULATED,
)
