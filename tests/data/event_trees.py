"""Small trees of sets of event cameras in their published layouts, written with h5py and NumPy alone."""

import pathlib
from typing import NamedTuple

import h5py
import numpy as np
from PIL import Image

MVSEC, DSEC = (260, 346), (480, 640)  # sizes of the cameras
T0 = 1_506_117_860_000_000  # microseconds: a Unix time, as MVSEC's


class Stream(NamedTuple):
  """Events of one camera: x, y, t (int64 microseconds), p (True = ON)."""

  x: np.ndarray
  y: np.ndarray
  t: np.ndarray
  p: np.ndarray


class Rig(NamedTuple):
  """What was written of a recording.

  Attributes:
    cameras: {"left", "right": Stream}, raw pixels.
    maps: {"left", "right": (x, y)}, float64[H, W], rectified place of each raw pixel.
    stamps: int64[M] microseconds of the labels.
    labels: float32[M, H, W]: metres of MVSEC with NaN, disparities of DSEC with 0.
  """

  cameras: dict[str, Stream]
  maps: dict[str, tuple[np.ndarray, np.ndarray]]
  stamps: np.ndarray
  labels: np.ndarray


def stream(rng, count: int, size, low: int, high: int, at=()) -> Stream:
  """Random events in [low, high) microseconds, and some more at given times."""
  t = np.sort(np.concatenate([rng.integers(low, high, count), np.asarray(at, np.int64)]))
  n = len(t)
  x, y = rng.integers(0, size[1], n), rng.integers(0, size[0], n)
  return Stream(x.astype(np.uint16), y.astype(np.uint16), t, rng.random(n) < 0.5)


def warp(size, shift: float) -> tuple[np.ndarray, np.ndarray]:
  """Smooth maps that send some pixels outside."""
  y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
  return 1.04 * x - 5.3 + shift + 2 * np.sin(y / 40), 1.03 * y - 3.1 + 2 * np.cos(x / 50)


def rig(seed: int, size, count: int, *, period: int, events: int = 300, t0: int = T0) -> Rig:
  """A recording with some events on the very edges of its windows."""
  rng = np.random.default_rng(seed)
  stamps = t0 + 60_000 + period * np.arange(count) + rng.integers(-900, 900, count)
  low, high = t0, int(stamps[-1]) + 20_000
  edges = np.concatenate([stamps, stamps - 50_000, stamps - 25_000])
  cameras = {
    side: stream(rng, events * count, size, low, high, edges) for side in ("left", "right")
  }
  maps = {"left": warp(size, 0.0), "right": warp(size, 1.7)}
  labels = rng.uniform(1.5, 9.0, (count, *size)).astype(np.float32)
  return Rig(cameras, maps, stamps, labels)


def counts(found: Rig, sides, windows, size) -> np.ndarray:
  """Counts by brute force.

  Args:
    found: the recording.
    sides: of the cameras, in order.
    windows: [N, T] of pairs (low, high): events with low < t <= high.
    size: of the picture.

  Returns:
    int64[N, H, W, T, C].
  """
  n, bins = len(windows), len(windows[0])
  out = np.zeros((n, *size, bins, 2 * len(sides)), np.int64)
  for camera, side in enumerate(sides):
    events, (xmap, ymap) = found.cameras[side], found.maps[side]
    x = np.floor(xmap[events.y, events.x]).astype(int)
    y = np.floor(ymap[events.y, events.x]).astype(int)
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    channel = 2 * camera + np.where(events.p, 0, 1)
    for i, row in enumerate(windows):
      for k, (low, high) in enumerate(row):
        chosen = inside & (events.t > low) & (events.t <= high)
        np.add.at(out[i, :, :, k], (y[chosen], x[chosen], channel[chosen]), 1)
  return out


def windows(stamps, bins: int, length: int = 50_000) -> list[list[tuple[int, int]]]:
  """(low, high] of the bins of the windows that end at some stamps."""
  step = length // bins
  return [
    [(s - length + k * step, s - length + (k + 1) * step) for k in range(bins)] for s in stamps
  ]


def write_mvsec(
  root: pathlib.Path, scene: str, name: str, found: Rig, *, first: int = 0, total: int | None = None
) -> None:
  """Writes a recording as `<scene>/<name>_{data,gt}.hdf5`, and the scene's maps.

  Args:
    root: the data folder.
    scene, name: "indoor_flying", "indoor_flying1".
    found: the recording.
    first: number of the first label that is written.
    total: labels in the file; those that are not written are NaN, 50 ms apart.
  """
  folder = root / scene
  calibration = folder / f"{scene}_calib"
  calibration.mkdir(parents=True, exist_ok=True)
  with h5py.File(folder / f"{name}_data.hdf5", "w") as file:
    for side, e in found.cameras.items():
      rows = np.stack([e.x, e.y, e.t / 1e6, np.where(e.p, 1.0, -1.0)], 1)
      file.create_dataset(
        f"davis/{side}/events", data=rows, compression="lzf", chunks=(min(4096, len(rows)), 4)
      )
  count = len(found.stamps)
  total = total or first + count
  stamps = found.stamps[0] + 50_000 * (np.arange(total) - first)
  stamps[first : first + count] = found.stamps
  with h5py.File(folder / f"{name}_gt.hdf5", "w") as file:
    place = "davis/left/depth_image_rect"
    shape = (total, *found.labels.shape[1:])
    maps = file.create_dataset(
      place, shape, "float32", chunks=(1, *shape[1:]), compression="lzf", fillvalue=np.nan
    )
    for i, label in enumerate(found.labels):
      maps[first + i] = label
    file[f"{place}_ts"] = stamps / 1e6
  for side, pair in found.maps.items():
    for axis, numbers in zip("xy", pair, strict=True):
      np.savetxt(calibration / f"{scene}_{side}_{axis}_map.txt", numbers)


