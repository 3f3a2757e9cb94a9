"""Virtual KITTI 1.3.1 and 2.0.3 with spike streams: five drives rendered in ten variations.

    input/SceneXX/{rgb,depth,spike/npy}/NAME                                  BiCross, `clone` alone
    vkitti_1.3.1_{rgb,depthgt}/<world>/<variation>/%05d.png                   1.3.1
    SceneXX/<variation>/frames/{rgb,depth}/Camera_0/{rgb_%05d.jpg,depth_%05d.png}   2.0.3

Depth files are 16-bit PNG in centimetres; 65535 is the sky, which counts as unknown.
"""

from collections.abc import Mapping, Sequence
import functools
import os
import pathlib

import numpy as np

from bicross_jax import errors
from bicross_jax.data.formats import depth, listing
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


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """Runs are scenes in one variation, the domain.

  Raises:
    errors.UserError: another variation than `clone` of BiCross's tree, which has no other.
  """
  del parts  # the scenes of each part are fixed
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

  return {part: functools.partial(recordings, part) for part in SCENES}


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
  """Depth of a frame, float32[H, W] metres, 0 where the sky is."""
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
  ),
  domains=VARIATIONS,
  find=find,
  readers={"rgb": readers.picture(), "spike": readers.spike(), "depth": readers.depth(read_depth)},
  hint=frames.SIMULATED,
)
