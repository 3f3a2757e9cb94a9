"""The coarse branch of cross-modality distillation: pairs of pooled features."""

import jax
import jax.numpy as jnp

from bicross_jax.losses import pooled


def contrastive(a: jax.Array, b: jax.Array, *, axis_name: str | None = None) -> jax.Array:
  """Cross-entropy of a b^T against the identity, in nats (BiCross, `BiCross/Loss.py`).

  With rows i over the global batch: mean over i of logsumexp_j(a_i . b_j) - a_i . b_i. Each device
  compares its own rows of `a` with the keys `b` of all devices (`all_gather`).

  Args:
    a: float[B, D], projected RGB features (the rows).
    b: float[B, D], projected spike features of the same scenes (the keys).
    axis_name: the mapped axis the batch is split over, or None.

  Returns:
    float32[]; log of the global batch when all features are equal, 0 for a batch of one.
  """
  pooled.same_shape(a=a, b=b)
  if a.ndim != 2:
    raise ValueError(f"features must be [B, D], got {a.shape}")
  a, b = a.astype(jnp.float32), b.astype(jnp.float32)
  keys = b if axis_name is None else jax.lax.all_gather(b, axis_name, axis=0, tiled=True)
  logits = jnp.matmul(a, keys.T, precision=jax.lax.Precision.HIGHEST)  # [B, global B]
  losses = jax.nn.logsumexp(logits, axis=1) - jnp.sum(a * b, axis=1)
  return pooled.masked_mean(losses, jnp.ones(losses.shape, bool), axis_name)
