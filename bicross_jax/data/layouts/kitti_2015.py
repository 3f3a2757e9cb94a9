"""KITTI stereo 2015: 200 pairs with dense disparities (Menze and Geiger, CVPR 2015): only a test part.

    training/image_2/NAME_10.png, image_3/NAME_10.png     left and right; or .jpg
    training/disp_occ_0/NAME_10.png                       disparity of the left view, pixels times 256, 0 unknown
    training/calib_cam_to_cam/NAME.txt                    of the archive data_scene_flow_calib.zip

Depth is focal length times baseline over disparity, by the frame's own calibration.
"""

from collections.abc import Mapping, Sequence
import functools
import pathlib

import numpy as np

from bicross_jax.data.formats import depth, listing, rig
from bicross_jax.data.layouts import frames, readers
from bicross_jax.data.layouts.frames import Frame, Recording
from bicross_jax.data.layouts.readers import Asked

COUNT = 200
_CALIBRATIONS = "calib_cam_to_cam"


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """One run, of frames that do not follow each other."""
  del domain, parts  # there is one list
  if not (root / "training" / "image_2").is_dir():
    return None
  return {"test": functools.partial(_recordings, root / "training")}


def _recordings(root: pathlib.Path) -> list[Recording]:
  there = {side: listing.by_stem(root / side) for side in ("image_2", "image_3")}

  def frame(number):
    stem = f"{number:06d}_10"
    left, right = (f"{root}/{s}/{found.get(stem, f'{stem}.png')}" for s, found in there.items())
    calibration = _calibration(root, stem)
    files = {
      "rgb": left,
      "rgb_right": right,
      "baseline": calibration,
      "intrinsics": calibration,
      "depth": f"{root}/disp_occ_0/{stem}.png",
    }
    return Frame(stem, files)

  return [Recording(f"{root}/image_2", tuple(map(frame, range(COUNT))), consecutive=False)]


def _calibration(root: pathlib.Path, stem: str) -> str:
  return f"{root}/{_CALIBRATIONS}/{stem.partition('_')[0]}.txt"


def read_depth(asked: Asked) -> np.ndarray:
  """Depth of a frame, float32[H, W] metres, 0 where unknown, from its disparities."""
  disparity = depth.read_png16(asked.path, depth.KITTI)
  place = pathlib.Path(asked.path)
  known = rig.read_rig(_calibration(place.parents[1], place.stem))
  scale = known.intrinsics[0, 0] * known.baseline
  return np.where(disparity > 0, scale / np.maximum(disparity, 1 / depth.KITTI), 0).astype(
    np.float32
  )


SET = frames.FrameSet(
  name="kitti_2015",
  title="KITTI stereo 2015",
  published="https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php?benchmark=stereo",
  trees=("training/{image_2,image_3,disp_occ_0,calib_cam_to_cam}",),
  domains=("training",),
  find=find,
  readers={
    "rgb": readers.picture(),
    "rgb_right": readers.picture(),
    "baseline": readers.baseline(),
    "intrinsics": readers.intrinsics(),
    "depth": readers.depth(read_depth),
  },
  default=("rgb", "depth"),
)
