"""Atrous spatial pyramid pooling (Chen et al. 2017, "Rethinking Atrous Convolution", section 3.3)."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import layers

DILATIONS = {16: (6, 12, 18), 8: (12, 24, 36)}  # output stride -> of the three 3x3 convolutions
_DROPOUT = 0.5


class ASPP(nn.Module):
  """Looks at several scales at once, float[B, h, w, C] -> dtype[B, h, w, features].

  A 1x1 convolution, three 3x3 ones and the mean of the map, each with norm and ReLU; beside each other they
  go through a last 1x1 convolution, norm, ReLU and dropout.

  Attributes:
    features: channels of every branch and of the result.
    dilations: of the 3x3 convolutions.
    dropout: whether there is one, in training (needs the rng "dropout").
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  features: int = 256
  dilations: tuple[int, ...] = DILATIONS[16]
  dropout: bool = True
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    given = dict(train=train, axis_name=self.axis_name, dtype=self.dtype)
    branch = functools.partial(layers.conv_norm, **given)
    found = [branch(x, self.features, 1, name="1")]
    for i, dilation in enumerate(self.dilations, 2):
      found.append(branch(x, self.features, 3, dilation=dilation, name=str(i)))
    mean = x.astype(jnp.float32).mean((1, 2), keepdims=True)
    mean = branch(mean, self.features, 1, name="_pool")
    found.append(jnp.broadcast_to(mean, found[0].shape))
    x = nn.relu(jnp.concatenate(found, axis=-1))
    x = nn.relu(branch(x, self.features, 1, name="_out"))
    return nn.Dropout(_DROPOUT if self.dropout else 0.0, deterministic=not train)(x)
