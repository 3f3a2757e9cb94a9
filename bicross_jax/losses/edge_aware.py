"""Edge-aware smoothness: edges of a map where the image has none (Godard et al. 2017)."""

import jax
import jax.numpy as jnp

from bicross_jax.losses import pooled
from bicross_jax.ops import gradient


def smoothness(depth: jax.Array, image: jax.Array, axis_name: str | None = None) -> jax.Array:
  """mean |dv d| exp(-mean_c |dv I|) + mean |dh d| exp(-mean_c |dh I|), forward differences: float32[].

  Args:
    depth: float32[B, H, W], in any unit, which is the loss's.
    image: float32[B, H, W, C]; the wider its range, the more its edges allow (Akada et al. 2022: -1..1).
    axis_name: the mapped axis the batch is split over, or None.
  """
  return roughness(depth[None], image, axis_name)[0]


def roughness(maps: jax.Array, image: jax.Array, axis_name: str | None = None) -> jax.Array:
  """`smoothness` of several maps of the same views: float32[K].

  Args:
    maps: float32[K, B, H, W].
    image: float32[B, H, W, C].
    axis_name: the mapped axis the batch is split over, or None.
  """
  total = jnp.zeros(len(maps), maps.dtype)
  for axis in (1, 2):
    calm = jnp.exp(-gradient.absolute(jnp.diff(image, axis=axis)).mean(-1))
    edges = gradient.absolute(jnp.diff(maps, axis=axis + 1)) * calm[None]
    total += jnp.stack([pooled.mean(one, axis_name) for one in edges])
  return total
