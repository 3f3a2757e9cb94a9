"""Virtual KITTI 1.3.1 and 2.0.3 with spike streams: five drives rendered in ten variations.

    input/SceneXX/{rgb,depth,spike/npy}/NAME                                  BiCross, `clone` alone
    vkitti_1.3.1_{rgb,depthgt}/<world>/<variation>/%05d.png                   1.3.1
    SceneXX/<variation>/frames/{rgb,depth}/Camera_0/{rgb_%05d.jpg,depth_%05d.png}   2.0.3
    train_{color,depth}/NAME                                                  Akada et al. (2022), `legacy` alone

Depth files are 16-bit PNG in centimetres; 65535 is the sky, which counts as unknown. Those of `legacy` have 8 bits: 255
times metres over 80, where all that is farther, and the sky, is 80 m.

Domain "all" is all variations together, 21260 frames of 1.3.1: the last ten frames of each scene in each variation validate
(as many as GASDA holds out), the others train. Of `legacy`, whose names say nothing of
scenes, the last 500 frames by name validate (of fewer than 5000 the last tenth). Both test on what validates: whoever trains on them
is to be tested on another set.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import math
import os
import pathlib

import numpy as np

from bicross_jax import errors
from bicross_jax.data.formats import depth, image, listing
from bicross_jax.data.layouts import frames, readers
from bicross_jax.data.layouts.frames import Recording

VARIATIONS = (
  "clone",
  "15-deg-left",
  "15-deg-right",
  "30-deg-left",
  "30-deg-right",
  "fog",
  "morning",
  "overcast",
  "rain",
  "sunset",
)
SCENES = {"train": ("01", "02", "06", "20"), "test": ("18",)}  # BiCross
ALL, LEGACY = "all", "legacy"  # domains
_EVERY = ("01", "02", "06", "18", "20")
_HELD = {ALL: 10, LEGACY: 500}  # frames of a recording that validate, at most a tenth
_FLAT = ("train_color", "train_depth")  # folders of `legacy`
_FAR = 80.0  # metres; the brightest grey of `legacy`


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """Runs are scenes in one variation, the domain, or in all; of `legacy` there is one run.

  Raises:
    errors.UserError: another domain than the one that BiCross's tree has, or that of Akada et al.
  """
  del parts  # the scenes of each part are fixed
  if (root / _FLAT[0]).is_dir() or domain == LEGACY:
    return _legacy(root, domain)
  if (root / "input").is_dir():
    if domain != "clone":
      raise errors.UserError(f"{root / 'input'} holds the variation clone alone, not {domain!r}")
    recording = _rearranged
  elif (root / "vkitti_1.3.1_rgb").is_dir():
    recording = _first_version
  elif any((root / f"Scene{scene}").is_dir() for names in SCENES.values() for scene in names):
    recording = _second_version
  else:
    return None

  def recordings(part):
    return [recording(root, scene, domain) for scene in SCENES[part]]

  if domain == ALL:
    return _held_out(
      lambda: [recording(root, s, v) for s in _EVERY for v in VARIATIONS], _HELD[ALL]
    )
  return {part: functools.partial(recordings, part) for part in SCENES}


def _legacy(root, domain) -> frames.Finders | None:
  """Frames whose picture and depth map have one name; where one of them is not there, a file is missing."""
  places = [root / folder for folder in _FLAT]
  if not places[0].is_dir():
    return None
  if domain != LEGACY:
    raise errors.UserError(f"{places[0]} is of the domain {LEGACY} alone, not {domain!r}")

  def recordings():
    colour, truth = (listing.by_stem(place) for place in places)

    def frame(stem):
      pair = (
        f"{p}/{f.get(stem, f'{stem}.png')}" for p, f in zip(places, (colour, truth), strict=True)
      )
      return frames.published(root, stem, *pair)

    stems = sorted({*colour, *truth}, key=listing.natural)
    return [Recording(str(places[0]), tuple(map(frame, stems)), consecutive=False)]

  return _held_out(recordings, _HELD[LEGACY])


def _held_out(recordings: Callable[[], list[Recording]], most: int) -> frames.Finders:
  """The last frames of each recording validate, and test: a tenth, rounded up, but not more than `most`."""

  def part(validates):
    found = []
    for recording in recordings():
      cut = len(recording.frames) - min(most, math.ceil(len(recording.frames) / 10))
      kept = recording.frames[cut:] if validates else recording.frames[:cut]
      found.append(recording._replace(frames=kept))
    return found

  return {
    "train": functools.partial(part, False),
    "validation": functools.partial(part, True),
    "test": functools.partial(part, True),
  }


def _rearranged(root, scene, variation):
  folder = f"{root}/input/Scene{scene}"

  def frame(image):
    name = os.path.splitext(image)[0]
    truths = [f"{folder}/depth/{stem}.png" for stem in (name, name.replace("rgb_", "depth_", 1))]
    key = f"Scene{scene}/{variation}/{name}"
    return frames.rearranged(key, folder, image, depth=frames.first_there(truths))

  return _recording(f"{folder}/rgb", frame)


def _first_version(root, scene, variation):
  place = f"00{scene}/{variation}"
  folder = f"{root}/vkitti_1.3.1_rgb/{place}"

  def frame(image):
    name = os.path.splitext(image)[0]
    truth = f"{root}/vkitti_1.3.1_depthgt/{place}/{name}.png"
    return frames.published(root, f"Scene{scene}/{variation}/{name}", f"{folder}/{image}", truth)

  return _recording(folder, frame)


def _second_version(root, scene, variation):
  place = f"{root}/Scene{scene}/{variation}/frames"
  folder = f"{place}/rgb/Camera_0"

  def frame(image):
    number = os.path.splitext(image)[0].removeprefix("rgb_")
    truth = f"{place}/depth/Camera_0/depth_{number}.png"
    return frames.published(root, f"Scene{scene}/{variation}/{number}", f"{folder}/{image}", truth)

  return _recording(folder, frame)


def _recording(folder, frame) -> Recording:
  return Recording(folder, tuple(frame(image) for image in listing.pictures(folder)))


def read_depth(asked: readers.Asked) -> np.ndarray:
  """Depth of a frame, float32[H, W] metres, 0 where the sky is (80 where that is in 8 bits)."""
  if pathlib.Path(asked.path).parent.name == _FLAT[1]:
    return image.read_grey(asked.path).astype(np.float32) * np.float32(_FAR / 255)
  return depth.read_png16(asked.path, depth.VKITTI, unknown=depth.VKITTI_SKY)


SET = frames.FrameSet(
  name="vkitti",
  title="Virtual KITTI",
  published=(
    "https://europe.naverlabs.com/proxy-virtual-worlds-vkitti-1/ and "
    "https://europe.naverlabs.com/proxy-virtual-worlds-vkitti-2/"
  ),
  trees=(
    "input/SceneXX/{rgb,depth,spike/npy}",
    "vkitti_1.3.1_{rgb,depthgt}/<world>/<variation>",
    "SceneXX/<variation>/frames/{rgb,depth}/Camera_0",
    "train_{color,depth}/NAME",
  ),
  domains=(*VARIATIONS, ALL, LEGACY),
  find=find,
  readers={"rgb": readers.picture(), "spike": readers.spike(), "depth": readers.depth(read_depth)},
  hint=frames.SIMULATED,
)
