"""KITTI's protocols against values that the published code gave (commit 84119c8 of EPCDepth)."""

import numpy as np
import pytest

from bicross_jax.data.formats import kitti
from bicross_jax.tasks import maps
from bicross_jax.tasks.depth import metrics, postprocess
from bicross_jax.tasks.depth import protocol as protocols

CAMERAS = """calib_time: 09-Jan-2012 13:57:47
R_rect_00: 9.999239e-01 9.837760e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 -4.278459e-03 \
7.402527e-03 4.351614e-03 9.999631e-01
S_rect_02: 1242 375
P_rect_02: 7.215377e+02 0 6.095593e+02 4.485728e+01 0 7.215377e+02 1.728540e+02 2.163791e-01 \
0 0 1 2.745884e-03
"""
VELODYNE = """R: 7.533745e-03 -9.999714e-01 -6.166020e-04 1.480249e-02 7.280733e-04 \
-9.998902e-01 9.998621e-01 7.523790e-03 1.480755e-02
T: -4.069766e-03 -7.631618e-02 -2.717806e-01
"""
SIZE, VIEW = (375, 1242), (0, 0, 375, 1242)
NAMES = ("abs_rel", "sq_rel", "rmse", "rmse_log", "d1", "d2", "d3")


def _hash(t, i):
  x = 43758.5453 * np.sin(12.9898 * (i + 1) + 78.233 * (t + 1))
  return x - np.floor(x)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
  """The ground truth of 20000 made-up laser points."""
  folder = tmp_path_factory.mktemp("calibration")
  (folder / "calib_cam_to_cam.txt").write_text(CAMERAS)
  (folder / "calib_velo_to_cam.txt").write_text(VELODYNE)
  i = np.arange(20000, dtype=np.float64)
  x = -5 + 75 * _hash(0, i)
  y, z = (_hash(1, i) - 0.5) * 1.6 * x, -2 + 3 * _hash(2, i)
  points = np.stack([x, y, z, np.zeros_like(x)], 1).astype(np.float32)
  return kitti.eigen_depth(points, kitti.raw_calibration(folder, 2).projection, SIZE)


@pytest.fixture(scope="module")
def disparity():
  """float32[320, 1024], 1 / depth in units of 5.4 m."""
  v, u = np.mgrid[:320, :1024].astype(np.float64)
  return (0.05 + 0.9 * (v / 320) ** 2 + 0.02 * np.sin(u / 50)).astype(np.float32)


def test_the_ground_truth(truth):
  known = truth > 0
  assert known.sum() == 16286
  assert truth.sum(dtype=np.float64) == pytest.approx(571431.7059, abs=2e-3)
  assert truth.max() == pytest.approx(69.9991, abs=1e-4)
  assert np.argwhere(known)[0].tolist() == [2, 447]
  assert truth[2, 447] == pytest.approx(4.06429, abs=1e-5)


@pytest.mark.parametrize(
  "name, unit, want",
  [
    ("kitti_eigen_375", 5.4, (0.558243, 13.142562, 24.928383, 0.785916, 0.152405, 0.310605, 0.477968)),
    ("kitti_eigen_stereo", 1, (0.558243, 13.142562, 24.928383, 0.785916, 0.152405, 0.310605, 0.477968)),
    ("kitti_eigen_median", 1, (0.703538, 15.844124, 16.875662, 0.601853, 0.306697, 0.612721, 0.829336)),
  ],
)  # fmt: skip
def test_metrics_of_the_protocols(truth, disparity, name, unit, want):
  found = protocols.measure(unit / disparity, truth, VIEW, protocols.PROTOCOLS[name])
  assert found["pixels"] == 14842
  np.testing.assert_allclose([found[n] for n in NAMES], want, rtol=3e-5, atol=2e-6)


def test_metrics_behind_the_post_processing(truth, disparity):
  plain = 5.4 / disparity[None]  # the network said the same of the mirrored picture
  depth = postprocess.blend(plain, plain[:, :, ::-1])[0]
  found = protocols.measure(depth, truth, VIEW, protocols.PROTOCOLS["kitti_eigen_375"])
  want = (0.557615, 13.113232, 24.917294, 0.784283, 0.153146, 0.310133, 0.477496)
  np.testing.assert_allclose([found[n] for n in NAMES], want, rtol=3e-5, atol=7e-6)


