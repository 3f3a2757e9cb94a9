"""KITTI raw as stereo pairs, as it is published (synced and rectified), in PNG or JPEG.

    <date>/<drive>/image_02/data/NAME.png, image_03/data/NAME.png       left and right; or .jpg
    <date>/calib_cam_to_cam.txt                                         baseline and intrinsics
    <date>/<drive>/velodyne_points/data/NAME.bin                        depth: the laser scan
    {train,val}/<drive>/proj_depth/groundtruth/image_0{2,3}/NAME.png    depth: the official one
    depth_hints/<date>/<drive>/image_0{2,3}/NAME.npy                    depth hints; or .npz

To train and to validate every frame is two examples: `date/drive/NAME/l` has the left view as `rgb` and the
right one as `rgb_right`, with a positive `baseline`; `date/drive/NAME/r` the other way round. Test has the
left views alone. The lists of Eigen et al. so are 45200, 1776 and 697 examples; "eigen_left" has the left views of all
three parts, 22600, 888 and 697, which are the lists of Akada et al. (2022) too.

Depth of "eigen" and "eigen_left" is the laser scan of the frame, projected into its camera as Eigen et al. do; the test part
of "eigen_benchmark" has the official ground truth, which 652 of the 697 frames have; "listed" has the
official one where such a folder lies beside the dates, and else the scan. A part that is read without
depth needs neither, and hints are needed only where `depth_hint` is read.

What is needed to download stands in `bicross_jax/data/splits/kitti_raw_archives.txt`.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import os
import pathlib

from bicross_jax.data.formats import listing
from bicross_jax.data.layouts import frames, kitti_drives, readers
from bicross_jax.data.layouts.frames import Frame, Recording
from bicross_jax.data.layouts.readers import SIDES

HINTS = "depth_hints"
LEFT = "eigen_left"


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """Runs are drives, of one camera where the frames follow each other; see `kitti_drives.by_part`.

  Raises:
    errors.UserError: "listed" without entries for a part.
  """
  if not kitti_drives.has_dates(root):
    return None
  there = kitti_drives.official_parts(root)
  found = kitti_drives.by_part("eigen" if domain == LEFT else domain, parts)

  def finder(part: str, recordings: Callable[[kitti_drives.Tree], list[Recording]]):
    improved = (domain == "listed" and there) or (domain == "eigen_benchmark" and part == "test")
    official = there if improved else None
    sides = SIDES[:1] if part == "test" or domain == LEFT else SIDES
    return lambda: [r for side in sides for r in recordings(_Camera(root, side, official))]

  return {part: finder(part, recordings) for part, recordings in found.items()}


class _Camera:
  """The drives as one of the two cameras saw them.

  Attributes:
    root: of the tree.
    side: of the camera.
    official: where the official ground truth lies (`kitti_drives.official_parts`); None: depth is the
      laser scan.
  """

  def __init__(self, root: pathlib.Path, side: str, official: Sequence[str] | None):
    self.root, self.side, self.official = root, side, official
    self._own, self._partner = (
      f"image_{kitti_drives.CAMERAS[s]:02d}" for s in (side, *(s for s in SIDES if s != side))
    )
    self._pictures = functools.cache(listing.by_stem)
    self._hints = functools.cache(functools.partial(listing.by_stem, kinds=readers.HINT_KINDS))

  def drive(self, name: str) -> str:
    return kitti_drives.existing(f"{self.root}/{name[:10]}/{name}")

  def images(self, drive: str) -> str:
    return f"{drive}/{self._own}/data"

  def frame(self, drive: str, image: str) -> Frame:
    name, suffix = os.path.splitext(image)
    date, key = os.path.dirname(drive), kitti_drives.key(drive, name)
    partners = f"{drive}/{self._partner}/data"
    hints = f"{self.root}/{HINTS}/{os.path.dirname(key)}/{self._own}"
    truth = kitti_drives.scan(drive, name)
    if self.official is not None:
      truth = kitti_drives.official_depth(self.root, self.official, drive, name, self.side)
    calibration = f"{date}/calib_cam_to_cam.txt"
    files = {
      "rgb": f"{drive}/{self._own}/data/{image}",
      "rgb_right": f"{partners}/{self._pictures(partners).get(name, name + suffix)}",
      "baseline": calibration,
      "intrinsics": calibration,
      "depth": truth,
      "depth_hint": f"{hints}/{self._hints(hints).get(name, name + readers.HINT_KINDS[0])}",
    }
    return Frame(f"{key}/{self.side[0]}", files, self.side)


SET = frames.FrameSet(
  name="kitti_stereo",
  title="KITTI raw",
  published=kitti_drives.PUBLISHED,
  trees=("<date>/<drive>/{image_02,image_03}/data with <date>/calib_cam_to_cam.txt",),
  domains=(*kitti_drives.DOMAINS, LEFT),
  find=find,
  readers={
    "rgb": readers.picture(),
    "rgb_right": readers.picture(),
    "baseline": readers.baseline(),
    "intrinsics": readers.intrinsics(),
    "depth": readers.depth(kitti_drives.read_depth),
    "depth_hint": readers.depth_hint(),
  },
  hint="scripts/depth_hints.py makes depth hints",
  default=("rgb", "rgb_right", "baseline", "intrinsics"),
)
