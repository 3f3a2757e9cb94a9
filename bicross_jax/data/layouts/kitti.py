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
import importlib.resources
import os
import pathlib
import re

import numpy as np

from bicross_jax import errors
from bicross_jax.data.formats import depth, listing
from bicross_jax.data.formats import kitti as kitti_files
from bicross_jax.data.layouts import frames, readers
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
_DATE = re.compile(r"\d{4}_\d\d_\d\d")


@functools.cache
def eigen_frames(part: str) -> tuple[str, ...]:
  """Keys `date/drive/name` of a list of the Eigen split.

  Args:
    part: "train", "validation", "test" or "benchmark_test" (test frames with improved depth).
  """
  lists = importlib.resources.files("bicross_jax.data") / "splits"
  lines = (lists / f"kitti_eigen_{part}.txt").read_text().splitlines()
  keys = []
  for line in lines:
    if not line.startswith("#"):
      drive, *numbers = line.split()
      keys += [f"{drive}/{int(number):010d}" for number in numbers]
  return tuple(keys)


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """Runs are drives.

  Domains: "eigen" (the lists of Eigen et al.); "eigen_benchmark" (the same, test frames with
  improved ground truth only); "partial" and "partial_paper" (`PARTIAL`, with the drives of
  `PAPER`); "listed": the drives ("2011_09_26_drive_0009_sync", all its frames) and frames
  ("2011_09_26_drive_0009_sync/0000000001") of `parts`.

  Raises:
    errors.UserError: "listed" without entries for a part.
  """
  tree = _tree(root)
  if tree is None:
    return None
  if domain == "listed":
    return {
      part: functools.partial(_listed, tree, part, parts.get(part, ()))
      for part in ("train", "validation", "test")
    }
  if domain in ("partial", "partial_paper"):
    drives = dict(PARTIAL)
    drives["train"] += PAPER if domain == "partial_paper" else ()
    return {part: functools.partial(_all_of, tree, sorted(names)) for part, names in drives.items()}
  test = "benchmark_test" if domain == "eigen_benchmark" else "test"
  lists = {"train": "train", "validation": "validation", "test": test}
  return {
    part: lambda name=name: _recordings(tree, eigen_frames(name)) for part, name in lists.items()
  }


class _Rearranged:
  """BiCross's tree below `input`; the folder of the date may be left out."""

  def __init__(self, root: pathlib.Path):
    self.root = root / "input"

  def drive(self, name: str) -> str:
    return _existing(f"{self.root}/{name[:10]}/{name}", f"{self.root}/{name}")

  def images(self, drive: str) -> str:
    return f"{drive}/rgb"

  def frame(self, drive: str, image: str) -> Frame:
    name = os.path.splitext(image)[0]
    return frames.rearranged(_key(drive, name), drive, image)


class _Published:
  """KITTI raw, and the official depth where `train` or `val` lie beside the dates."""

  def __init__(self, root: pathlib.Path):
    self.root = root
    self._official = [part for part in ("train", "val") if (root / part).is_dir()]

  def drive(self, name: str) -> str:
    return _existing(f"{self.root}/{name[:10]}/{name}")

  def images(self, drive: str) -> str:
    return f"{drive}/image_02/data"

  def frame(self, drive: str, image: str) -> Frame:
    name, rgb = os.path.splitext(image)[0], f"{drive}/image_02/data/{image}"
    truth = f"{drive}/velodyne_points/data/{name}.bin"
    if self._official:
      truth = frames.first_there(
        [
          f"{self.root}/{part}/{os.path.basename(drive)}/proj_depth/groundtruth/image_02/{name}.png"
          for part in self._official
        ]
      )
    return frames.published(self.root, _key(drive, name), rgb, truth)


def _tree(root: pathlib.Path):
  if (root / "input").is_dir():
    return _Rearranged(root)
  if any(_DATE.fullmatch(name) for name in listing.folders(root)):
    return _Published(root)
  return None


def _existing(*drives: str) -> str:
  """The first of some folders that is there, each as it is named or with `_sync` at its end."""
  names = [name for drive in drives for name in (drive, f"{drive}_sync")]
  return frames.first_there(names)


def _key(drive: str, name: str) -> str:
  folder = os.path.basename(drive)
  return f"{folder[:10]}/{folder}/{name}"


def _whole(tree, name: str) -> Recording:
  """A drive with all its images."""
  drive = tree.drive(name)
  folder = tree.images(drive)
  return Recording(folder, tuple(tree.frame(drive, image) for image in frames.pictures(folder)))


def _all_of(tree, names: Sequence[str]) -> list[Recording]:
  return [_whole(tree, name) for name in names]


def _recordings(tree, keys: Sequence[str]) -> list[Recording]:
  """The drives of some keys, with those frames; an image that is not there is taken for a PNG."""
  by_drive: dict[str, list[str]] = {}
  for key in keys:
    by_drive.setdefault(key.split("/")[1], []).append(key.rpartition("/")[2])
  recordings = []
  for name, numbers in by_drive.items():
    drive = tree.drive(name)
    folder = tree.images(drive)
    there = {os.path.splitext(image)[0]: image for image in frames.pictures(folder)}
    recordings.append(
      Recording(
        folder,
        tuple(tree.frame(drive, there.get(number, f"{number}.png")) for number in numbers),
        consecutive=False,
      )
    )
  return recordings


def _listed(tree, part: str, entries: Sequence[str]) -> list[Recording]:
  """The drives and frames that a config lists for a part."""
  if not entries:
    raise errors.UserError(f"the config's parts.{part} lists no drive and no frame")
  recordings = []
  for entry in entries:
    drive, _, name = entry.rstrip("/").removeprefix(f"{entry[:10]}/").partition("/")
    recordings += (
      _recordings(tree, [f"{drive[:10]}/{drive}/{name}"]) if name else [_whole(tree, drive)]
    )
  return recordings


def read_depth(path: str, size: tuple[int, int]) -> np.ndarray:
  """Depth of a frame, float32[H, W] metres, 0 where unknown: a PNG, or a laser scan (.bin)."""
  if not path.endswith(".bin"):
    return depth.read_png16(path, depth.KITTI)
  date = pathlib.Path(path).parents[3]  # <date>/<drive>/velodyne_points/data/NAME.bin
  calibration = kitti_files.raw_calibration(date)
  return kitti_files.eigen_depth(kitti_files.read_velodyne(path), calibration.projection, size)


SET = frames.FrameSet(
  name="kitti",
  title="KITTI",
  published=(
    "https://www.cvlibs.net/datasets/kitti/raw_data.php (depth: "
    "https://www.cvlibs.net/datasets/kitti/eval_depth.php?benchmark=depth_prediction)"
  ),
  trees=(
    "input/<date>/<drive>/{rgb,depth,spike/npy}",
    "input/<drive>/{rgb,depth,spike/npy}",
    "<date>/<drive>/image_02/data",
  ),
  domains=DOMAINS,
  find=find,
  readers={"rgb": readers.picture(), "spike": readers.spike(), "depth": readers.depth(read_depth)},
  hint=frames.SIMULATED,
)
