"""A real DAVIS recording in MVSEC's and DSEC's layouts, through the builders and the pipeline.

Its 180x240 pixels lie in the middle of the larger sensors. There is no depth of it: that is made up.
"""

import cv2
import jax
import numpy as np
import pytest
import yaml

from bicross_jax.config import sections
from bicross_jax.data import pipeline
from tests.data import event_trees as trees

SLIDER = (180, 240)
ENDS = np.array([58_000, 108_000])  # microseconds: the windows' ends; the recording ends at 141 ms


@pytest.fixture(autouse=True)
def _built_elsewhere(tmp_path_factory, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path_factory.mktemp("built")))


def recording(samples, size) -> trees.Stream:
  """The recording as one of a sensor of some size."""
  t, x, y, p = np.loadtxt(samples / "davis_slider_depth" / "events.txt").T
  top, left = ((a - b) // 2 for a, b in zip(size, SLIDER, strict=True))
  place = (x + left).astype(np.uint16), (y + top).astype(np.uint16)
  return trees.Stream(*place, np.round(t * 1e6).astype(np.int64) + trees.T0, p > 0)


def frame(samples, size) -> np.ndarray:
  """The grey frame that was taken at 77.5 ms, in the middle of a sensor of some size."""
  grey = cv2.imread(str(samples / "davis_slider_depth/images/frame_00000002.png"), 0)
  top, left = ((a - b) // 2 for a, b in zip(size, SLIDER, strict=True))
  out = np.full(size, np.median(grey), np.uint8)
  out[top : top + SLIDER[0], left : left + SLIDER[1]] = grey
  return out


def upenn(samples, side: str):
  """(K, distortion, R, P) of a camera of MVSEC."""
  found = yaml.safe_load((samples / f"mvsec_calib/upenn/{side}.yaml").read_text())
  matrix = lambda name, shape: np.array(found[name]["data"], float).reshape(shape)
  return (
    matrix("camera_matrix", (3, 3)),
    matrix("distortion_coefficients", (4, 1)),
    matrix("rectification_matrix", (3, 3)),
    matrix("projection_matrix", (3, 4))[:, :3],
  )


def maps(samples, side: str) -> tuple[np.ndarray, np.ndarray]:
  """Where each pixel of a camera of MVSEC lies when rectified, as its calibration has it."""
  k, d, r, p = upenn(samples, side)
  y, x = np.mgrid[: trees.MVSEC[0], : trees.MVSEC[1]].astype(np.float64)
  points = cv2.fisheye.undistortPoints(np.stack([x, y], -1).reshape(-1, 1, 2), k, d, R=r, P=p)
  found = points.reshape(*trees.MVSEC, 2)
  return found[..., 0], found[..., 1]


def own_lens(samples, size) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """(x map, y map, K, distortion) of the recording's own camera, in the middle of a larger sensor."""
  fx, fy, cx, cy, *d = np.loadtxt(samples / "davis_slider_depth" / "calib.txt")
  top, left = ((a - b) // 2 for a, b in zip(size, SLIDER, strict=True))
  k, d = np.array([[fx, 0, cx + left], [0, fy, cy + top], [0, 0, 1]]), np.array(d)
  y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
  points = cv2.undistortPoints(np.stack([x, y], -1).reshape(-1, 1, 2), k, d, P=k)
  found = points.reshape(*size, 2)
  return found[..., 0], found[..., 1], k, d


def _rig(samples, size, pair) -> trees.Rig:
  events = recording(samples, size)
  ramp = np.broadcast_to(np.linspace(1.5, 4.0, size[0], dtype=np.float32)[:, None], size)
  labels = np.stack([ramp, ramp + 1]).copy()
  return trees.Rig({"left": events, "right": events}, pair, ENDS + trees.T0, labels)


def write_mvsec(samples, root) -> trees.Rig:
  """The recording as outdoor_day1 of MVSEC."""
  pair = {side: maps(samples, side) for side in ("left", "right")}
  rig = _rig(samples, trees.MVSEC, pair)
  trees.write_mvsec(root, "outdoor_day", "outdoor_day1", rig)
  trees.write_mvsec(root, "outdoor_day", "outdoor_day2", rig)
  return rig


def write_dsec(samples, root) -> trees.Rig:
  """The recording as two drives of DSEC; their maps are its own lens's."""
  found = tuple(own_lens(samples, trees.DSEC)[:2])
  rig = _rig(samples, trees.DSEC, {"left": found, "right": found})
  for name in ("thun_00_a", "zurich_city_00_a", "zurich_city_11_a"):
    trees.write_dsec(root, name, rig)
  return rig


def batches(config):
  """({key: row of a batch}, the first training batch)."""
  data = pipeline.open(config, "data")
  fields = data.dataset.fields(config)
  spec = {n: jax.ShapeDtypeStruct(shape, np.dtype(kind)) for n, (shape, kind) in fields.items()}
  reader = data.batches(spec, seed=0)
  found = {t["key"]: jax.tree.map(lambda x: x[0], b) for b, (t,) in reader.evaluation("test")}
  return found, next(reader.train())


def likeness(counts, grey) -> float:
  """Correlation of how many events a pixel has with the steepness of a picture there."""
  steep = np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1))
  seen = cv2.GaussianBlur(np.minimum(counts, 4).astype(np.float64), (0, 0), 1)
  return np.corrcoef(seen.ravel(), steep.ravel())[0, 1]


def test_slider_in_mvsecs_layout(samples, tmp_path):
  """Rectified events lie on the edges of the frame that OpenCV rectifies backwards, with R and P."""
  rig = write_mvsec(samples, tmp_path)
  config = sections.recordings("mvsec", "outdoor_day", *trees.MVSEC)
  config.update(data_dir=str(tmp_path), batch_size=1)
  found, training = batches(config)
  assert list(found) == ["outdoor_day1/000000", "outdoor_day1/000001"]
  want = trees.counts(rig, ("left", "right"), trees.windows(rig.stamps, 1), trees.MVSEC)
  for row, counts, label in zip(found.values(), want, rig.labels, strict=True):
    np.testing.assert_array_equal(row["events"], counts)
    np.testing.assert_allclose(row["depth"], label, rtol=1e-6)
  np.testing.assert_allclose(found["outdoor_day1/000001"]["depth_before"], rig.labels[0], rtol=1e-6)
  assert training["events"].shape == (1, *trees.MVSEC, 1, 4) and training["events"].any()
  seen, grey = found["outdoor_day1/000001"]["events"][:, :, 0], frame(samples, trees.MVSEC)
  for camera, side in enumerate(("left", "right")):
    k, d, r, p = upenn(samples, side)
    table = cv2.fisheye.initUndistortRectifyMap(k, d, r, p, trees.MVSEC[::-1], cv2.CV_32FC1)
    rectified = cv2.remap(grey, *table, cv2.INTER_LINEAR, borderValue=int(np.median(grey)))
    counts = seen[..., 2 * camera : 2 * camera + 2].sum(-1)
    assert (
      likeness(counts, rectified) > 0.43
    )  # 0.458; of the raw events and the raw frame it is 0.465
    assert likeness(counts, grey) < 0.35


def test_slider_in_dsecs_layout(samples, tmp_path):
  rig = write_dsec(samples, tmp_path)
  config = sections.recordings("dsec", "train", *trees.DSEC)
  config.update(data_dir=str(tmp_path), batch_size=1)
  found, training = batches(config)
  assert list(found) == ["zurich_city_11_a/000000", "zurich_city_11_a/000002"]
  single = {side: tuple(m.astype(np.float32) for m in pair) for side, pair in rig.maps.items()}
  want = trees.counts(
    rig._replace(maps=single), ("left", "right"), trees.windows(rig.stamps, 1), trees.DSEC
  )
  for row, counts in zip(found.values(), want, strict=True):
    np.testing.assert_array_equal(row["events"], counts)
  assert training["events"].shape == (1, *trees.DSEC, 1, 4) and training["events"].any()
  *_, k, d = own_lens(samples, trees.DSEC)
  rectified = cv2.undistort(frame(samples, trees.DSEC), k, d)
  counts = found["zurich_city_11_a/000002"]["events"][:, :, 0, :2].sum(-1)
  assert likeness(counts, rectified) > 0.5  # 0.513
