"""The fine branch of cross-modality distillation: pixel-wise features where they are trusted."""

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.losses import pooled


def feature_mse(
  student: jax.Array,
  teacher: jax.Array,
  weights: jax.Array | None = None,
  *,
  axis_name: str | None = None,
) -> jax.Array:
  """Mean squared difference of two feature maps over the global batch.

  Without weights: mean over all elements of (s - t)^2. With weights w: sum over pixels of
  w * mean over channels (s - t)^2, divided by sum w; 0 (with zero gradients) where all weights
  are 0. The division keeps the loss on one scale however many pixels the filter lets through.
  No gradient reaches the teacher. Source: BiCross (path_4 of the RGB and the spike network).

  Args:
    student: float[B, h, w, C].
    teacher: float[B, h, w, C].
    weights: float[B, h, w], not negative, or None; no gradient reaches them.
    axis_name: the mapped axis the batch is split over, or None.
  """
  pooled.same_shape(student=student, teacher=teacher)
  teacher = jax.lax.stop_gradient(teacher).astype(jnp.float32)
  squares = jnp.mean(jnp.square(student.astype(jnp.float32) - teacher), axis=-1)
  if weights is None:
    weights = jnp.ones_like(squares)
  pooled.same_shape(feature_pixels=squares, weights=weights)
  weights = jax.lax.stop_gradient(weights).astype(jnp.float32)
  total = pooled.total(jnp.where(weights > 0, weights * squares, 0.0), axis_name)
  return pooled.ratio(total, pooled.total(weights, axis_name))


def cfkd_filter(
  u_rgb: jax.Array,
  u_spike: jax.Array,
  valid: jax.Array,
  shape: tuple[int, int],
  *,
  axis_name: str | None = None,
) -> jax.Array:
  """Where the teacher is sure and the student is not (BiCross, "CFKD uncertainty filter").

  A pixel passes when it is valid, its RGB uncertainty lies below the median of RGB uncertainties
  over the valid pixels of the global batch, and its spike uncertainty above the median of its
  own. The 0/1 map is averaged over the area of each feature pixel. The paper gives no thresholds;
  the medians are ours.

  Args:
    u_rgb, u_spike: float[B, H, W], uncertainties of the two networks (any monotone scale).
    valid: bool[B, H, W].
    shape: (h, w) of the feature map.
    axis_name: the mapped axis the batch is split over, or None.

  Returns:
    float32[B, h, w] in 0..1, without a gradient.
  """
  pooled.same_shape(u_rgb=u_rgb, u_spike=u_spike, valid=valid)
  u_rgb, u_spike = jax.lax.stop_gradient((u_rgb, u_spike))
  sure = u_rgb < pooled.masked_median(u_rgb, valid, axis_name)
  unsure = u_spike > pooled.masked_median(u_spike, valid, axis_name)
  passed = (valid & sure & unsure).astype(jnp.float32)
  rows, columns = (_area_matrix(n, m) for n, m in zip(passed.shape[1:], shape, strict=True))
  return jnp.einsum("hH,bHW,wW->bhw", rows, passed, columns, precision="highest")


def _area_matrix(size, parts):
  """float32[parts, size]: row i averages the i-th of `parts` equal stretches of `size` pixels."""
  edges = np.linspace(0, size, parts + 1)
  pixel = np.arange(size)
  ends = np.minimum(edges[1:, None], pixel + 1)
  starts = np.maximum(edges[:-1, None], pixel)
  return (np.clip(ends - starts, 0, None) * (parts / size)).astype(np.float32)
