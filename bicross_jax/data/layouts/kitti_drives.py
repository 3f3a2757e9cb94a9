"""Drives of KITTI in any tree: the split of Eigen et al., listed drives, and how frames are found."""

from collections.abc import Callable, Mapping, Sequence
import functools
import importlib.resources
import os
import pathlib
import re
from typing import Protocol

import numpy as np

from bicross_jax import errors
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.formats import depth, kitti, listing
from bicross_jax.data.layouts import frames
from bicross_jax.data.layouts.frames import Frame, Recording
from bicross_jax.data.layouts.readers import SIDES, Asked

DOMAINS = ("eigen", "eigen_benchmark", "listed")  # that `by_part` knows
PUBLISHED = (
  "https://www.cvlibs.net/datasets/kitti/raw_data.php (depth: "
  "https://www.cvlibs.net/datasets/kitti/eval_depth.php?benchmark=depth_prediction)"
)
CAMERAS = dict(zip(SIDES, (2, 3), strict=True))  # the colour cameras
_OFFICIAL = ("train", "val")  # folders of its archives
_DATE = re.compile(r"\d{4}_\d\d_\d\d")


class Tree(Protocol):
  """Where the files of drives lie."""

  def drive(self, name: str) -> str:
    """The folder of a drive, whose name may lack `_sync` at its end."""

  def images(self, drive: str) -> str:
    """The folder of the images of a drive, which is given by its folder."""

  def frame(self, drive: str, image: str) -> Frame:
    """The frame of an image (a name with suffix) of a drive."""


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


def by_part(
  domain: str, parts: Mapping[str, Sequence[str]]
) -> dict[str, Callable[[Tree], list[Recording]]]:
  """What lists the recordings of each part in a tree; they are drives.

  Args:
    domain: "eigen" (the lists of Eigen et al.); "eigen_benchmark" (the same, test frames with improved
      ground truth only); "listed": the drives ("2011_09_26_drive_0009_sync", all its frames) and frames
      ("2011_09_26_drive_0009_sync/0000000001") of `parts`.
    parts: entries by part, for "listed".
  """
  if domain == "listed":
    return {part: functools.partial(_listed, part, parts.get(part, ())) for part in PARTS}
  test = "benchmark_test" if domain == "eigen_benchmark" else "test"
  lists = {"train": "train", "validation": "validation", "test": test}
  return {part: functools.partial(_eigen, name) for part, name in lists.items()}


def _eigen(part: str, tree: Tree) -> list[Recording]:
  return _chosen(tree, eigen_frames(part))


def _listed(part: str, entries: Sequence[str], tree: Tree) -> list[Recording]:
  """The drives and frames that a config lists for a part."""
  if not entries:
    raise errors.UserError(f"the config's parts.{part} lists no drive and no frame")
  recordings = []
  for entry in entries:
    drive, _, name = entry.rstrip("/").removeprefix(f"{entry[:10]}/").partition("/")
    recordings += _chosen(tree, [f"{drive[:10]}/{drive}/{name}"]) if name else [whole(tree, drive)]
  return recordings


def _chosen(tree: Tree, keys: Sequence[str]) -> list[Recording]:
  """The drives of some keys, with those frames; an image that is not there is taken for a PNG."""
  by_drive: dict[str, list[str]] = {}
  for key in keys:
    by_drive.setdefault(key.split("/")[1], []).append(key.rpartition("/")[2])
  recordings = []
  for name, numbers in by_drive.items():
    drive = tree.drive(name)
    folder = tree.images(drive)
    there = listing.by_stem(folder)
    recordings.append(
      Recording(
        folder,
        tuple(tree.frame(drive, there.get(number, f"{number}.png")) for number in numbers),
        consecutive=False,
      )
    )
  return recordings


def whole(tree: Tree, name: str) -> Recording:
  """A drive with all its images."""
  drive = tree.drive(name)
  folder = tree.images(drive)
  return Recording(folder, tuple(tree.frame(drive, image) for image in listing.pictures(folder)))


def has_dates(root: pathlib.Path) -> bool:
  """Whether a folder holds dates, as KITTI raw is published."""
  return any(_DATE.fullmatch(name) for name in listing.folders(root))


def existing(*drives: str) -> str:
  """The first of some folders that is there, each as it is named or with `_sync` at its end."""
  return frames.first_there([name for drive in drives for name in (drive, f"{drive}_sync")])


def key(drive: str, name: str) -> str:
  """`date/drive/name` of a frame of a drive, which is given by its folder."""
  folder = os.path.basename(drive)
  return f"{folder[:10]}/{folder}/{name}"


def scan(drive: str, name: str) -> str:
  """The laser scan of a frame of a drive, which is given by its folder."""
  return f"{drive}/velodyne_points/data/{name}.bin"


def official_parts(root: pathlib.Path) -> list[str]:
  """The folders beside the dates that the official ground truth lies in: "train", "val", or none."""
  return [part for part in _OFFICIAL if (root / part).is_dir()]


def official_depth(
  root: pathlib.Path, parts: Sequence[str], drive: str, name: str, side: str
) -> str:
  """The official ground truth of a frame; its first place where it is nowhere.

  Args:
    root: of the tree.
    parts: what `official_parts` found; without any both are named.
    drive: its folder.
    name: of the frame.
    side: which camera's.
  """
  place = f"{os.path.basename(drive)}/proj_depth/groundtruth/image_{CAMERAS[side]:02d}/{name}.png"
  return frames.first_there([f"{root}/{part}/{place}" for part in parts or _OFFICIAL])


def read_depth(asked: Asked) -> np.ndarray:
  """Depth of a frame, float32[H, W] metres, 0 where unknown: a PNG, or a laser scan (.bin)."""
  if not asked.path.endswith(".bin"):
    return depth.read_png16(asked.path, depth.KITTI)
  date = pathlib.Path(asked.path).parents[3]  # <date>/<drive>/velodyne_points/data/NAME.bin
  calibration = kitti.raw_calibration(date, CAMERAS[asked.side])
  return kitti.eigen_depth(
    kitti.read_velodyne(asked.path), calibration.projection, asked.known_size()
  )
