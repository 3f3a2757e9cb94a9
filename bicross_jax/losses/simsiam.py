"""Two views of one thing look alike to a network that has learnt what both show (Chen and He, CVPR 2021)."""

import jax
import jax.numpy as jnp

from bicross_jax.losses import pooled

_TINY = 1e-8  # least length of a vector


def simsiam(
  predicted: tuple[jax.Array, jax.Array],
  projected: tuple[jax.Array, jax.Array],
  axis_name: str | None = None,
) -> jax.Array:
  """-(cos(p_a, z_b) + cos(p_b, z_a)) / 2, the mean over all pixels, in -1..1: float32[].

  Args:
    predicted: p_a and p_b, what the predictor makes of the projections, float32[..., C].
    projected: z_a and z_b, the projections of the views a and b; no gradient goes into them.
    axis_name: the mapped axis the batch is split over, or None.
  """
  p_a, p_b = predicted
  z_a, z_b = map(jax.lax.stop_gradient, projected)
  return -(pooled.mean(cosine(p_a, z_b), axis_name) + pooled.mean(cosine(p_b, z_a), axis_name)) / 2


def cosine(a: jax.Array, b: jax.Array) -> jax.Array:
  """The cosine of the angle between vectors [..., C]: float32[...]; 0 where one has length 0."""
  return (a * b).sum(-1) / (_length(a) * _length(b))


def _length(x):
  return jnp.sqrt(jnp.maximum((x * x).sum(-1), _TINY**2))
