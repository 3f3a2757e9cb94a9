import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.losses import masks


@pytest.mark.parametrize(
  "height,width,box",
  [
    (375, 1242, (153, 371, 44, 1197)),
    (352, 1216, (143, 349, 43, 1172)),
    (96, 160, (39, 95, 5, 154)),
  ],
)
def test_garg_crop_rounds_down(height, width, box):
  # 375x1242 is the published crop of KITTI frames (Garg et al.).
  assert masks.crop_box("garg", height, width) == box
  rows, columns = np.nonzero(masks.crop_mask("garg", height, width))
  assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == box
  assert len(rows) == (box[1] - box[0]) * (box[3] - box[2])


def test_other_crops():
  assert masks.crop_box("none", 96, 160) == (0, 96, 0, 160)
  assert masks.crop_box("eigen", 375, 1242) == (124, 342, 44, 1197)
  with pytest.raises(ValueError, match="gargg.*none, garg, eigen"):
    masks.crop_box("gargg", 96, 160)


def test_range_is_exclusive_and_odd_values_are_left_out():
  depth = jnp.array([0.0, 1e-3, 0.0011, 79.9, 80.0, jnp.inf, jnp.nan, -1.0]).reshape(1, 1, 8)
  got = masks.valid(depth, crop="none")
  np.testing.assert_array_equal(got[0, 0], [0, 0, 1, 1, 0, 0, 0, 0])
  wider = masks.valid(depth, crop="none", min_depth=0.0, max_depth=100.0)
  np.testing.assert_array_equal(wider[0, 0], [0, 1, 1, 1, 1, 0, 0, 0])


def test_crop_and_padding_rows():
  depth = jnp.full((2, 20, 30), 5.0)
  got = masks.valid(depth, rows=jnp.array([True, False]))
  np.testing.assert_array_equal(got[0], masks.crop_mask("garg", 20, 30))
  assert not got[1].any()
  with pytest.raises(ValueError, match="rows"):
    masks.valid(depth, rows=jnp.ones(3, bool))
  with pytest.raises(ValueError, match=r"\[B, H, W\]"):
    masks.valid(depth[..., None])
