"""Bilinear sampling of images at real-valued pixel coordinates, and warping by disparity."""

import jax
import jax.numpy as jnp

PADDINGS = ("border", "zeros")


def sample(image: jax.Array, xy: jax.Array, *, padding: str = "border") -> jax.Array:
  """Samples an image bilinearly, differentiably in both arguments.

  Equal to torch's `grid_sample` with the same padding (whose coordinates are normalised; here
  they are pixels: 0 is the centre of the first column or row).

  Args:
    image: float[B, H, W, C].
    xy: float[B, h, w, 2], column and row of every sample.
    padding: what lies outside: "border" repeats the edge (and has no gradient in xy there),
      "zeros" is 0.

  Returns:
    float[B, h, w, C].

  Raises:
    ValueError: shapes that do not fit, or an unknown padding.
  """
  if image.ndim != 4 or xy.ndim != 4 or xy.shape[-1] != 2 or image.shape[0] != xy.shape[0]:
    raise ValueError(f"expected [B, H, W, C] and [B, h, w, 2], got {image.shape} and {xy.shape}")
  if padding not in PADDINGS:
    raise ValueError(f"padding is {padding!r}, not one of {PADDINGS}")
  b, rows, columns, c = image.shape
  _, h, w, _ = xy.shape
  x, y = xy[..., 0].reshape(b, h * w), xy[..., 1].reshape(b, h * w)
  if padding == "border":
    x, y = jnp.clip(x, 0, columns - 1), jnp.clip(y, 0, rows - 1)
  left, top = jnp.floor(x), jnp.floor(y)
  flat, total = image.reshape(b, rows * columns, c), 0.0
  for row, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
    for column, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
      inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
      # Clipped before the conversion, so that no coordinate overflows an integer.
      i = jnp.clip(row, 0, rows - 1).astype(jnp.int32)
      j = jnp.clip(column, 0, columns - 1).astype(jnp.int32)
      values = jnp.take_along_axis(flat, (i * columns + j)[..., None], axis=1)
      total += jnp.where(inside, weight_y * weight_x, 0.0)[..., None] * values
  return total.reshape(b, h, w, c)


def warp_by_disparity(right: jax.Array, disparity: jax.Array) -> jax.Array:
  """The left view made of the right image: left(x, y) = right(x - disparity(x, y), y).

  Rectified cameras see a point in one row, so this is `sample` along rows alone, where samples beyond
  the edge take the edge (and have no gradient in the disparity).

  Args:
    right: float[B, H, W, C].
    disparity: float[B, H, W] of the left view, pixels; f * baseline / depth where the partner
      is to the right. A left partner has negative disparities.

  Returns:
    float[B, H, W, C].

  Raises:
    ValueError: shapes that do not fit.
  """
  if right.ndim != 4 or disparity.shape != right.shape[:3]:
    raise ValueError(f"expected [B, H, W, C] and [B, H, W], got {right.shape}, {disparity.shape}")
  b, h, w, c = right.shape
  x = jnp.arange(w, dtype=disparity.dtype)[None, None, :] - disparity
  x = jnp.clip(x, 0, w - 1)
  left = jnp.minimum(jnp.floor(x), max(w - 2, 0))
  # A pixel and the next one of its row lie side by side, so that both are one look-up.
  pairs = jnp.concatenate([right, jnp.roll(right, -1, axis=2)], axis=-1).reshape(b * h * w, 2 * c)
  row = w * jnp.arange(b * h, dtype=jnp.int32).reshape(b, h, 1)
  found = jnp.take(pairs, row + left.astype(jnp.int32), axis=0, mode="clip")
  near, far = jnp.split(found, 2, axis=-1)
  return near + (x - left)[..., None] * (far - near)
