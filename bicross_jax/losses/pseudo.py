"""Which pixels of a teacher are good enough to learn from, without any label (BiCross, SCTS)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bicross_jax.losses import pooled


def trusted(uncertainty: jax.Array, valid: jax.Array, *, axis_name: str | None = None) -> jax.Array:
  """The valid pixels whose uncertainty lies below its median over the global batch.

  Args:
    uncertainty: float[B, H, W], of any monotone scale; no gradient reaches it.
    valid: bool[B, H, W], where the teacher's depth itself is in range and crop.
    axis_name: the mapped axis the batch is split over, or None.

  Returns:
    bool[B, H, W].
  """
  pooled.same_shape(uncertainty=uncertainty, valid=valid)
  uncertainty = jax.lax.stop_gradient(uncertainty)
  return valid & (uncertainty < pooled.masked_median(uncertainty, valid, axis_name))


def disagreement(a: jax.Array, b: jax.Array) -> jax.Array:
  """|log a - log b| of two depth maps in metres, float32[B, H, W], without a gradient."""
  pooled.same_shape(a=a, b=b)
  return jax.lax.stop_gradient(jnp.abs(jnp.log(a) - jnp.log(b)))


def spread(depths: jax.Array) -> jax.Array:
  """Standard deviation of log depth over views: float32[V, B, H, W] -> [B, H, W], no gradient."""
  return jax.lax.stop_gradient(jnp.std(jnp.log(depths), axis=0))


def view_spread(
  look: Callable[[jax.Array], jax.Array], spike: jax.Array, shaken: jax.Array, depth: jax.Array
) -> jax.Array:
  """`spread` of a network over a stream, its mirror image and an augmented version of it.

  Args:
    look: the network, uint8[2 B, H, W, T/8] -> depth in metres, float32[2 B, h, w], positive.
    spike: uint8[B, H, W, T/8], packed along time.
    shaken: the same streams, augmented in a way that leaves every pixel its depth.
    depth: what the network says of `spike`.

  Returns:
    float32[B, h, w], without a gradient.
  """
  mirrored, moved = jnp.split(look(jnp.concatenate([spike[:, :, ::-1], shaken])), 2)
  return spread(jnp.stack([depth, mirrored[:, :, ::-1], moved]))
