"""Small trees of every layout of every real set, written with Pillow and NumPy alone."""

from collections.abc import Sequence
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

SIZE = (18, 24)
STEPS = 20  # longer than the streams that the tests ask for


class Case(NamedTuple):
  """A layout with a few frames.

  Attributes:
    dataset, domain: as a config names them.
    frames: by part, (key, image, stream, depth map), the files as paths below the data folder; or other
      files, as `fields` says.
    lists: further text files, path -> content.
    fields: those whose files are in `frames`.
  """

  dataset: str
  domain: str
  frames: dict[str, list[tuple[str, str, str, str]]]
  lists: dict[str, str] = {}
  fields: tuple[str, str, str] = ("rgb", "spike", "depth")


def arrays(dataset: str, number: int, size: tuple[int, int] = SIZE, steps: int = STEPS):
  """(rgb uint8, stream uint8[T, H, W], depth as it stands in the file, metres with 0 unknown)."""
  rng = np.random.default_rng([number, *dataset.encode()])
  rgb = rng.integers(0, 256, (*size, 3), np.uint8)
  stream = rng.integers(0, 2, (steps, *size), np.uint8)
  if dataset == "respike":
    stored = rng.uniform(0.5, 9, size).astype(np.float32)
    unknown = np.zeros(size, bool)
    stored[2, 3:7] = np.inf, np.nan, -1, 0
    unknown[2, 3:7] = True
    return rgb, stream, stored, np.where(unknown, 0, stored)
  stored = rng.integers(1, 65000, size).astype(np.uint16)
  stored[0, :5] = 0
  sky = dataset == "vkitti"
  if sky:
    stored[1, :5] = 65535
  metres = stored.astype(np.float64) / {"vkitti": 100, "nyu": 1000}.get(dataset, 256)
  metres[stored == 0] = 0
  if sky:
    metres[1, :5] = 0
  return rgb, stream, stored, metres.astype(np.float32)


def write(root: pathlib.Path, case: Case, size=SIZE, steps=STEPS) -> dict[str, tuple]:
  """Writes a case's files.

  Returns:
    {key: (rgb as decoded, stream, depth in metres)}.
  """
  truth = {}
  for path, text in case.lists.items():
    _place(root / path).write_text(text)
  frames = [frame for part in case.frames.values() for frame in part]
  for number, (key, image, stream, depth) in enumerate(frames):
    rgb, bits, stored, metres = arrays(case.dataset, number, size, steps)
    Image.fromarray(rgb).save(_place(root / image))
    with Image.open(root / image) as decoded:  # JPEG is not exact
      truth[key] = np.asarray(decoded), bits, metres
    np.save(_place(root / stream), naive(bits) if case.dataset == "respike" else bits)
    if depth.endswith(".pfm"):
      head = f"Pf\n{size[1]} {size[0]}\n-1.0\n".encode()
      _place(root / depth).write_bytes(head + stored[::-1].astype("<f4").tobytes())
    else:
      Image.fromarray(stored).save(_place(root / depth))
  return truth


def naive(bits: np.ndarray) -> np.ndarray:
  """A stream as Respike stores it: the camera's bytes, unpacked in big bit order, no row moved."""
  data = np.packbits(bits[:, ::-1].reshape(len(bits), -1), axis=1, bitorder="little")
  return np.unpackbits(data, axis=1, bitorder="big").reshape(bits.shape)


def touch(root: pathlib.Path, paths: Sequence[str]) -> None:
  """Empty files."""
  for path in paths:
    _place(root / path).touch()


def _place(path: pathlib.Path) -> pathlib.Path:
  path.parent.mkdir(parents=True, exist_ok=True)
  return path


def _rearranged(place: str, name: str, image: str = ".png") -> tuple[str, str, str]:
  return (
    f"{place}/rgb/{name}{image}",
    f"{place}/spike/npy/{name}.npy",
    f"{place}/depth/{name}.png",
  )


def _parts(runs: dict[str, Sequence[str]], one) -> dict[str, list]:
  """Three frames of each run of train (the third validates), two of each of test."""
  return {
    "train": [one(run, i) for run in runs["train"] for i in (0, 1)],
    "validation": [one(run, 2) for run in runs["train"]],
    "test": [one(run, i) for run in runs["test"] for i in (0, 1)],
  }


