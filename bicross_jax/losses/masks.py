"""Which pixels count: a depth range and a crop of the frame."""

import jax
import jax.numpy as jnp
import numpy as np

# Fractions of the frame: top, bottom (of its height), left, right (of its width).
CROPS = {
  "none": (0.0, 1.0, 0.0, 1.0),
  "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
  "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}


def crop_box(crop: str, height: int, width: int) -> tuple[int, int, int, int]:
  """First and end row, first and end column of a crop, in pixels (fractions rounded down).

  Args:
    crop: "none", "garg" (Garg et al. 2016, used by BiCross) or "eigen" (Eigen et al. 2014, as
      commonly evaluated on 375-row KITTI frames).
    height, width: of the frame, in pixels.

  Raises:
    ValueError: for an unknown crop.
  """
  if crop not in CROPS:
    raise ValueError(f"unknown crop {crop!r}; known: {', '.join(CROPS)}")
  top, bottom, left, right = CROPS[crop]
  return int(top * height), int(bottom * height), int(left * width), int(right * width)


def crop_mask(crop: str, height: int, width: int) -> np.ndarray:
  """bool[height, width], True inside the crop (see `crop_box`)."""
  top, bottom, left, right = crop_box(crop, height, width)
  mask = np.zeros((height, width), bool)
  mask[top:bottom, left:right] = True
  return mask


def valid(
  depth: jax.Array,
  *,
  min_depth: float = 1e-3,
  max_depth: float = 80.0,
  crop: str = "garg",
  rows: jax.Array | None = None,
) -> jax.Array:
  """Pixels that a supervised loss counts: min < depth < max, inside the crop (bicross.md 3).

  Args:
    depth: float32[B, H, W] metres, 0 = unknown. For pseudo-labels, the teacher's depth.
    min_depth, max_depth: metres, both exclusive. NaN and infinities never count.
    crop: see `crop_box`.
    rows: bool[B], False for rows that only pad the batch (the field `mask`), or None.

  Returns:
    bool[B, H, W].
  """
  if depth.ndim != 3:
    raise ValueError(f"depth must be [B, H, W], got {depth.shape}")
  inside = crop_mask(crop, *depth.shape[1:])
  mask = (depth > min_depth) & (depth < max_depth) & jnp.asarray(inside)[None]
  if rows is None:
    return mask
  if rows.shape != depth.shape[:1]:
    raise ValueError(f"rows {rows.shape} does not fit depth {depth.shape}")
  return mask & rows[:, None, None]
