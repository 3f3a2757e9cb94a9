import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.losses import masks
from bicross_jax.ops import crops


def test_range_is_exclusive_and_odd_values_are_left_out():
  depth = jnp.array([0.0, 1e-3, 0.0011, 79.9, 80.0, jnp.inf, jnp.nan, -1.0]).reshape(1, 1, 8)
  got = masks.valid(depth, crop="none")
  np.testing.assert_array_equal(got[0, 0], [0, 0, 1, 1, 0, 0, 0, 0])
  wider = masks.valid(depth, crop="none", min_depth=0.0, max_depth=100.0)
  np.testing.assert_array_equal(wider[0, 0], [0, 1, 1, 1, 1, 0, 0, 0])


def test_crop():
  depth = jnp.full((2, 20, 30), 5.0)
  got = masks.valid(depth, crop="garg")
  np.testing.assert_array_equal(got, np.stack(2 * [crops.mask("garg", 20, 30)]))
  with pytest.raises(ValueError, match=r"\[B, H, W\]"):
    masks.valid(depth[..., None])
