"""`spike_kitti`: KITTI with spike streams, from the layout of BiCross.

    <data_dir>/input/<date>/<drive>/{depth,rgb,spike/npy}/NAME.{png,png or jpg,npy}

Depth is 16-bit PNG, metres times 256, 0 where unknown; streams are 0/1 arrays [T, H, W], of which
the first `steps` are used. A stream takes 60 MB a frame there and 7.5 MB packed, so a packed
copy is written once and training reads that one.
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from bicross_jax import errors
from bicross_jax.data.builders import base
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image
from bicross_jax.data.formats import spikes

PARTS = ("train", "validation", "test")
SPLITS = ("eigen", "eigen_benchmark", "listed")
PUBLISHED = "https://www.cvlibs.net/datasets/kitti/raw_data.php"
FRAME_BYTES = 376 * 1242 * (3 + 16 + 4)  # the largest frame, 128 steps


class Frame(NamedTuple):
  """One frame of the tree: its key `date/drive/name` and its three files."""

  key: str
  rgb: str
  spike: str
  depth: str


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


def find_frames(
    data_dir: str | os.PathLike | None,
    split: str = "eigen",
    parts: Mapping[str, Sequence[str]] | None = None,
    allow_missing: bool = False,
) -> dict[str, tuple[Frame, ...]]:
  """The frames of every part, all of whose files are there.

  Args:
    data_dir: the folder that holds `input`.
    split: "eigen" (the lists of Eigen et al.), "eigen_benchmark" (the same, test frames
      with improved ground truth only) or "listed" (`parts` says).
    parts: for "listed": drives ("2011_09_26_drive_0009_sync", all its frames) or single frames
      ("2011_09_26_drive_0009_sync/0000000001") by part.
    allow_missing: leave out frames that lack a file, and say how many, instead of raising.

  Raises:
    errors.UserError: a part without frames, or files that are missing.
  """
  if not data_dir:
    raise errors.UserError(
        "kitti needs config.data.data_dir: the folder that holds input/<date>/<drive>/"
        f"{{rgb,depth,spike/npy}}; the set is published at {PUBLISHED}")
  tree = pathlib.Path(data_dir).expanduser().absolute() / "input"
  if not tree.is_dir():
    raise errors.UserError(
        f"no folder {tree}: kitti is read from <data_dir>/input/<date>/<drive>/"
        f"{{rgb,depth,spike/npy}}; the set is published at {PUBLISHED}")
  if split not in SPLITS:
    raise errors.UserError(f"unknown split {split!r} of kitti: choose from {', '.join(SPLITS)}")
  found = {}
  for part in PARTS:
    if split == "listed":
      keys = _listed(tree, part, (parts or {}).get(part, ()))
    else:
      benchmark = split == "eigen_benchmark" and part == "test"
      keys = eigen_frames("benchmark_test" if benchmark else part)
    frames = [_frame(tree, key) for key in keys]
    lacking = {frame: paths for frame in frames if (paths := _missing(frame))}
    whole = tuple(frame for frame in frames if frame not in lacking)
    if lacking:
      first = [path for paths in lacking.values() for path in paths][:3]
      message = (f"{len(lacking)} of the {len(frames)} {part} frames lack files: {', '.join(first)} "
                 f"and so on in {tree}")
      if not (allow_missing and whole):
        raise errors.UserError(
            f"{message}; images and depth are published at {PUBLISHED}, "
            "scripts/simulate_spikes.py makes the streams, config.data.allow_missing=True "
            "leaves such frames out")
      print(f"left out: {message}", flush=True)
    found[part] = whole
  return found


def _listed(tree: pathlib.Path, part: str, entries: Sequence[str]) -> list[str]:
  """Keys of the drives and frames that a config lists for a part."""
  if not entries:
    raise errors.UserError(f"config.data.parts.{part} lists no drive and no frame")
  keys = []
  for entry in entries:
    drive, _, name = entry.rstrip("/").removeprefix(f"{entry[:10]}/").partition("/")
    folder = f"{drive[:10]}/{drive}"
    names = [name] if name else sorted(p.stem for p in (tree / folder / "rgb").glob("*.*"))
    if not names:
      raise errors.UserError(f"config.data.parts.{part}: no images in {tree / folder / 'rgb'}")
    keys += [f"{folder}/{name}" for name in names]
  return keys


def _frame(tree: pathlib.Path, key: str) -> Frame:
  folder, _, name = key.rpartition("/")
  drive = f"{tree}/{folder}"
  kinds = [kind for kind in ("png", "jpg") if os.path.isfile(f"{drive}/rgb/{name}.{kind}")]
  kind = kinds[0] if kinds else "png"
  return Frame(key, f"{drive}/rgb/{name}.{kind}", f"{drive}/spike/npy/{name}.npy",
               f"{drive}/depth/{name}.png")


def _missing(frame: Frame) -> list[str]:
  return [path for path in frame[1:] if not os.path.isfile(path)]


@dataclasses.dataclass(eq=False)
class KittiConfig(tfds.core.BuilderConfig):
  """The frames of a tree; `name` follows from their files (names, sizes, times) and `steps`.

  Attributes:
    frames: what `find_frames` returned.
    steps: length of the streams, a multiple of 8.
  """

  name: str = ""
  frames: Mapping[str, tuple[Frame, ...]] = dataclasses.field(default_factory=dict)
  steps: int = 128

  def __post_init__(self):
    if self.steps % 8 or self.steps < 8:
      raise errors.UserError(f"a spike stream has a multiple of 8 steps, not {self.steps}")
    content = [self.steps]
    for part, frames in self.frames.items():
      for frame in frames:
        stats = [os.stat(path) for path in frame[1:]]
        content.append([part, frame.key, [(s.st_size, s.st_mtime_ns) for s in stats]])
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    self.description = f"t{self.steps}"
    self.name = f"t{self.steps}-{digest}"


class SpikeKitti(base.Builder):
  """Whole frames of KITTI: RGB, packed spikes, depth. Sizes differ from drive to drive."""

  VERSION = tfds.core.Version("1.0.0")

  def features(self):
    return {
        "key": tfds.features.Text(),
        "rgb": base.tensor((None, None, 3), np.uint8),
        "spike": base.tensor((None, None, self.builder_config.steps // 8), np.uint8),
        "depth": base.tensor((None, None), np.float32),
    }

  def sizes(self):
    return {part: len(frames) for part, frames in self.builder_config.frames.items()}

  def example_bytes(self):
    return FRAME_BYTES

  def examples(self, part: str, start: int, stop: int) -> Iterator[dict]:
    for frame in self.builder_config.frames[part][start:stop]:
      example = read_frame(frame, self.builder_config.steps)
      smallest = self.info.metadata.setdefault("smallest", list(example["depth"].shape))
      smallest[:] = np.minimum(smallest, example["depth"].shape).tolist()
      yield {"key": frame.key, **example}


def read_frame(frame: Frame, steps: int) -> dict[str, np.ndarray]:
  """Reads the files of one frame.

  Returns:
    rgb uint8[H, W, 3], spike uint8[H, W, steps/8] (packed along time), depth float32[H, W] metres.

  Raises:
    errors.BadFileError: a file that cannot be read, is of another size than the image, or a
      stream that is too short.
  """
  rgb = image.read_rgb(frame.rgb)
  depth = depth_files.read_png16(frame.depth, depth_files.KITTI)
  spike = spikes.read_npy(frame.spike, steps=steps)
  size = rgb.shape[:2]
  for path, shape in ((frame.depth, depth.shape), (frame.spike, spike.shape[1:])):
    if shape != size:
      raise errors.BadFileError(
          path, f"its size is {shape[0]}x{shape[1]}", f"{size[0]}x{size[1]} like {frame.rgb}")
  return {"rgb": rgb, "spike": spikes.pack_time(spike), "depth": depth}
