"""What cutting and mirroring do to a field, against a camera that really does it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import fields
from bicross_jax.ops import inputs

HEIGHT, WIDTH = 12, 20
MATRIX = np.array([[15, 0, 8.5], [0, 16, 4.25], [0, 0, 1]], np.float32)
POINTS = np.array([[-1, 0.5, 4], [0.3, -0.2, 3], [2, 1, 9]], np.float64)  # x right, y down, z


def _project(matrix, points):
  """Columns and rows at which a camera sees points, pixel centres at whole numbers."""
  image = points @ np.asarray(matrix, np.float64).T
  return image[:, :2] / image[:, 2:]


def test_a_mirrored_camera_sees_the_mirrored_world():
  """The mirror image of a view is the view of the mirrored scene: x -> -x."""
  seen = _project(MATRIX, POINTS)
  mirrored = fields.mirror(fields.get("intrinsics"), MATRIX[None], WIDTH)[0]
  want = np.stack([WIDTH - 1 - seen[:, 0], seen[:, 1]], 1)
  np.testing.assert_allclose(_project(mirrored, POINTS * [-1, 1, 1]), want, rtol=1e-6)


def test_a_camera_that_stands_on_its_head_sees_the_world_upside_down():
  seen = _project(MATRIX, POINTS)
  turned = fields.upend(fields.get("intrinsics"), MATRIX[None], HEIGHT)[0]
  want = np.stack([seen[:, 0], HEIGHT - 1 - seen[:, 1]], 1)
  np.testing.assert_allclose(_project(turned, POINTS * [1, -1, 1]), want, rtol=1e-6)
  assert fields.upend(fields.get("baseline"), np.float32([0.5]), HEIGHT) == np.float32(0.5)


def test_a_mirrored_stereo_pair_has_its_partner_on_the_other_side():
  """Disparity f b / z of the partner at +b; in the mirrored pair the partner stands at -b."""
  baseline = 0.5
  left = _project(MATRIX, POINTS)[:, 0]
  right = _project(MATRIX, POINTS - [baseline, 0, 0])[:, 0]
  matrix = fields.mirror(fields.get("intrinsics"), MATRIX[None], WIDTH)[0]
  b = fields.mirror(fields.get("baseline"), np.float32([baseline]), WIDTH)[0]
  flipped = POINTS * [-1, 1, 1]
  np.testing.assert_allclose(_project(matrix, flipped)[:, 0], WIDTH - 1 - left, rtol=1e-6)
  partner = _project(matrix, flipped - [b, 0, 0])[:, 0]
  np.testing.assert_allclose(partner, WIDTH - 1 - right, rtol=1e-6)


def test_a_cut_moves_the_principal_point_with_its_corner():
  box = (3, 5, 8, 10)
  matrix = fields.cut(fields.get("intrinsics"), MATRIX, box)
  np.testing.assert_allclose(_project(matrix, POINTS), _project(MATRIX, POINTS) - [5, 3], rtol=1e-6)
  crop = fields.cut(fields.get("crop"), np.array([100, 7, HEIGHT, WIDTH], np.int32), box)
  assert crop.tolist() == [103, 12, 8, 10]
  assert fields.cut(fields.get("baseline"), np.float32(0.5), box) == np.float32(0.5)


@pytest.mark.parametrize("name", [n for n, f in fields.FIELDS.items() if f.kind == "map"])
def test_every_map_is_cut_and_mirrored_along_its_pixel_axes(name):
  """Events [H, W, T, C] too: nothing is turned upside down."""
  field = fields.get(name)
  shape = {"events": (2, HEIGHT, WIDTH, 3, 4), "depth": (2, HEIGHT, WIDTH)}
  shape = shape.get(name, (2, HEIGHT, WIDTH, 2))
  x = fields.random(np.random.default_rng(0), field, shape, field.dtypes[0])
  np.testing.assert_array_equal(fields.mirror(field, x, WIDTH), np.flip(x, 2))
  np.testing.assert_array_equal(fields.upend(field, x, HEIGHT), np.flip(x, 1))
  np.testing.assert_array_equal(fields.cut(field, x[0], (2, 3, 4, 5)), x[0][2:6, 3:8])


@pytest.mark.parametrize("vertical", [False, True])
def test_random_flips_take_whole_examples(vertical):
  rng = np.random.default_rng(1)
  shapes = {
    "rgb": ((64, 4, 6, 3), np.uint8),
    "events": ((64, 4, 6, 2, 4), np.uint16),
    "depth": ((64, 4, 6), np.float32),
    "intrinsics": ((64, 3, 3), np.float32),
    "baseline": ((64,), np.float32),
    "mine": ((64, 4, 6), np.float32),
  }
  own = {"mine": fields.Field("map", ("float32",), high=1)}
  batch = {n: fields.random(rng, fields.get(n, own), s, t) for n, (s, t) in shapes.items()}
  turn, size = (fields.upend, 4) if vertical else (fields.mirror, 6)
  flip = lambda share: inputs.random_flip(
    jax.random.key(0), batch, own, share=share, vertical=vertical
  )
  out = jax.device_get(flip(0.5))
  flipped = (out["depth"] != batch["depth"]).any((1, 2))
  assert 16 < flipped.sum() < 48
  np.testing.assert_array_equal(jax.device_get(flip(0.0))["rgb"], batch["rgb"])
  for name, x in batch.items():
    want = np.asarray(turn(fields.get(name, own), x, size))
    np.testing.assert_array_equal(out[name][flipped], want[flipped], name)
    np.testing.assert_array_equal(out[name][~flipped], x[~flipped], name)
    assert out[name].dtype == x.dtype


def test_random_flips_need_declared_fields_and_maps_of_one_width():
  with pytest.raises(KeyError, match="mine"):
    inputs.random_flip(jax.random.key(0), {"mine": jnp.zeros((2, 4, 6))})
  with pytest.raises(ValueError, match="no map"):
    inputs.random_flip(jax.random.key(0), {"baseline": jnp.zeros(2)})
  with pytest.raises(ValueError, match=r"\[4, 6\]"):
    both = {"rgb": jnp.zeros((2, 4, 6, 3)), "depth": jnp.zeros((2, 4, 4))}
    inputs.random_flip(jax.random.key(0), both)


@pytest.mark.parametrize("name", fields.FIELDS)
def test_random_numbers_are_such_as_the_field_may_hold(name):
  field = fields.get(name)
  shape = (5, 3, 3) if field.kind == "intrinsics" else (5, 4, 4)
  for dtype in field.dtypes:
    x = fields.random(np.random.default_rng(0), field, shape, dtype)
    assert x.dtype == dtype and x.shape == shape
    assert np.isfinite(x).all()
  if name == "baseline":  # metres of a rig, not of a street
    assert 0.05 < x.min() and x.max() < 1
  if name == "label":
    assert x.max() < 255


def test_kinds_are_known():
  assert {f.kind for f in fields.FIELDS.values()} <= set(fields.KINDS)
  assert fields.maps(["baseline", "rgb", "intrinsics", "depth"]) == ["rgb", "depth"]
  assert [n for n, f in fields.FIELDS.items() if f.truth] == ["depth", "depth_before", "label"]
