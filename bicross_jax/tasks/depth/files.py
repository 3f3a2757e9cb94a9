"""Predicted depth in files: metres, a 16-bit PNG, a point cloud."""

from collections.abc import Mapping
import pathlib
from typing import Any

import numpy as np

from bicross_jax import files
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import npy
from bicross_jax.ops import geometry

PNG_DIVISOR = depth_files.KITTI
NEAREST, FARTHEST = 1e-3, 65535 / PNG_DIVISOR  # metres; what 16 bits hold
_VERTEX = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
_WHITE = 255  # points of a prediction without an RGB picture


def write(
  folder: pathlib.Path, name: str, result: Mapping[str, np.ndarray], protocol: Any = None
) -> list[pathlib.Path]:
  """Writes what a network says of one frame; each file takes its name only when it is complete.

  NAME_depth.npy (metres, 0 = unknown: what was NaN or infinite), NAME_depth.png (16 bits, metres x
  256, what is farther than 255.99 m as that), NAME_uncertainty.npy where there is one, and
  NAME.ply, a point cloud, where there are intrinsics.

  Args:
    folder: made where it is missing.
    name: of the frame.
    result: "depth" float[H, W] metres; maybe "uncertainty" float[H, W], "rgb" uint8[H, W, 3],
      "intrinsics" float[3, 3] in pixels of the same frame.
    protocol: any; files are the same by all.

  Returns:
    The paths.

  Raises:
    errors.UserError: the disk is full, or the folder cannot be made or written.
  """
  del protocol
  depth = known_depth(result["depth"])
  written = [folder / f"{name}_depth.npy", folder / f"{name}_depth.png"]
  npy.write_npy(written[0], depth)
  depth_files.write_png16(written[1], np.minimum(depth, FARTHEST), PNG_DIVISOR)
  if "uncertainty" in result:
    written.append(folder / f"{name}_uncertainty.npy")
    npy.write_npy(written[-1], np.asarray(result["uncertainty"], np.float32))
  if "intrinsics" in result:
    written.append(folder / f"{name}.ply")
    write_ply(written[-1], *point_cloud(depth, result["intrinsics"], result.get("rgb")))
  return written


def known_depth(depth: np.ndarray) -> np.ndarray:
  """Predicted metres as they are written: 0 for what is not finite, at least `NEAREST` elsewhere."""
  finite = np.isfinite(depth)
  return np.where(finite, np.maximum(depth, NEAREST, where=finite, out=np.zeros_like(depth)), 0)


def point_cloud(
  depth: np.ndarray, intrinsics: np.ndarray, rgb: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """The points that a depth map shows (Hartley and Zisserman, Multiple View Geometry, eq. 6.4).

  Args:
    depth: float[H, W] metres along the optical axis; 0 = unknown, which gives no point.
    intrinsics: float[3, 3], pixels; pixel centres lie at whole numbers.
    rgb: uint8[H, W, 3], the colours; white where it is left out.

  Returns:
    float32[N, 3] metres in the camera's frame (x right, y down, z forward), uint8[N, 3].
  """
  known = np.asarray(depth) > 0
  points = geometry.back_project(np.asarray(depth, np.float64), np.asarray(intrinsics, np.float64))
  points = points[known].astype(np.float32)
  colours = np.full(points.shape, _WHITE, np.uint8) if rgb is None else np.asarray(rgb)[known]
  return points, colours


def write_ply(path, points: np.ndarray, colours: np.ndarray) -> None:
  """Writes points float32[N, 3] and colours uint8[N, 3] as a binary PLY file."""
  vertices = np.empty(len(points), _VERTEX)
  vertices["xyz"], vertices["rgb"] = points, colours
  lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
  lines += [f"property float {axis}" for axis in "xyz"]
  lines += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
  with files.write_whole(path) as file:
    file.write(("\n".join([*lines, "end_header"]) + "\n").encode("ascii"))
    file.write(vertices.tobytes())
