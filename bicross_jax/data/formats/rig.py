"""Rectified stereo rigs: focal length, principal point and baseline, of the files that people have.

    calib_cam_to_cam.txt      KITTI raw: P_rect_02, P_rect_03, S_rect_02; DrivingStereo's 101 and 103
    calib.txt                 KITTI odometry: P2, P3
    calib.txt                 Middlebury: cam0, cam1, baseline in millimetres, width, height
    NAME.yaml, NAME.yml       OpenCV: P1 and P2, or Q, of `stereoRectify`, with T in metres
    NAME.txt                  three lines of numbers: fx fy cx cy / baseline / width height

Which one a file is, is told from its content. All are metres but Middlebury's.
"""

from collections.abc import Mapping, Sequence
import math
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import kitti, yaml_numbers

FORMATS = (
  "calib_cam_to_cam.txt or calib.txt of KITTI, calib.txt of Middlebury, YAML of OpenCV, or three lines: "
  "fx fy cx cy, baseline in metres, width height"
)
_LONGEST = 1 << 20  # bytes; such files have a few thousand
_KITTI_PAIRS = (("02", "03"), ("101", "103"))  # colour cameras, left and right; DrivingStereo's
_SAME_FOCAL = 1e-3  # relative
_SAME_ROW = 0.05  # pixels
_LEVEL = 0.02  # of the baseline: KITTI's right camera stands 3 mm higher, which is 0.006 of it
_SAME_BASELINE = 0.05  # relative, between two ways in which a file says it
_LARGEST = 10.0  # metres; a larger baseline is in another unit
_LARGEST_NUMBER = 1e9  # of a projection
_ROTATED = 0.05  # degrees: half a pixel at a focal length of 600
_WIDEST = 1 << 20  # pixels
_SIZES = ("imageSize", "image_size", "size")  # OpenCV writes a cv::Size under any name


class Rig(NamedTuple):
  """Two cameras side by side whose images are rectified.

  Attributes:
    intrinsics: float64[3, 3], pixels of the left image.
    baseline: metres from the left camera to the right one, along +x; positive.
    size: (height, width) of the images, or None where the file does not say it.
    doffs: column of the right camera's principal point minus that of the left one, so that
      depth = fx * baseline / (disparity + doffs); 0 for most rigs.
  """

  intrinsics: np.ndarray
  baseline: float
  size: tuple[int, int] | None
  doffs: float = 0.0

  def of(self, side: str) -> tuple[np.ndarray, float]:
    """(intrinsics float64[3, 3], baseline to the other camera along +x) of a camera.

    Args:
      side: "left" or "right", whose partner stands to the left: its baseline is negative.
    """
    if side == "left":
      return self.intrinsics, self.baseline
    moved = self.intrinsics.copy()
    moved[0, 2] += self.doffs
    return moved, -self.baseline


def read_rig(path) -> Rig:
  """The rig that a calibration file describes; the top of this page lists the formats.

  Raises:
    errors.BadFileError: it is missing, of no such format, lacks a matrix, or says that the images
      are not rectified: the cameras are rotated against each other, or differ in focal length, in
      the row of the principal point or in height.
  """
  if files.size(path) > _LONGEST:
    raise errors.BadFileError(path, "is too long for a calibration file", FORMATS)
  text = files.read(path).decode("latin1")
  if text.startswith("%YAML") or pathlib.Path(path).suffix.lower() in (".yaml", ".yml"):
    return _opencv(path)
  if re.search(r"^\s*cam0\s*=", text, re.MULTILINE):
    return _middlebury(path, text)
  if re.search(r"^(P_rect|S_rect|K)_\d+\s*:", text, re.MULTILINE):
    return _kitti_raw(path)
  if re.search(r"^P\d\s*:", text, re.MULTILINE):
    return _kitti_odometry(path)
  return _three_lines(path, text)


