"""Sums, means and medians over the pixels of a batch that is spread over devices.

Each function takes `axis_name`, the mapped axis over which the batch is split, or None on a single
device. Sums and counts are added over that axis (`psum`), so every device holds the value of the
whole batch. The gradient of such a value on one device counts every device once; averaged over the
devices (`pmean` after `grad`) it equals the gradient that one device would find.
"""

import jax
import jax.numpy as jnp

from bicross_jax.ops import collective


def same_shape(**arrays: jax.Array) -> None:
  """Refuses arrays of different shapes.

  Raises:
    ValueError: naming each array and its shape.
  """
  if len({x.shape for x in arrays.values()}) > 1:
    shapes = ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
    raise ValueError(f"arrays of one shape are needed, got {shapes}")


def total(x: jax.Array, axis_name: str | None = None) -> jax.Array:
  """Sum of all elements over all devices: float32[] (bool and integers are counted as float).

  float64 stays what it is.
  """
  local = jnp.sum(x, dtype=jnp.promote_types(x.dtype, jnp.float32))
  return collective.total(local, axis_name)


def ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
  """numerator / denominator, and 0 (with zero gradients) where the denominator is not positive."""
  positive = denominator > 0
  return jnp.where(positive, numerator, 0.0) / jnp.where(positive, denominator, 1.0)


def masked_mean(x: jax.Array, mask: jax.Array, axis_name: str | None = None) -> jax.Array:
  """Mean of x over the mask in the global batch: float32[]; 0 where the mask is empty.

  Args:
    x: float[...]; what lies outside the mask is ignored, NaN included.
    mask: bool[...] of the same shape.
    axis_name: the mapped axis the batch is split over, or None.
  """
  same_shape(x=x, mask=mask)
  return ratio(total(jnp.where(mask, x, 0), axis_name), total(mask, axis_name))


def mean(x: jax.Array, axis_name: str | None = None) -> jax.Array:
  """Mean of all elements over all devices, each of which has as many: float32[]."""
  local = jnp.mean(x, dtype=jnp.promote_types(x.dtype, jnp.float32))
  return collective.mean(local, axis_name)


def masked_median(x: jax.Array, mask: jax.Array, axis_name: str | None = None) -> jax.Array:
  """Median of x over the mask in the global batch: float32[], without a gradient.

  The mean of the two middle values for an even count, as `numpy.median`; see `ranked`. An empty
  mask gives 0.
  """
  n = _count(mask, axis_name)
  low, high = ranked(x, mask, jnp.stack([(n - 1) // 2, n // 2]), axis_name)
  # Half of the difference is added, since low + high may overflow; equal infinities have none.
  return jnp.where(n > 0, jnp.where(low == high, low, low + 0.5 * (high - low)), 0.0)


def ranked(
  x: jax.Array, mask: jax.Array, ranks: jax.Array, axis_name: str | None = None
) -> jax.Array:
  """The values of x over the mask that have some ranks in the global batch, without a gradient.

  Exact: values are found bit by bit among the ordered float32 codes, with one count over the
  devices a bit, so that no device has to gather or sort the whole batch. NaN counts as larger than
  infinity.

  Args:
    x: float[...].
    mask: bool[...] of the same shape.
    ranks: int32[K], 0 for the smallest.
    axis_name: the mapped axis the batch is split over, or None.

  Returns:
    float32[K].
  """
  same_shape(x=x, mask=mask)
  codes, mask = _ordered_code(jax.lax.stop_gradient(x)).ravel(), mask.ravel()

  def refine(i, found):  # the largest code with no more than `rank` values below it
    candidates = found | (jnp.uint32(1) << (31 - i).astype(jnp.uint32))
    below = [_count(mask & (codes < candidate), axis_name) for candidate in candidates]
    return jnp.where(jnp.stack(below) <= ranks, candidates, found)

  return _value_of_code(jax.lax.fori_loop(0, 32, refine, jnp.zeros(ranks.shape, jnp.uint32)))


def _count(selected, axis_name):
  """int32[], over all devices."""
  local = jnp.sum(selected, dtype=jnp.int32)
  return collective.total(local, axis_name)


def _ordered_code(x):
  """float -> uint32 with the same order (sign bit flipped; all bits where negative)."""
  bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
  sign = jnp.uint32(1 << 31)
  return jnp.where((bits & sign) != 0, ~bits, bits | sign)


def _value_of_code(codes):
  sign = jnp.uint32(1 << 31)
  bits = jnp.where((codes & sign) != 0, codes ^ sign, ~codes)
  return jax.lax.bitcast_convert_type(bits, jnp.float32)
