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
STRIDES = (8, 16, 32)  # of the last map


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
    dilation: of its 3x3 convolutions; with a stride, 1.
    project: whether the shortcut is a convolution with norm.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  width: int
  bottleneck: bool
  stride: int = 1
  dilation: int = 1
  project: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    layer = functools.partial(
      layers.conv_norm,
      dilation=self.dilation,
      train=train,
      axis_name=self.axis_name,
      dtype=self.dtype,
    )
    if self.bottleneck:
      plan = ((self.width, 1, 1), (self.width, 3, self.stride), (EXPANSION * self.width, 1, 1))
    else:
      plan = ((self.width, 3, self.stride), (self.width, 3, 1))
    shortcut = layer(x, plan[-1][0], 1, self.stride, name="_shortcut") if self.project else x
    for i, (features, kernel, stride) in enumerate(plan, 1):
      x = layer(x, features, kernel, stride, name=str(i))
      x = nn.relu(x if i < len(plan) else x + shortcut)
    return x


class ResNet(nn.Module):
  """Stem and four stages; returns five maps, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.

  The first map is that before the pool of the stem. With another output stride, stages that would go
  beyond it have no stride and 3x3 convolutions twice as dilated as the stage before (Chen et al. 2017,
  "Rethinking Atrous Convolution", section 3.1).

  Attributes:
    layers: 18, 34, 50, 101 or 152.
    divisor: widths are those of the published network divided by it.
    output_stride: 32, 16 or 8, of the last map.
    multi_grid: what the dilations of the last stage's blocks are multiplied by (section 3.2.1 there).
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  layers: int = 18
  divisor: int = 1
  output_stride: int = 32
  multi_grid: tuple[int, ...] = (1, 1, 1)
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
    if self.output_stride not in STRIDES:
      raise ValueError(f"no output stride {self.output_stride}; there are 8, 16 and 32")
    width, bottleneck = layers.narrow(64, self.divisor), self.layers >= 50
    block = functools.partial(Block, axis_name=self.axis_name, dtype=self.dtype)
    given = dict(train=train, axis_name=self.axis_name, dtype=self.dtype)
    x = nn.relu(layers.conv_norm(x, width, 7, 2, name="1", **given))
    maps = [x]
    x = layers.max_pool(x, same=False)
    reached, dilation = 4, 1
    for stage, depth in enumerate(DEPTHS[self.layers]):
      strided = stage > 0 and reached < self.output_stride
      if strided:
        reached *= 2
      elif stage:
        dilation *= 2
      for i in range(depth):
        make = block(
          width,
          bottleneck,
          stride=2 if strided and i == 0 else 1,
          dilation=dilation * (self.multi_grid[i] if stage == 3 else 1),
          project=i == 0 and (stage > 0 or bottleneck),
          name=f"stage{stage + 1}_{i}",
        )
        x = make(x, train=train)
      maps.append(x)
      width *= 2
    return maps
