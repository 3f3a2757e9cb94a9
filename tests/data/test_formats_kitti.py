"""KITTI's calibration and scans, against the numbers measured on the real frames."""

import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data.formats import kitti


def test_raw_calibration(samples):
  folder = samples / "kitti_raw" / "2011_09_26"
  left, right = kitti.raw_calibration(folder), kitti.raw_calibration(folder, camera=3)
  intrinsics = [[721.5377, 0, 609.5593], [0, 721.5377, 172.854], [0, 0, 1]]
  np.testing.assert_allclose(left.intrinsics, intrinsics)
  np.testing.assert_allclose(right.offset - left.offset, 0.5327, atol=5e-5)
  with pytest.raises(errors.BadFileError, match="P_rect_07 is missing"):
    kitti.raw_calibration(folder, camera=7)


@pytest.mark.parametrize(
  "frame,points,pixels,mean,cropped,median",
  [
    ("0009_sync/velodyne_points/data/0000000000", 122320, 16862, "17.1630", 14740, "13.9010"),
    ("0009_sync/velodyne_points/data/0000000016", 115175, 18797, "18.9028", 17213, "13.5120"),
    ("0002_sync/velodyne_points/data/0000000003", 120603, 19299, "16.6552", 17260, "12.9490"),
  ],
)
def test_eigen_depth(samples, frame, points, pixels, mean, cropped, median):
  folder = samples / "kitti_raw" / "2011_09_26"
  scan = kitti.read_velodyne(folder / f"2011_09_26_drive_{frame}.bin")
  height, width = shape = (375, 1242)
  depth = kitti.eigen_depth(scan, kitti.raw_calibration(folder).projection, shape)
  assert depth.dtype == np.float32 and depth.shape == shape
  assert (len(scan), (depth > 0).sum()) == (points, pixels)
  assert f"{depth[depth > 0].astype(np.float64).mean():.4f}" == mean
  crop = depth[
    int(0.40810811 * height) : int(0.99189189 * height),
    int(0.03594771 * width) : int(0.96405229 * width),
  ]
  known = crop[(crop > 0.001) & (crop < 80)]
  assert (known.size, f"{np.median(known):.4f}") == (cropped, median)


def test_odometry_calibration(samples):
  folder = samples / "kitti_odometry" / "sequences" / "04"
  left = kitti.odometry_calibration(folder / "calib.txt")
  right = kitti.odometry_calibration(folder / "calib.txt", camera=3)
  np.testing.assert_allclose(left.intrinsics[0, 0], 707.0912)
  np.testing.assert_allclose(right.offset - left.offset, 0.5379, atol=5e-5)
  scan = kitti.read_velodyne(folder / "velodyne" / "000000.bin").astype(np.float64)
  u, v, z = left.projection @ np.c_[scan[:, :3], np.ones(len(scan))].T
  inside = (z > 0) & (u >= 0) & (v >= 0) & (u < 1226 * z) & (v < 370 * z)
  assert inside.sum() == 19922
  np.testing.assert_allclose([z[inside].min(), z[inside].max()], [5.80, 78.50], atol=6e-3)


def test_drivingstereo_calibration_is_read(samples):
  numbers = kitti.read_calibration(samples / "drivingstereo_calib" / "2018-07-11-14-48-52.txt")
  assert numbers["P_rect_101"].shape == (12,)
  np.testing.assert_allclose(numbers["P_rect_101"][0], 1003.556, atol=5e-4)


def test_nearest_point_wins_and_points_behind_are_dropped():
  projection = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]], float)
  at = lambda x, u, v: [x, -u * x, -v * x, 0]
  scan = np.float32([at(9, 3, 2), at(4, 3, 2), at(6, 3, 2), at(-5, 2, 2), at(7, 0, 2), at(3, 5, 3)])
  want = np.zeros((3, 5), np.float32)
  want[1, 2], want[2, 4] = 4, 3  # pixel = round - 1; column -1 falls outside
  np.testing.assert_array_equal(kitti.eigen_depth(scan, projection, (3, 5)), want)
  with pytest.raises(ValueError, match="points"):
    kitti.eigen_depth(scan[:, :3], projection, (3, 5))


def test_bad_scans_and_calibrations_are_refused(tmp_path):
  scan = tmp_path / "s.bin"
  for data, message in (
    (bytes(17), "17 bytes"),
    (b"", "0 bytes"),
    (np.float32([1, 2, np.nan, 0]).tobytes(), "not finite"),
  ):
    scan.write_bytes(data)
    with pytest.raises(errors.BadFileError, match=message):
      kitti.read_velodyne(scan)
  path = tmp_path / "calib.txt"
  for text, message in (
    ("hello\n", "no lines"),
    ("P2: 1 2 inf\n", "not finite"),
    ("P2: 1 2 3\nTr: 1\n", "Tr has 1 numbers .expected 12"),
    (f"Tr: {'1 ' * 12}\nP2: {'0 ' * 12}\n", "without focal length"),
  ):
    path.write_text(text)
    with pytest.raises(errors.BadFileError, match=message):
      kitti.odometry_calibration(path)
