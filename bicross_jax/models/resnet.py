"""ResNet with batch norm (He et al. 2016), as torchvision has it, and its maps at five resolutions."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers

DEPTHS = {  # blocks of the four stages by number of layers
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
}
EXPANSION = 4  # of a bottleneck


def _kaiming(shape):
  """The deviation of torchvision's convolutions: sqrt(2 / results of an input)."""
  return math.sqrt(2 / initialise.fan_out(shape))


INITIALISERS: initialise.Rules = ((r"/kernel$", initialise.normal(_kaiming)),)


class Block(nn.Module):
  """A residual block, float[B, H, W, C] -> dtype[B, H/stride, W/stride, width or 4 width].

  Attributes:
    width: channels of its 3x3 convolutions.
    bottleneck: 1x1, 3x3 (with the stride), 1x1 convolutions instead of two of 3x3.
    stride: of the block.
    project: whether the shortcut is a convolution with norm.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  width: int
  bottleneck: bool
  stride: int = 1
  project: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    def layer(name, x, features, kernel, stride=1):
      conv = layers.Conv(features, kernel, stride, bias=False, dtype=self.dtype, name=f"conv{name}")
      norm = layers.batch_norm(f"norm{name}", train=train, axis_name=self.axis_name)
      return norm(conv(x).astype(jnp.float32)).astype(self.dtype)

    if self.bottleneck:
      plan = ((self.width, 1, 1), (self.width, 3, self.stride), (EXPANSION * self.width, 1, 1))
    else:
      plan = ((self.width, 3, self.stride), (self.width, 3, 1))
    shortcut = layer("_shortcut", x, plan[-1][0], 1, self.stride) if self.project else x
    for i, (features, kernel, stride) in enumerate(plan, 1):
      x = layer(i, x, features, kernel, stride)
      x = nn.relu(x if i < len(plan) else x + shortcut)
    return x


class ResNet(nn.Module):
  """Stem and four stages; returns five maps, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.

  The first map is that before the pool of the stem.

  Attributes:
    layers: 18, 34, 50, 101 or 152.
    divisor: widths are those of the published network divided by it.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  layers: int = 18
  divisor: int = 1
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """torchvision's."""
    return INITIALISERS

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> list[jax.Array]:
    if self.layers not in DEPTHS:
      raise ValueError(
        f"no ResNet of {self.layers} layers; there are {', '.join(map(str, DEPTHS))}"
      )
    width, bottleneck = 64 // self.divisor, self.layers >= 50
    block = functools.partial(Block, axis_name=self.axis_name, dtype=self.dtype)
    x = layers.Conv(width, 7, 2, bias=False, dtype=self.dtype, name="conv1")(x)
    norm = layers.batch_norm("norm1", train=train, axis_name=self.axis_name)
    x = nn.relu(norm(x.astype(jnp.float32))).astype(self.dtype)
    maps = [x]
    x = layers.max_pool(x, same=False)
    for stage, depth in enumerate(DEPTHS[self.layers]):
      for i in range(depth):
        stride = 2 if stage and i == 0 else 1
        project = i == 0 and (stage > 0 or bottleneck)
        make = block(width, bottleneck, stride, project, name=f"stage{stage + 1}_{i}")
        x = make(x, train=train)
      maps.append(x)
      width *= 2
    return maps