def _kitti_raw(path) -> Rig:
  found = kitti.read_calibration(path)
  left, right = next((p for p in _KITTI_PAIRS if f"P_rect_{p[0]}" in found), _KITTI_PAIRS[0])
  projections = [kitti.matrix(path, found, f"P_rect_{n}", (3, 4)) for n in (left, right)]
  sizes = [kitti.matrix(path, found, f"S_rect_{n}", (2,)) for n in (left, right)]
  if (sizes[0] != sizes[1]).any():
    raise errors.BadFileError(path, f"S_rect_{left} and S_rect_{right} differ", "one size")
  rig = _rig(path, projections, _size(path, *sizes[0]))
  if all(f"{kind}_{n}" in found for kind in "RT" for n in (left, right)):
    centres = [
      -kitti.matrix(path, found, f"R_{n}", (3, 3)).T @ kitti.matrix(path, found, f"T_{n}", (3,))
      for n in (left, right)
    ]
    apart = float(np.linalg.norm(centres[1] - centres[0]))
    if abs(apart - rig.baseline) > _SAME_BASELINE * rig.baseline:
      raise errors.BadFileError(
        path,
        f"the baseline is {rig.baseline:.4f} m by P_rect_{right} and {apart:.4f} m by T_{right}",
        "one; three lines (fx fy cx cy, baseline, width height) in a file of their own say which",
      )
  return rig


def _kitti_odometry(path) -> Rig:
  found = kitti.read_calibration(path)
  return _rig(path, [kitti.matrix(path, found, name, (3, 4)) for name in ("P2", "P3")], None)


def _middlebury(path, text: str) -> Rig:
  found = {}
  for line in text.splitlines():
    name, _, values = line.partition("=")
    found[name.strip()] = values.strip().strip("[]").replace(";", " ")

  def numbers(name, count):
    return np.array(_floats(path, found.get(name, ""), count, name))

  left, right = (numbers(camera, 9).reshape(3, 3) for camera in ("cam0", "cam1"))
  (millimetres,) = numbers("baseline", 1)
  (width,), (height,) = numbers("width", 1), numbers("height", 1)
  size = _size(path, float(width), float(height))
  return _rig(path, _beside(left, right, millimetres / 1000), size)


def _three_lines(path, text: str) -> Rig:
  lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
  if len(lines) != 3:
    raise errors.BadFileError(path, "is no calibration of a stereo rig", FORMATS)
  fx, fy, cx, cy = _floats(path, lines[0], 4, "line 1 (fx fy cx cy)")
  (baseline,) = _floats(path, lines[1], 1, "line 2 (baseline)")
  width, height = _floats(path, lines[2], 2, "line 3 (width height)")
  matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
  return _rig(path, _beside(matrix, matrix, baseline), _size(path, width, height))


def _opencv(path) -> Rig:
  found = yaml_numbers.read(path)
  size = _opencv_size(path, found)
  if "P1" in found or "P2" in found:
    return _rig(path, [_opencv_matrix(path, found, name, (3, 4)) for name in ("P1", "P2")], size)
  if "Q" in found:
    return _from_q(path, _opencv_matrix(path, found, "Q", (4, 4)), size)
  if "M1" in found and "M2" in found:
    return _from_cameras(path, found, size)
  raise errors.BadFileError(
    path, "has neither P1 and P2 nor Q", "what stereoRectify of OpenCV makes"
  )


def _from_q(path, q: np.ndarray, size) -> Rig:
  """Q takes (column, row, disparity, 1) to homogeneous places: OpenCV's `stereoRectify`."""
  if not q[3, 2] or not q[2, 3]:
    raise errors.BadFileError(path, "Q has no baseline or no focal length", "that of stereoRectify")
  focal, baseline = q[2, 3], 1 / q[3, 2]
  left = np.array([[focal, 0, -q[0, 3]], [0, focal, -q[1, 3]], [0, 0, 1]])
  right = left.copy()
  right[0, 2] += q[3, 3] * baseline
  return _rig(path, _beside(left, right, baseline), size)


