"""The head that BiCross puts on pooled features: to contrast them, or to tell their domain."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax import errors
from bicross_jax.models import dpt, layers


class ProjectionHead(nn.Module):
  """Mean pool, linear, batch norm, ReLU, linear: [B, h, w, C] -> float32[B, features].

  Distillation (CFKD) puts one behind `layer_4` of each of its two networks (768 -> 512 -> 256);
  the domain head of the cross-domain stage is one with 256 hidden channels and two outputs, the
  logits of the domains (docs/systems/bicross.md). The running variance is the biased one, where
  torch keeps the unbiased one.

  Attributes:
    hidden: channels of the inner layer.
    features: channels of the result.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type of the linear layers, "float32" or "bfloat16".
  """

  hidden: int = 512
  features: int = 256
  axis_name: str | None = None
  dtype: str = "float32"

  def __post_init__(self):
    if self.dtype not in dpt.DTYPES:
      raise errors.UserError(
        f"projection_head: dtype is {self.dtype!r}, not one of {', '.join(dpt.DTYPES)}"
      )
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """With `train`, normalises by the batch and updates `batch_stats` (apply it mutable).

    Raises:
      ValueError: x is not [B, h, w, C].
    """
    if x.ndim != 4:
      raise ValueError(f"expected [B, h, w, C], got {x.shape}")
    dtype: Any = jnp.dtype(self.dtype)
    x = x.astype(jnp.float32).mean((1, 2))
    x = nn.Dense(self.hidden, dtype=dtype, name="linear1")(x)
    x = nn.relu(layers.BatchNorm(train, self.axis_name, name="norm")(x))
    return nn.Dense(self.features, dtype=dtype, name="linear2")(x).astype(jnp.float32)
