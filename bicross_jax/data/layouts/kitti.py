"""KITTI with spike streams: Eigen's split, the few drives of "partial KITTI", or listed drives.

    input/<date>/<drive>/{rgb,depth,spike/npy}/NAME     BiCross
    input/<drive>/{rgb,depth,spike/npy}/NAME            BiCross, partial KITTI
    <date>/<drive>/image_02/data/NAME.png               as published (raw, synced and rectified)

As published, depth is the official ground truth, `{train,val}/<drive>/proj_depth/groundtruth/
image_02/NAME.png`, where such a folder lies beside the dates, and otherwise the laser scan of the
frame (`velodyne_points`), projected as Eigen et al. do. Depth files are 16-bit PNG, metres times
256, 0 where unknown.
"""

from collections.abc import Mapping, Sequence
import functools
import os
import pathlib

from bicross_jax.data.layouts import frames, kitti_drives, readers
from bicross_jax.data.layouts.frames import Frame, Recording

DOMAINS = ("eigen", "eigen_benchmark", "partial", "partial_paper", "listed")
PARTIAL = {  # the drives of the repository Theia-4869/BiCross
  "train": (
    "2011_09_26_drive_0035",
    "2011_09_26_drive_0046",
    "2011_09_26_drive_0064",
    "2011_09_30_drive_0020",
  ),
  "test": ("2011_09_26_drive_0039",),
}
PAPER = ("2011_09_26_drive_0019", "2011_09_26_drive_0023")  # which the paper trains on as well


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """Runs are drives.

  Domains: those of `kitti_drives.by_part`; "partial" and "partial_paper" (`PARTIAL`, with the drives
  of `PAPER`).

  Raises:
    errors.UserError: "listed" without entries for a part.
  """
  tree = _tree(root)
  if tree is None:
    return None
  if domain in ("partial", "partial_paper"):
    drives = dict(PARTIAL)
    drives["train"] += PAPER if domain == "partial_paper" else ()
    return {part: functools.partial(_all_of, tree, sorted(names)) for part, names in drives.items()}
  found = kitti_drives.by_part(domain, parts)
  return {part: functools.partial(recordings, tree) for part, recordings in found.items()}


def _all_of(tree: kitti_drives.Tree, names: Sequence[str]) -> list[Recording]:
  return [kitti_drives.whole(tree, name) for name in names]


class _Rearranged:
  """BiCross's tree below `input`; the folder of the date may be left out."""

  def __init__(self, root: pathlib.Path):
    self.root = root / "input"

  def drive(self, name: str) -> str:
    return kitti_drives.existing(f"{self.root}/{name[:10]}/{name}", f"{self.root}/{name}")

  def images(self, drive: str) -> str:
    return f"{drive}/rgb"

  def frame(self, drive: str, image: str) -> Frame:
    name = os.path.splitext(image)[0]
    return frames.rearranged(kitti_drives.key(drive, name), drive, image)


class _Published:
  """KITTI raw, and the official depth where `train` or `val` lie beside the dates."""

  def __init__(self, root: pathlib.Path):
    self.root = root
    self._official = kitti_drives.official_parts(root)

  def drive(self, name: str) -> str:
    return kitti_drives.existing(f"{self.root}/{name[:10]}/{name}")

  def images(self, drive: str) -> str:
    return f"{drive}/image_02/data"

  def frame(self, drive: str, image: str) -> Frame:
    name, rgb = os.path.splitext(image)[0], f"{drive}/image_02/data/{image}"
    truth = kitti_drives.scan(drive, name)
    if self._official:
      truth = kitti_drives.official_depth(self.root, self._official, drive, name, "left")
    return frames.published(self.root, kitti_drives.key(drive, name), rgb, truth)


def _tree(root: pathlib.Path) -> kitti_drives.Tree | None:
  if (root / "input").is_dir():
    return _Rearranged(root)
  return _Published(root) if kitti_drives.has_dates(root) else None


SET = frames.FrameSet(
  name="kitti",
  title="KITTI",
  published=kitti_drives.PUBLISHED,
  trees=(
    "input/<date>/<drive>/{rgb,depth,spike/npy}",
    "input/<drive>/{rgb,depth,spike/npy}",
    "<date>/<drive>/image_02/data",
  ),
  domains=DOMAINS,
  find=find,
  readers={
    "rgb": readers.picture(),
    "spike": readers.spike(),
    "depth": readers.depth(kitti_drives.read_depth),
  },
  hint=frames.SIMULATED,
)
