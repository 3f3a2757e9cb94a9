"""KITTI's own files: calibration, velodyne scans, and the depth maps they make together."""

from collections.abc import Mapping
import math
import pathlib
from typing import NamedTuple

import numpy as np

from bicross_jax import errors, files

_MAX_CALIBRATION = 1 << 20


class Calibration(NamedTuple):
  """One rectified camera of a rig.

  Attributes:
    projection: float64[3, 4], from velodyne points (m, homogeneous) to pixels times depth.
    intrinsics: float64[3, 3], pixels.
    offset: position of the camera along +x of camera 0, in metres (-0.06 for camera 2); the
      baseline between two cameras is the difference.
  """

  projection: np.ndarray
  intrinsics: np.ndarray
  offset: float


def read_calibration(path) -> dict[str, np.ndarray]:
  """The numbers of a calibration file, lines of `name: number number ...`.

  Returns:
    name -> float64[n]. Lines that are not numbers (dates) are left out.

  Raises:
    errors.BadFileError: missing, no such lines, or numbers that are not finite.
  """
  if files.size(path) > _MAX_CALIBRATION:
    raise errors.BadFileError(path, "is too long for a calibration file")
  numbers = {}
  for line in files.read(path).decode("latin1").splitlines():
    name, colon, values = line.partition(":")
    try:
      array = np.array([float(v) for v in values.split()])
    except ValueError:
      continue  # calib_time and the like
    if not colon or not array.size:
      continue
    if not np.isfinite(array).all():
      raise errors.BadFileError(path, f"{name} has a number that is not finite")
    numbers[name.strip()] = array
  if not numbers:
    raise errors.BadFileError(path, "has no lines of `name: numbers`", "a calibration file")
  return numbers


def raw_calibration(folder, camera: int = 2) -> Calibration:
  """A camera of KITTI raw, from the three files in the folder of a date.

  The projection is P_rect * R_rect_00 * T_velo_to_cam, as in the development kit.

  Args:
    folder: the folder that holds calib_cam_to_cam.txt and calib_velo_to_cam.txt.
    camera: 2 (left) or 3 (right).
  """
  folder = pathlib.Path(folder)
  cameras_file, velodyne_file = folder / "calib_cam_to_cam.txt", folder / "calib_velo_to_cam.txt"
  cameras, velodyne = read_calibration(cameras_file), read_calibration(velodyne_file)
  projection = matrix(cameras_file, cameras, f"P_rect_{camera:02d}", (3, 4))
  rectify = np.eye(4)
  rectify[:3, :3] = matrix(cameras_file, cameras, "R_rect_00", (3, 3))
  pose = np.eye(4)
  pose[:3, :3] = matrix(velodyne_file, velodyne, "R", (3, 3))
  pose[:3, 3:] = matrix(velodyne_file, velodyne, "T", (3, 1))
  return _camera(cameras_file, projection, rectify @ pose)


def odometry_calibration(path, camera: int = 2) -> Calibration:
  """A camera of KITTI odometry, from the calib.txt of a sequence (P0..P3 and Tr)."""
  numbers = read_calibration(path)
  pose = np.eye(4)
  pose[:3] = matrix(path, numbers, "Tr", (3, 4))
  return _camera(path, matrix(path, numbers, f"P{camera}", (3, 4)), pose)


def read_velodyne(path) -> np.ndarray:
  """A laser scan: float32[N, 4] of x forward, y left, z up (metres) and reflectance.

  Raises:
    errors.BadFileError: missing, empty, no whole number of points, or not finite.
  """
  data = files.read(path)
  if not data or len(data) % 16:
    raise errors.BadFileError(
      path, f"{len(data)} bytes are no whole number of points", "4 float32 a point"
    )
  points = np.frombuffer(data, "<f4").astype(np.float32).reshape(-1, 4)
  if not np.isfinite(points).all():
    raise errors.BadFileError(path, "has points that are not finite")
  return points


def eigen_depth(points: np.ndarray, projection: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """The depth map of a scan that the Eigen split is evaluated on.

  Points with x >= 0 are projected to pixel (round(u) - 1, round(v) - 1); the depth is the
  velodyne's x, not the camera's z; the nearest point of a pixel wins. As published, points that lie
  ahead of the velodyne and behind the camera, 0.27 m farther on, are projected too (through its centre);
  of real scans they fall outside the image.

  Args:
    points: float32[N, 4].
    projection: float64[3, 4], `Calibration.projection`.
    shape: (height, width) of the image.

  Returns:
    float32[H, W] metres, 0 where no point falls.
  """
  if points.ndim != 2 or points.shape[1] != 4 or projection.shape != (3, 4):
    raise ValueError(f"points {points.shape}, projection {projection.shape}")
  points = points[points[:, 0] >= 0].astype(np.float64)
  depth = points[:, 0].copy()
  points[:, 3] = 1
  u, v, z = projection @ points.T
  seen = z != 0
  u, v, z, depth = u[seen], v[seen], z[seen], depth[seen]
  column, row = np.round(u / z) - 1, np.round(v / z) - 1
  inside = (column >= 0) & (row >= 0) & (column < shape[1]) & (row < shape[0])
  index = row[inside].astype(np.int64) * shape[1] + column[inside].astype(np.int64)
  nearest = np.full(math.prod(shape), np.inf)
  np.minimum.at(nearest, index, depth[inside])
  nearest[np.isinf(nearest)] = 0
  return nearest.reshape(shape).astype(np.float32)


def _camera(path, matrix: np.ndarray, pose: np.ndarray) -> Calibration:
  if not matrix[0, 0]:
    raise errors.BadFileError(path, "has a projection without focal length")
  return Calibration(matrix @ pose, matrix[:, :3].copy(), float(-matrix[0, 3] / matrix[0, 0]))


def matrix(
  path, numbers: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]
) -> np.ndarray:
  """A matrix of what `read_calibration` found.

  Raises:
    errors.BadFileError: there is none of that name, or it has not so many numbers.
  """
  found = numbers.get(name)
  if found is None or found.size != math.prod(shape):
    have = f"has {found.size} numbers" if found is not None else "is missing"
    raise errors.BadFileError(path, f"{name} {have}", f"{math.prod(shape)} numbers")
  return found.reshape(shape)
