"""Losses that teach the uncertainty head how wrong the depth is.

All take uncertainty, prediction (metres) and target (metres), float[B, H, W], mask bool[B, H, W],
and `axis_name`, the mapped axis the batch is split over (or None). They return float32[], a mean
over the valid pixels of the global batch; a batch without a valid pixel gives 0 with zero
gradients. `detach` (default) keeps their gradients out of the depth; the published code lets
them through. Source: BiCross, `BiCross/Loss.py`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bicross_jax.losses import pooled

FLOOR = 1e-3  # metres; keeps the l1log loss of a confident and wrong pixel finite


def l1(
  uncertainty: jax.Array,
  prediction: jax.Array,
  target: jax.Array,
  mask: jax.Array,
  *,
  detach: bool = True,
  axis_name: str | None = None,
) -> jax.Array:
  """Mean of |u - r|, with the relative error r = clip(|d - gt| / gt, 0, 1)."""
  uncertainty, error, target = _parts(uncertainty, prediction, target, mask, detach)
  residual = jnp.clip(error / target, 0.0, 1.0)
  return pooled.masked_mean(jnp.abs(uncertainty - residual), mask, axis_name)


def l2(
  uncertainty: jax.Array,
  prediction: jax.Array,
  target: jax.Array,
  mask: jax.Array,
  *,
  detach: bool = True,
  axis_name: str | None = None,
) -> jax.Array:
  """Mean of (u - r)^2, with the relative error r = clip(|d - gt| / gt, 0, 1)."""
  uncertainty, error, target = _parts(uncertainty, prediction, target, mask, detach)
  residual = jnp.clip(error / target, 0.0, 1.0)
  return pooled.masked_mean(jnp.square(uncertainty - residual), mask, axis_name)


def l1log(
  uncertainty: jax.Array,
  prediction: jax.Array,
  target: jax.Array,
  mask: jax.Array,
  *,
  detach: bool = True,
  softplus: bool = True,
  axis_name: str | None = None,
) -> jax.Array:
  """Mean of |d - gt| / u + log u: the likelihood of a Laplace distribution of width u (metres).

  Args:
    softplus: u = `width(uncertainty)`, for a head with a linear output (ours). False takes
      the uncertainty as it is, as published; it must then be positive.
  """
  uncertainty, error, _ = _parts(uncertainty, prediction, target, mask, detach)
  u = width(uncertainty) if softplus else uncertainty
  return pooled.masked_mean(error / u + jnp.log(u), mask, axis_name)


def width(uncertainty: jax.Array) -> jax.Array:
  """The positive width in metres that `l1log` reads from a linear head: softplus(x) + 1e-3."""
  return jax.nn.softplus(uncertainty) + FLOOR


Loss = Callable[..., jax.Array]
LOSSES: dict[str, Loss] = {"l1": l1, "l2": l2, "l1log": l1log}


def _parts(uncertainty, prediction, target, mask, detach):
  """Uncertainty, |prediction - target| and target as float32, harmless outside the mask."""
  pooled.same_shape(uncertainty=uncertainty, prediction=prediction, target=target, mask=mask)
  if detach:
    prediction = jax.lax.stop_gradient(prediction)

  def inside(x):
    return jnp.where(mask, x.astype(jnp.float32), 1.0)

  target = inside(target)
  return inside(uncertainty), jnp.abs(inside(prediction) - target), target
