"""What predict.py leaves of a depth map."""

import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.tasks.depth import files


def test_metres_the_16_bit_png_and_the_uncertainty(tmp_path):
  depth = np.random.default_rng(0).uniform(1, 80, (6, 8)).astype(np.float32)
  depth[0, :5] = np.nan, np.inf, -np.inf, -3, 1e8
  made = files.write(tmp_path / "new", "a", {"depth": depth, "uncertainty": depth})
  assert [p.name for p in made] == ["a_depth.npy", "a_depth.png", "a_uncertainty.npy"]
  assert sorted(made) == sorted((tmp_path / "new").iterdir())
  want = depth.copy()
  want[0, :4] = 0, 0, 0, files.NEAREST  # unknown where it is no number, and never behind us
  got = np.load(made[0])
  np.testing.assert_array_equal(got, want)
  assert got.dtype == np.float32
  png = depth_files.read_png16(made[1], 256.0)
  np.testing.assert_allclose(png, np.minimum(want, files.FARTHEST), atol=1 / 256)
  np.testing.assert_array_equal(np.load(made[2]), depth)


def test_a_point_cloud_where_the_camera_is_known(tmp_path):
  """Every point projects onto the pixel that it came from, and has its colour."""
  rng = np.random.default_rng(1)
  depth = rng.uniform(2, 30, (5, 7)).astype(np.float32)
  depth[1, 2] = np.nan
  rgb = rng.integers(0, 256, (5, 7, 3), np.uint8)
  matrix = np.array([[90, 0.5, 3.2], [0, 80, 2.1], [0, 0, 1]], np.float32)
  made = files.write(tmp_path, "c", {"depth": depth, "intrinsics": matrix, "rgb": rgb})
  head, _, body = made[-1].read_bytes().partition(b"end_header\n")
  assert made[-1].name == "c.ply" and b"element vertex 34\n" in head
  assert head.startswith(b"ply\nformat binary_little_endian 1.0\n")
  vertices = np.frombuffer(body, [("p", "<f4", 3), ("c", "u1", 3)])
  pixels = vertices["p"].astype(np.float64) @ matrix.T
  u, v = np.round(pixels[:, :2] / pixels[:, 2:], 3).T
  np.testing.assert_allclose([u, v], np.round([u, v]), atol=1e-3)
  u, v = np.round(u).astype(int), np.round(v).astype(int)
  np.testing.assert_allclose(vertices["p"][:, 2], depth[v, u], rtol=1e-6)
  np.testing.assert_array_equal(vertices["c"], rgb[v, u])
  assert len(set(zip(u, v))) == 34


def test_a_place_that_cannot_be_written(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(errors.UserError, match="file"):
    files.write(tmp_path / "file", "a", {"depth": np.ones((2, 3), np.float32)})
