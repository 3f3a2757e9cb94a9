"""Rotation against Pillow's, and what becomes of labels."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from bicross_jax.ops import rotate

SIZE = (37, 52)
ANGLES = np.array([0.0, 5.0, -3.21, 0.07], np.float32)


@pytest.fixture(scope="module")
def batch():
  rng = np.random.default_rng(0)
  shape = (len(ANGLES), *SIZE)
  return {
    "rgb": rng.integers(0, 256, (*shape, 3), np.uint8),
    "depth": rng.uniform(1, 80, shape).astype(np.float32),
    "label": rng.integers(0, 6, shape, np.uint8),
    "mask": np.ones(len(ANGLES), bool),
  }


@pytest.fixture(scope="module")
def turned(batch):
  run = jax.jit(rotate.rotate, static_argnames="labels")
  return {how: jax.device_get(run(batch, ANGLES, labels=how)) for how in rotate.LABELS}


def _pillow(x, angle, how):
  return np.asarray(Image.fromarray(x).rotate(float(angle), getattr(Image.Resampling, how)))


def test_pictures_are_those_of_pillow_but_for_half_a_level(batch, turned):
  """Pillow cuts what it makes of 8 bits off; of floating numbers it does not."""
  for image, angle, got in zip(batch["rgb"], ANGLES, turned["nearest"]["rgb"], strict=True):
    assert set(np.unique(got - _pillow(image, angle, "BICUBIC").astype(int))) <= {0, 1}
    bands = [_pillow(image[..., c].astype(np.float32), angle, "BICUBIC") for c in range(3)]
    apart = np.abs(np.clip(np.stack(bands, -1), 0, 255) - got)
    assert apart.max() < 0.52 and (apart > 0.5).mean() < 2e-2


def test_published_labels_are_those_of_pillow(batch, turned):
  for depth, angle, got in zip(batch["depth"], ANGLES, turned["bilinear"]["depth"], strict=True):
    np.testing.assert_allclose(got, _pillow(depth, angle, "BILINEAR"), atol=2e-2)


def test_labels_are_the_nearest_pixels_and_unknown_outside(batch, turned):
  """By the geometry: a point at (x, y) from the centre, y down, turns counter-clockwise."""
  height, width = SIZE
  v, u = np.mgrid[:height, :width]
  for i, angle in enumerate(np.radians(ANGLES.astype(np.float64))):
    x, y = u + 0.5 - width / 2, v + 0.5 - height / 2
    column = np.cos(angle) * x - np.sin(angle) * y + width / 2
    row = np.sin(angle) * x + np.cos(angle) * y + height / 2
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = np.clip(row, 0, height - 1).astype(int), np.clip(column, 0, width - 1).astype(int)
    clear = (np.abs(column - np.round(column)) > 1e-3) & (np.abs(row - np.round(row)) > 1e-3)
    assert clear.mean() > 0.97
    for name, unknown in (("depth", 0), ("label", 255)):
      want = np.where(inside, batch[name][i][at], unknown)
      np.testing.assert_array_equal(turned["nearest"][name][i][clear], want[clear])
  corner = turned["nearest"]
  assert (corner["depth"][1:3, 0, 0] == 0).all() and (corner["label"][1:3, 0, 0] == 255).all()
  np.testing.assert_array_equal(corner["mask"], batch["mask"])


def test_no_rotation_changes_nothing(batch, turned):
  for how, got in turned.items():
    for name, x in batch.items():
      np.testing.assert_array_equal(got[name][0], x[0], err_msg=f"{how} {name}")


def test_half_of_the_examples_turn_by_up_to_five_degrees():
  """Told from where a mark at the right edge comes to lie: sin of the angle, counter-clockwise up."""
  size, run = 201, jax.jit(lambda key, batch: rotate.random_rotation(key, batch))
  mark = np.zeros((40, size, size), np.float32)
  mark[:, :, -6] = np.arange(1, size + 1)  # the row it comes from
  moved = []
  for seed in range(5):
    depth = np.asarray(run(jax.random.key(seed), {"depth": mark})["depth"])[:, 100]
    moved += [row[row > 0][0] - 101 if row.any() else np.nan for row in depth]
  moved = np.array(moved)
  assert 0.4 < np.mean(moved == 0) < 0.62
  angles = np.degrees(np.arcsin(moved[moved != 0] / 95))
  assert np.abs(angles).max() < 5.4 and (angles > 3).sum() > 8 and (angles < -3).sum() > 8
  assert abs(np.median(angles)) < 1.2


@pytest.mark.parametrize(
  "more, options, words",
  [
    ({"intrinsics": jnp.zeros((1, 3, 3))}, {}, "intrinsics"),
    ({"label": jnp.zeros((1, 4, 4), jnp.uint8)}, {}, "4, 4"),
    ({}, {"labels": "cubic"}, "cubic"),
  ],
)
def test_what_cannot_be_turned(more, options, words):
  with pytest.raises(ValueError, match=words):
    rotate.rotate({"depth": jnp.zeros((1, 4, 5)), **more}, jnp.zeros(1), **options)
