"""Any rectified stereo rig: two folders of pictures and a calibration file.

    left/NAME.png, right/NAME.png                       a pair has one name; PNG or JPEG
    left/RECORDING/NAME.png, right/RECORDING/NAME.png   of several recordings
    calibration.txt, .yaml or .yml                      what `formats.rig.read_rig` reads; or a file with the
                                                        name that KITTI and Middlebury give it, calib_cam_to_cam.txt
                                                        or calib.txt
    depth/[RECORDING/]NAME.png or .npy                  of left views, where there is any; right: depth_right/
    depth_hints/{left,right}/[RECORDING/]NAME.npy       depth hints, where there are any; or .npz

Depth is metres: a 16-bit PNG of metres times 256, or NumPy's floats, 0 where unknown.

Domain "both" trains on the left and on the right view of every pair, as `kitti_stereo` does, "left" on the left
ones alone; both validate and test on left views. Of ten recordings or more the last tenth tests and as many
before it validate; of fewer the last tenth of the frames of each, and the tenth before.
"""

from collections.abc import Mapping, Sequence
import os
import pathlib

import numpy as np

from bicross_jax.data.dataset import PARTS
from bicross_jax.data.formats import depth, listing
from bicross_jax.data.layouts import frames, readers
from bicross_jax.data.layouts.frames import Frame, Recording
from bicross_jax.data.layouts.readers import SIDES

CALIBRATIONS = (
  "calibration.txt",
  "calibration.yaml",
  "calibration.yml",
  "calib_cam_to_cam.txt",
  "calib.txt",
)
DEPTH = {"left": "depth", "right": "depth_right"}  # folders
DEPTH_KINDS = (".png", ".npy")


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """Runs are the folders in `left` and `right`; pictures beside them are one more."""
  del parts  # they are cut from all
  if not all((root / side).is_dir() for side in SIDES):
    return None

  def finder(part):
    sides = SIDES if domain == "both" and part == "train" else SIDES[:1]
    return lambda: [r for side in sides for r in frames.three_parts(_recordings(root, side))[part]]

  return {part: finder(part) for part in PARTS}


def _recordings(root: pathlib.Path, side: str) -> list[Recording]:
  """The recordings as one camera saw them."""
  folders = {name for s in SIDES for name in listing.folders(root / s)}
  names = ("", *sorted(folders, key=listing.natural))
  found = [_recording(root, side, name) for name in names]
  return [recording for recording in found if recording.frames]


def _recording(root: pathlib.Path, side: str, name: str) -> Recording:
  def place(folder):
    return os.path.join(root, folder, name)

  def named(folder, stem, kinds):
    known = there[folder].get(stem, stem + kinds[0])
    return os.path.join(place(folder), known)

  partner = SIDES[1 - SIDES.index(side)]
  truth, hints = DEPTH[side], os.path.join("depth_hints", side)
  there = {folder: listing.by_stem(place(folder)) for folder in SIDES}
  there[truth] = listing.by_stem(place(truth), DEPTH_KINDS)
  there[hints] = listing.by_stem(place(hints), readers.HINT_KINDS)
  calibration = frames.first_there([f"{root}/{file}" for file in CALIBRATIONS])

  def frame(stem):
    files = {
      "rgb": named(side, stem, listing.PICTURES),
      "rgb_right": named(partner, stem, listing.PICTURES),
      "baseline": calibration,
      "intrinsics": calibration,
      "depth": named(truth, stem, DEPTH_KINDS),
      "depth_hint": named(hints, stem, readers.HINT_KINDS),
    }
    return Frame(os.path.join(name, stem, side[0]), files, side)

  stems = sorted({stem for s in SIDES for stem in there[s]}, key=listing.natural)
  return Recording(place(side), tuple(frame(stem) for stem in stems))


def read_depth(asked: readers.Asked) -> np.ndarray:
  """Depth of a frame, float32[H, W] metres, 0 where unknown: a PNG of metres times 256, or a .npy."""
  if asked.path.lower().endswith(DEPTH_KINDS[0]):
    return depth.read_png16(asked.path, depth.KITTI)
  return depth.read_npy(asked.path)


SET = frames.FrameSet(
  name="custom",
  title="a stereo rig of one's own",
  published="",
  trees=("{left,right}/[RECORDING/]NAME.png with calibration.txt, .yaml or .yml",),
  domains=("both", "left"),
  find=find,
  readers={
    "rgb": readers.picture(),
    "rgb_right": readers.picture(),
    "baseline": readers.baseline(),
    "intrinsics": readers.intrinsics(),
    "depth": readers.depth(read_depth),
    "depth_hint": readers.depth_hint(),
  },
  hint="scripts/depth_hints.py makes depth hints",
  default=("rgb", "rgb_right", "baseline", "intrinsics"),
)