@pytest.mark.parametrize("size", [(370, 1226), (374, 1238), (376, 1241), (370, 1224), (375, 1242)])
def test_truth_is_brought_to_one_size_as_scikit_image_does(size):
  transform = pytest.importorskip("skimage.transform")
  truth = np.random.default_rng(0).uniform(1, 80, size).astype(np.float32)
  want = transform.resize(truth, SIZE, order=0, preserve_range=True, mode="constant")
  np.testing.assert_array_equal(maps.nearest(truth, SIZE), want)


def test_a_view_follows_the_truth_into_its_size():
  protocol = protocols.PROTOCOLS["kitti_eigen_375"]
  truth = np.random.default_rng(1).uniform(1, 80, (370, 1226)).astype(np.float32)
  resized, view = protocols.compared_truth(truth, (170, 613, 200, 613), protocol)
  assert resized.shape == SIZE and view == (172, 621, 203, 621)
  native = protocols.PROTOCOLS["kitti_eigen"]
  assert protocols.compared_truth(truth, VIEW, native) == (truth, VIEW)
  perfect = protocols.measure(resized, truth, (0, 0, 370, 1226), protocol)
  assert perfect["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_official_truth_counts_everywhere_and_predictions_are_capped():
  truth = np.zeros(SIZE, np.float32)
  truth[0, 0], truth[374, 1241] = 84.0, 40.0
  depth = np.full(SIZE, 84, np.float32)
  found = protocols.measure(depth, truth, VIEW, protocols.PROTOCOLS["kitti_benchmark"])
  assert found["pixels"] == 2
  assert found["abs_rel"] == pytest.approx((4 / 84 + 1) / 2, rel=1e-6)


@pytest.mark.parametrize(
  "drive, frame, pixels, mean, counted, median",
  [
    ("0009", 0, 16862, 17.1630, 14740, 13.9010),
    ("0009", 16, 18797, 18.9028, 17213, 13.5120),
    ("0002", 3, 19299, 16.6552, 17260, 12.9490),
  ],
)
def test_the_ground_truth_of_real_frames(samples, drive, frame, pixels, mean, counted, median):
  date = samples / "kitti_raw" / "2011_09_26"
  scan = date / f"2011_09_26_drive_{drive}_sync" / f"velodyne_points/data/{frame:010d}.bin"
  projection = kitti.raw_calibration(date, 2).projection
  truth = kitti.eigen_depth(kitti.read_velodyne(scan), projection, SIZE)
  for name in ("kitti_eigen", "kitti_eigen_375"):  # the frames have that size
    protocol = protocols.PROTOCOLS[name]
    valid = protocols.valid_pixels(protocols.compared_truth(truth, VIEW, protocol)[0], protocol)
    assert valid.sum() == counted
    assert np.median(truth[valid]) == pytest.approx(median, abs=5e-5)
  assert (truth > 0).sum() == pixels
  assert truth[truth > 0].mean(dtype=np.float64) == pytest.approx(mean, abs=5e-5)


def test_nyu_as_published():
  """Written out: depth resized bilinearly, median scaling over all known truth, then the caps."""
  import cv2

  rng = np.random.default_rng(2)
  scaled = rng.uniform(0.1, 10, (288, 384)).astype(np.float32)
  truth = rng.uniform(0.05, 12, (427, 561)).astype(np.float32)
  truth[rng.random(truth.shape) < 0.2] = 0
  depth = cv2.resize(1 / scaled, (561, 427), interpolation=cv2.INTER_LINEAR)
  valid = truth > 0
  depth = np.clip(depth * np.median(truth[valid]) / np.median(depth[valid]), 0.1, 10)
  want = metrics.measure(depth, truth, valid)
  found = protocols.measure(5.4 / scaled, truth, (0, 0, 427, 561), protocols.PROTOCOLS["nyu"])
  assert found["pixels"] == valid.sum()
  for name in NAMES:
    assert found[name] == pytest.approx(want[name], rel=1e-4)  # a pixel at a threshold