SCENES = {"train": ("01", "02", "06", "20"), "test": ("18",)}
DRIVES = {
  "train": (
    "2011_09_26_drive_0035",
    "2011_09_26_drive_0046",
    "2011_09_26_drive_0064",
    "2011_09_30_drive_0020",
  ),
  "test": ("2011_09_26_drive_0039",),
}
SEQUENCES = {
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


def _vkitti_1(scene, i):
  place, key = f"00{scene}/clone/{i:05d}", f"Scene{scene}/clone/{i:05d}"
  return (
    key,
    f"vkitti_1.3.1_rgb/{place}.png",
    f"spike/vkitti_1.3.1_rgb/{place}.npy",
    f"vkitti_1.3.1_depthgt/{place}.png",
  )


def _vkitti_2(scene, i):
  place = f"Scene{scene}/clone/frames"
  image = f"{place}/rgb/Camera_0/rgb_{i:05d}"
  return (
    f"Scene{scene}/clone/{i:05d}",
    f"{image}.jpg",
    f"spike/{image}.npy",
    f"{place}/depth/Camera_0/depth_{i:05d}.png",
  )


def _vkitti_bicross(scene, i):
  return f"Scene{scene}/clone/{i:05d}", *_rearranged(f"input/Scene{scene}", f"{i:05d}")


def _partial_bicross(drive, i):
  return f"{drive[:10]}/{drive}/{i:010d}", *_rearranged(f"input/{drive}", f"{i:010d}")


def _partial_official(drive, i):
  drive = f"{drive}_sync"
  image = f"{drive[:10]}/{drive}/image_02/data/{i:010d}"
  part = "val" if "0039" in drive else "train"
  return (
    f"{drive[:10]}/{drive}/{i:010d}",
    f"{image}.png",
    f"spike/{image}.npy",
    f"{part}/{drive}/proj_depth/groundtruth/image_02/{i:010d}.png",
  )


def _stereo_bicross(sequence, i):
  part, name = ("test" if "08-01" in sequence else "train"), f"{sequence}_{i:03d}"
  return f"{sequence}/{name}", *_rearranged(f"input/{part}/{sequence}", name, ".jpg")


def _stereo(sequence, i):
  """The test archives hold the frames of all sequences together."""
  name = f"{sequence}_2018-{i:03d}"
  if sequence in SEQUENCES["test"]:
    image, depth = (
      f"test-left-image/left-image-half-size/{name}",
      (f"test-depth-map/depth-map-half-size/{name}.png"),
    )
  else:
    image, depth = f"train-left-image/{sequence}/{name}", f"train-depth-map/{sequence}/{name}.png"
  return f"{sequence}/{name}", f"{image}.jpg", f"spike/{image}.npy", depth


def _weather_bicross(weather, i):
  return f"{weather}/{i:03d}", *_rearranged(f"{weather}/input/half", f"{i:03d}")


def _weather(weather, i):
  image = f"{weather}/left-image-half-size/{i:03d}"
  return (
    f"{weather}/{i:03d}",
    f"{image}.jpg",
    f"spike/{image}.npy",
    f"{weather}/depth-map-half-size/{i:03d}.png",
  )


def _weather_parts(one):
  """Of ten frames the first eight are published to train, the last of which validates."""
  rows = [one("foggy", i) for i in range(10)]
  return {"train": rows[:7], "validation": rows[7:8], "test": rows[8:]}


def _nyu_bicross(scene, i):
  place = f"{scene}/seq_1"
  return (
    f"{place}/rgb/r-{i}",
    f"input/{place}/rgb/r-{i}.jpg",
    f"input/{place}/spike/s-{i}.npy",
    f"input/{place}/depth/d-{i}.png",
  )


def _nyu(scene, i):
  return (
    f"{scene}/rgb_{i:05d}",
    f"{scene}/rgb_{i:05d}.jpg",
    f"spike/{scene}/rgb_{i:05d}.npy",
    f"{scene}/sync_depth_{i:05d}.png",
  )


def _nyu_parts(one):
  """Of twelve scenes the last two validate."""
  scenes = [f"kitchen_{i:04d}" for i in range(12)]
  return {
    "train": [one(s, 0) for s in scenes[:10]],
    "validation": [one(s, 0) for s in scenes[10:]],
    "test": [one("bathroom", i) for i in (45, 46)],
  }


def _nyu_lists(frames, line, below=""):
  listed = {"train.txt": frames["train"] + frames["validation"], "test.txt": frames["test"]}
  return {
    path: "".join(
      line.format(image.removeprefix(below), depth.removeprefix(below))
      for _, image, _, depth in rows
    )
    for path, rows in listed.items()
  }


def _respike(left):
  def one(sequence, i):
    folder = f"{'val' if sequence == 'c' else 'train'}/{sequence}"
    return (
      f"indoor/{sequence}/{i:03d}",
      f"indoor/reconstruction/{folder}/left/{i:03d}.png",
      f"indoor/spike/{folder}/left/{i:03d}.npy",
      f"indoor/depth_trans/{folder}/{left}{i:03d}.pfm",
    )

  return _parts({"train": ("a", "b"), "test": ("c",)}, one)


_NYU, _NYU_BICROSS = _nyu_parts(_nyu), _nyu_parts(_nyu_bicross)
CASES = {
  "vkitti 1.3.1": Case("vkitti", "clone", _parts(SCENES, _vkitti_1)),
  "vkitti 2.0.3": Case("vkitti", "clone", _parts(SCENES, _vkitti_2)),
  "vkitti bicross": Case("vkitti", "clone", _parts(SCENES, _vkitti_bicross)),
  "partial kitti bicross": Case("kitti", "partial", _parts(DRIVES, _partial_bicross)),
  "partial kitti published": Case("kitti", "partial", _parts(DRIVES, _partial_official)),
  "drivingstereo bicross": Case("drivingstereo", "selected", _parts(SEQUENCES, _stereo_bicross)),
  "drivingstereo published": Case("drivingstereo", "selected", _parts(SEQUENCES, _stereo)),
  "weather bicross": Case("drivingstereo_weather", "foggy", _weather_parts(_weather_bicross)),
  "weather published": Case("drivingstereo_weather", "foggy", _weather_parts(_weather)),
  "nyu bicross": Case("nyu", "lists", _NYU_BICROSS, _nyu_lists(_NYU_BICROSS, "{} {}\n", "input/")),
  "nyu published": Case("nyu", "lists", _NYU, _nyu_lists(_NYU, "/{} /{} 518.8579\n")),
  "respike": Case("respike", "indoor", _respike("")),
  "respike left": Case("respike", "indoor", _respike("left/")),
}


def _custom(recording, i):
  name = f"{recording}/{i:03d}"
  return f"{name}/l", f"left/{name}.png", f"right/{name}.png", f"depth/{name}.png"


STEREO_CASES = {  # layouts of pairs, which have no streams
  "custom": Case(
    "custom",
    "left",
    {part: [_custom(r, i) for r in "ab"] for i, part in enumerate(("train", "validation", "test"))},
    {"calibration.txt": "20 20 12 9\n0.5\n24 18\n"},
    ("rgb", "rgb_right", "depth"),
  )
}
