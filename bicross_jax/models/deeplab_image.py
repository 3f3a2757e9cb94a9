"""What EvDistill's networks make of their decoder's map in training: an image of the input's size.

Of Wang et al. 2021 (EvDistill), as its repository has it (`modeling/deeplab.py`). Prediction does without.
"""

import functools
from typing import Any

from einops import rearrange
import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import layers

COLOURS = 3


class Residual(nn.Module):
  """Two 3x3 convolutions beside one of 1x1 without bias, [B, H, W, C] -> dtype[B, H, W, C]."""

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    conv = functools.partial(layers.Conv, x.shape[-1], dtype=self.dtype)
    y = conv(name="conv2")(nn.relu(conv(name="conv1")(x)))
    return y + conv(1, bias=False, name="skip")(x)


class Deconvolved(nn.Module):
  """An image by two transposed 2x2 convolutions, float[B, h, w, C] -> float32[B, 4h, 4w, 3].

  Attributes:
    bounded: whether a tanh comes last.
    dtype: compute type.
  """

  bounded: bool
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]
    for i, features in enumerate((width, width // 2), 1):
      x = layers.Upsample(features, 2, self.dtype, name=f"up{i}")(x)
      x = Residual(self.dtype, name=f"residual{i}")(x)
    x = layers.Conv(COLOURS, 1, dtype=self.dtype, name="out")(x).astype(jnp.float32)
    return jnp.tanh(x) if self.bounded else x


class Shuffled(nn.Module):
  """An image by two pixel shuffles (Shi et al. 2016), float[B, h, w, C] -> float32[B, 4h, 4w, 3]."""

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]
    x = Residual(self.dtype, name="residual")(x)
    for i in (1, 2):
      x = layers.Conv(4 * width, dtype=self.dtype, name=f"conv{i}")(x)
      x = rearrange(x, "b h w (c p q) -> b (h p) (w q) c", p=2, q=2)
    x = layers.Conv(COLOURS, 1, dtype=self.dtype, name="out")(x)
    return jnp.tanh(x.astype(jnp.float32))