def _from_cameras(path, found: Mapping[str, Any], size) -> Rig:
  """Cameras before `stereoRectify`: a rectified rig only where there is nothing to rectify."""
  for name in ("D1", "D2"):
    if name in found and _distorts(path, found, name):
      raise _not_rectified(path, f"it has no P1 and P2, and {name} says that lenses distort")
  rotation = _opencv_matrix(path, found, "R", (3, 3))
  angle = math.degrees(math.acos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
  if angle > _ROTATED:
    raise _not_rectified(
      path, f"it has no P1 and P2, and R turns the cameras by {angle:.2f} degrees"
    )
  left, right = (_opencv_matrix(path, found, name, (3, 3)) for name in ("M1", "M2"))
  shift = right @ _opencv_matrix(path, found, "T", (3, 1))[:, 0]
  return _rig(path, [np.c_[left, np.zeros(3)], np.c_[right, shift]], size)


def _distorts(path, found: Mapping[str, Any], name: str) -> bool:
  data = found[name].get("data") if isinstance(found[name], dict) else None
  count = len(data) if isinstance(data, list) else 5
  return bool(yaml_numbers.numbers(path, found, f"{name}.data", (count,)).any())


def _opencv_matrix(path, found: Mapping[str, Any], name: str, shape: tuple[int, int]) -> np.ndarray:
  values = yaml_numbers.numbers(path, found, f"{name}.data", (math.prod(shape),))
  return values.reshape(shape)


def _opencv_size(path, found: Mapping[str, Any]) -> tuple[int, int] | None:
  if "image_width" in found:
    values = (yaml_numbers.numbers(path, found, f"image_{n}", ()) for n in ("width", "height"))
    return _size(path, *map(float, values))
  for name in _SIZES:
    if name in found:
      return _size(path, *yaml_numbers.numbers(path, found, name, (2,)))
  return None


def _beside(left: np.ndarray, right: np.ndarray, baseline: float) -> list[np.ndarray]:
  """Projections float64[3, 4] of two camera matrices, the right camera so far beside the left one."""
  return [np.c_[left, np.zeros(3)], np.c_[right, [-right[0, 0] * baseline, 0, 0]]]


def _rig(path, projections: Sequence[np.ndarray], size: tuple[int, int] | None) -> Rig:
  """The rig of two projections float64[3, 4], where they belong to rectified images."""
  left, right = projections
  if not min(left[0, 0], left[1, 1], right[0, 0], right[1, 1]) > 0:
    raise errors.BadFileError(path, "has a camera without focal length", "positive ones")
  if not max(np.abs(left).max(), np.abs(right).max()) < _LARGEST_NUMBER:
    raise errors.BadFileError(path, "has a camera matrix with numbers beyond any camera's")
  for axis, name in enumerate(("fx", "fy")):
    focal = left[axis, axis], right[axis, axis]
    if abs(focal[0] - focal[1]) > _SAME_FOCAL * focal[0]:
      raise _not_rectified(path, f"{name} is {focal[0]:.6g} and {focal[1]:.6g} pixels")
  if abs(left[1, 2] - right[1, 2]) > _SAME_ROW:
    raise _not_rectified(
      path, f"the principal points lie in rows {left[1, 2]:.6g} and {right[1, 2]:.6g}"
    )
  moved = right[:, 3] - left[:, 3]
  baseline, height = -moved[0] / left[0, 0], -moved[1] / left[1, 1]
  if abs(height) > _LEVEL * abs(baseline):
    where = f"{abs(height):.4g} m {'below' if height > 0 else 'above'} the first"
    raise _not_rectified(path, f"the second camera stands {where}, {baseline:.4g} m beside it")
  if baseline <= 0:
    raise errors.BadFileError(
      path, f"the second camera stands {-baseline:.4g} m to the left", "the left camera first"
    )
  if baseline > _LARGEST:
    raise errors.BadFileError(
      path, f"has a baseline of {baseline:.6g} m", "metres, not millimetres"
    )
  return Rig(left[:, :3].copy(), float(baseline), size, float(right[0, 2] - left[0, 2]))


def _not_rectified(path, why: str) -> errors.BadFileError:
  return errors.BadFileError(path, f"the images are not rectified: {why}", "a rectified rig")


def _size(path, width: float, height: float) -> tuple[int, int]:
  if not all(1 <= n <= _WIDEST and n == int(n) for n in (width, height)):
    raise errors.BadFileError(path, f"has images of {height:g}x{width:g}", "whole pixels")
  return int(height), int(width)


def _floats(path, text: str, count: int, name: str) -> list[float]:
  try:
    values = [float(word) for word in text.replace(",", " ").split()]
  except ValueError:
    values = []
  if len(values) != count or not all(map(math.isfinite, values)):
    problem = f"{name} is {text.strip()[:60]!r}" if text.strip() else f"{name} is missing"
    raise errors.BadFileError(path, problem, f"{count} finite numbers")
  return values
