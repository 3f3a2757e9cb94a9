"""Losses between a predicted and a true depth map, pooled over the valid pixels of the batch.

All take prediction and target float[B, H, W] in metres, mask bool[B, H, W], and `axis_name`, the
mapped axis the batch is split over (or None). They return float32[]; a batch without a valid
pixel gives 0 with zero gradients. Source: BiCross, `BiCross/Loss.py`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bicross_jax.losses import pooled


def sig(
  prediction: jax.Array, target: jax.Array, mask: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """Scale-invariant logarithmic loss (Eigen et al. 2014, as BiCross weighs it).

  g = log(d + 0.1) - log(gt + 0.1) over the n valid pixels of the global batch;
  sqrt(var(g) + 0.15 mean(g)^2), var with the divisor n - 1 (0 for a single pixel). The gradient
  where the loss is exactly 0 is taken as 0. Predictions must be above -0.1 m (they are floored
  at 1e-3 m by the caller).
  """
  pooled.same_shape(prediction=prediction, target=target, mask=mask)
  prediction, target = _inside(prediction, mask), _inside(target, mask)
  g = jnp.log(prediction + 0.1) - jnp.log(target + 0.1)
  n = pooled.total(mask, axis_name)
  mean = pooled.ratio(pooled.total(g, axis_name), n)  # g is 0 outside the mask
  squares = pooled.total(jnp.where(mask, jnp.square(g - mean), 0), axis_name)
  square = pooled.ratio(squares, n - 1) + 0.15 * jnp.square(mean)
  positive = square > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def mse(
  prediction: jax.Array, target: jax.Array, mask: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """Mean of (d - gt)^2 over the valid pixels of the global batch, in square metres."""
  pooled.same_shape(prediction=prediction, target=target, mask=mask)
  difference = _inside(prediction, mask) - _inside(target, mask)
  return pooled.masked_mean(jnp.square(difference), mask, axis_name)


def ssi(
  prediction: jax.Array,
  target: jax.Array,
  mask: jax.Array,
  *,
  axis_name: str | None = None,
  scales: int = 4,
  weight: float = 0.5,
) -> jax.Array:
  """Scale- and shift-invariant loss (Ranftl et al. 2020, MiDaS).

  Each image's prediction is aligned to its target by least squares, e = s d + t - gt over its
  valid pixels. The loss is sum(e^2) / (2 n) + weight * sum over scales k of R_k, with n the valid
  pixels of the global batch and R_k the sum of |e_i - e_j| over neighbours (right and down, both
  valid) in every 2^k-th row and column, over the number of valid pixels there. Gradients flow
  through s and t. An image whose prediction is constant, or that has one valid pixel, is aligned
  by the shift alone.

  Args:
    scales: number of scales of R, at strides 1, 2, 4, ...
    weight: of the sum of R_k.
  """
  pooled.same_shape(prediction=prediction, target=target, mask=mask)
  prediction, target = _inside(prediction, mask), _inside(target, mask)
  error = jnp.where(mask, _align(prediction, target, mask) - target, 0.0)
  loss = 0.5 * pooled.masked_mean(jnp.square(error), mask, axis_name)
  for k in range(scales):
    loss += weight * _roughness(error[:, :: 2**k, :: 2**k], mask[:, :: 2**k, :: 2**k], axis_name)
  return loss


Loss = Callable[..., jax.Array]
LOSSES: dict[str, Loss] = {"sig": sig, "ssi": ssi, "mse": mse}


def _inside(x, mask):
  """x as float32, with ones outside the mask, so that no invalid pixel enters the arithmetic."""
  return jnp.where(mask, x.astype(jnp.float32), 1.0)


def _align(prediction, target, mask):
  """s * prediction + t of each image, s and t by least squares over its valid pixels."""

  def image_sum(x):
    return jnp.sum(jnp.where(mask, x, 0.0), axis=(1, 2), keepdims=True)

  n = jnp.maximum(jnp.sum(mask, axis=(1, 2), keepdims=True, dtype=jnp.float32), 1.0)
  mean_p, mean_t = image_sum(prediction) / n, image_sum(target) / n
  p, t = prediction - mean_p, target - mean_t
  variance, covariance = image_sum(p * p) / n, image_sum(p * t) / n
  # Below a millionth of the mean, the deviations of a float32 map are rounding.
  varies = variance > 1e-12 * jnp.square(jax.lax.stop_gradient(mean_p))
  scale = jnp.where(varies, covariance, 0.0) / jnp.where(varies, variance, 1.0)
  return scale * p + mean_t


def _roughness(error, mask, axis_name):
  """Sum of |differences| between valid neighbours, over the number of valid pixels."""
  right = jnp.abs(error[:, :, 1:] - error[:, :, :-1])
  down = jnp.abs(error[:, 1:] - error[:, :-1])
  right = jnp.where(mask[:, :, 1:] & mask[:, :, :-1], right, 0.0)
  down = jnp.where(mask[:, 1:] & mask[:, :-1], down, 0.0)
  sums = pooled.total(right, axis_name) + pooled.total(down, axis_name)
  return pooled.ratio(sums, pooled.total(mask, axis_name))
