"""Losses of the residual R = prediction - target, as StereoSpike trains (Rancon et al. 2021, Eq. 2).

Maps may be in any label space (`ops.label_space`). Sums and counts are pooled over the global batch
along `axis_name`; a batch without a valid pixel gives 0 with zero gradients. Equations:
docs/systems/stereospike.md.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.losses import pooled
from bicross_jax.ops import gradient as ops_gradient

_SMOOTH = np.array([1, 2, 1], np.float32)  # Sobel's kernel is this times (1, 0, -1), not normalised


def variance(
  prediction: jax.Array, target: jax.Array, mask: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """The scale-invariant loss with lambda = 1: mean(R^2) - mean(R)^2 over all valid pixels.

  It does not change when a constant is added to the prediction.

  Args:
    prediction, target: float[B, H, W].
    mask: bool[B, H, W].
    axis_name: the mapped axis the batch is split over, or None.

  Returns:
    float32[], at least 0.
  """
  residual = _residual(prediction, target, mask)
  mean = pooled.masked_mean(residual, mask, axis_name)
  return pooled.masked_mean(jnp.square(residual - mean), mask, axis_name)


def gradient_matching(
  prediction: jax.Array, target: jax.Array, mask: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """The multi-scale gradient loss at one scale: sum(|Gx * R| + |Gy * R|) / number of valid pixels.

  R is 0 at invalid pixels and beyond the frame, and the sum is over the valid pixels, so that those
  beside an edge of what is known hold a constant error down. Gx, Gy are Sobel's kernels, not
  normalised.

  Args:
    prediction, target, mask, axis_name: as for `variance`.

  Returns:
    float32[].
  """
  residual = jnp.pad(_residual(prediction, target, mask), ((0, 0), (1, 1), (1, 1)))
  size = ops_gradient.absolute
  edges = size(_sobel(residual, 2, 1)) + size(_sobel(residual, 1, 2))
  return pooled.masked_mean(edges, mask, axis_name)


def absolute(
  prediction: jax.Array, target: jax.Array, mask: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """mean |R| over the valid pixels, which `variance` leaves a constant of free: float32[]."""
  return pooled.masked_mean(jnp.abs(_residual(prediction, target, mask)), mask, axis_name)


def several(
  predictions: Sequence[jax.Array],
  target: jax.Array,
  mask: jax.Array,
  *,
  weights: Sequence[float],
  gradient: float = 0.5,
  constant: float = 0.0,
  axis_name: str | None = None,
) -> dict[str, jax.Array]:
  """The parts of StereoSpike's loss; the loss is their sum.

  Args:
    predictions: the maps of a network, float[B, H, W] each.
    target, mask, axis_name: as for `variance`.
    weights: of each map.
    gradient: weight of `gradient_matching` (alpha).
    constant: weight of `absolute`, which is not in the paper; 0 leaves it out.

  Returns:
    {"variance", "gradient"} and with `constant` "absolute": float32[] each, weighted.
  """
  terms = {"variance": (variance, 1.0), "gradient": (gradient_matching, gradient)}
  if constant:
    terms["absolute"] = (absolute, constant)
  pairs = list(zip(predictions, weights, strict=True))
  return {
    name: scale * sum(w * loss(x, target, mask, axis_name=axis_name) for x, w in pairs)
    for name, (loss, scale) in terms.items()
  }


def activity(spikes: Mapping[str, jax.Array], axis_name: str | None = None) -> jax.Array:
  """The spike penalty: the sum over tensors of mean(s^2) / 2 over the global batch: float32[].

  Args:
    spikes: {name: float[...]}, tensors whose activity costs.
    axis_name: the mapped axis the batch is split over, or None.
  """

  def one(s):
    return 0.5 * pooled.total(jnp.square(s), axis_name) / pooled.total(jnp.ones_like(s), axis_name)

  return sum((one(s.astype(jnp.float32)) for s in spikes.values()), jnp.zeros(()))


def _residual(prediction, target, mask):
  """float32[B, H, W], 0 where invalid, whatever stands there."""
  pooled.same_shape(prediction=prediction, target=target, mask=mask)
  inside = lambda x: jnp.where(mask, x.astype(jnp.float32), 0)
  return inside(prediction) - inside(target)


def _sobel(x, along, across):
  """Differences over two pixels along one axis of a padded map, smoothed along the other."""
  size = x.shape[along]
  edge = jax.lax.slice_in_dim(x, 0, size - 2, axis=along)
  edge -= jax.lax.slice_in_dim(x, 2, size, axis=along)
  cut = lambda k: jax.lax.slice_in_dim(edge, k, k + x.shape[across] - 2, axis=across)
  return sum(_SMOOTH[k] * cut(k) for k in range(3))