def write_kalibr(root: pathlib.Path, scene: str) -> None:
  """Writes a scene's calibration, with numbers of MVSEC's size."""
  lines = []
  for number, shift in enumerate((0.0, -19.941772)):
    lines += [f"cam{number}:", "  intrinsics: [226.4, 226.2, 173.6, 133.7]", "  projection_matrix:"]
    lines += [f"  - [199.653012, 0.0, 177.43, {shift}]"]
    lines += ["  - [0.0, 199.653012, 126.81, 0.0]", "  - [0.0, 0.0, 1.0, 0.0]"]
  place = root / scene / f"{scene}_calib" / f"camchain-imucam-{scene}.yaml"
  place.write_text("\n".join(lines) + "\n")


DSEC_FOCAL, DSEC_BASELINE = 569.7632987676102, 0.5999370


def write_dsec(root: pathlib.Path, name: str, found: Rig) -> None:
  """Writes a recording as `train/<name>/...`; disparities are rounded to 1/256."""
  import hdf5plugin

  folder = root / "train" / name
  for side, e in found.cameras.items():
    place = folder / "events" / side
    place.mkdir(parents=True)
    offset = int(e.t[0]) - 7
    t = e.t - offset
    with h5py.File(place / "events.h5", "w") as file:
      for key, values, kind in (
        ("x", e.x, "uint16"),
        ("y", e.y, "uint16"),
        ("t", t, "uint32"),
        ("p", e.p, "uint8"),
      ):
        file.create_dataset(
          f"events/{key}", data=values.astype(kind), **hdf5plugin.Blosc(cname="zstd"), chunks=True
        )
      file["ms_to_idx"] = np.searchsorted(t, 1000 * np.arange(int(t[-1]) // 1000 + 1)).astype("u8")
      file["t_offset"] = np.int64(offset)
    with h5py.File(place / "rectify_map.h5", "w") as file:
      file["rectify_map"] = np.stack(found.maps[side], -1).astype(np.float32)
  (folder / "disparity" / "event").mkdir(parents=True)
  for i, label in enumerate(found.labels):
    values = np.round(label * 256).astype(np.uint16)
    Image.fromarray(values).save(folder / "disparity" / "event" / f"{2 * i:06d}.png")
  stamps = "".join(f"{stamp}\n" for stamp in found.stamps)
  (folder / "disparity" / "timestamps.txt").write_text(stamps)
  q = f"[0.0, 0.0, {1 / DSEC_BASELINE!r}, 0.0]"
  (folder / "calibration").mkdir()
  (folder / "calibration" / "cam_to_cam.yaml").write_text(
    "intrinsics:\n  camRect0:\n"
    f"    camera_matrix: [{DSEC_FOCAL}, {DSEC_FOCAL}, 335.1, 221.2]\n    resolution: [640, 480]\n"
    "disparity_to_depth:\n  cams_03:\n  - [1.0, 0.0, 0.0, -335.1]\n  - [0.0, 1.0, 0.0, -221.2]\n"
    f"  - - 0.0\n    - 0.0\n    - 0.0\n    - {DSEC_FOCAL}\n  - {q}\n"
  )


def write_dense(root: pathlib.Path, part: str, name: str, count: int, seed: int = 0):
  """Writes `<part>/<name>/{events,depth}/data/`.

  Returns:
    ([(t, x, y, p) float64[N, 4]] by frame, float32[count, H, W] metres).
  """
  rng = np.random.default_rng(seed)
  every = []
  depth = rng.uniform(2, 90, (count, *MVSEC)).astype(np.float32)
  for place in ("events", "depth"):
    (root / part / name / place / "data").mkdir(parents=True)
  for i in range(count):
    e = stream(rng, 400, MVSEC, 33_333 * i, 33_333 * (i + 1))
    rows = np.stack([e.t / 1e6, e.x, e.y, np.where(e.p, 1.0, -1.0)], 1)
    np.save(root / part / name / "events" / "data" / f"events_{i:010d}.npy", rows)
    np.save(root / part / name / "depth" / "data" / f"depth_{i:010d}.npy", depth[i])
    every.append(rows)
  return every, depth
