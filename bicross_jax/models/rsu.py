"""Residual U-blocks (Qin et al. 2020) without norms, as EPCDepth's decoder is made of them.

docs/systems/epcdepth.md, Network.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import layers
from bicross_jax.ops import resize

PADDINGS = ("zeros", "reflect")


class ConvELU(nn.Module):
  """3x3 convolution and ELU, float[B, H, W, C] -> dtype[B, H, W, features].

  Attributes:
    features: output channels.
    dilation: of the convolution.
    padding: "zeros" or "reflect".
    dtype: compute type.
  """

  features: int
  dilation: int = 1
  padding: str = "zeros"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    return nn.elu(convolution(self, self.features, self.dilation, name="conv")(x))


class RSU(nn.Module):
  """A U of convolutions inside of a residual block, float[B, H, W, C] -> dtype[B, H, W, features].

  Attributes:
    height: number of levels n; the map is halved n - 2 times.
    middle: channels inside.
    features: output channels.
    padding: "zeros" or "reflect".
    dtype: compute type.
  """

  height: int
  middle: int
  features: int
  padding: str = "zeros"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    conv = functools.partial(ConvELU, padding=self.padding, dtype=self.dtype)
    n, middle = self.height, self.middle
    entry = conv(self.features, name="conv_in")(x)
    down = [conv(middle, name="conv1")(entry)]
    for k in range(2, n):
      down.append(conv(middle, name=f"conv{k}")(layers.halve(down[-1])))
    y = conv(middle, dilation=2, name=f"conv{n}")(down[-1])
    for k in range(n - 1, 0, -1):
      y = upsampled(y, down[k - 1].shape[1:3])
      y = jnp.concatenate([y, down[k - 1]], axis=-1)
      y = conv(middle if k > 1 else self.features, name=f"conv{k}d")(y)
    return y + entry


class Head(nn.Module):
  """3x3 convolution and sigmoid: a disparity in 0..1, float[B, H, W, C] -> float32[B, H, W]."""

  padding: str = "zeros"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = convolution(self, 1, name="conv")(x)
    return nn.sigmoid(y[..., 0].astype(jnp.float32))


def convolution(module, features: int, dilation: int = 1, *, name: str) -> layers.Conv:
  """A 3x3 convolution with a module's padding and dtype."""
  if module.padding not in PADDINGS:
    raise ValueError(f"no padding {module.padding!r}; choose from {', '.join(PADDINGS)}")
  reflect = module.padding == "reflect"
  return layers.Conv(features, dilation=dilation, reflect=reflect, dtype=module.dtype, name=name)


def upsampled(x: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Bilinear, in the map's own type."""
  return x if x.shape[1:3] == size else resize.bilinear(x, size)
