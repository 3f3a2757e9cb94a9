"""Which pixels count: a depth range and a crop of the frame."""

import jax
import jax.numpy as jnp

from bicross_jax.ops import crops


def valid(
  depth: jax.Array, *, min_depth: float = 1e-3, max_depth: float = 80.0, crop: str = "garg"
) -> jax.Array:
  """Pixels that a supervised loss counts: min < depth < max, inside the crop.

  Source: BiCross (docs/systems/bicross.md).

  Args:
    depth: float32[B, H, W] metres, 0 = unknown. For pseudo-labels, the teacher's depth.
    min_depth, max_depth: metres, both exclusive. NaN and infinities never count.
    crop: see `ops.crops.box`.

  Returns:
    bool[B, H, W].
  """
  if depth.ndim != 3:
    raise ValueError(f"depth must be [B, H, W], got {depth.shape}")
  inside = crops.mask(crop, *depth.shape[1:])
  return (depth > min_depth) & (depth < max_depth) & jnp.asarray(inside)[None]
