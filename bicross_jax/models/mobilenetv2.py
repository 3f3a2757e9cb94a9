"""MobileNetV2 (Sandler et al. 2018) as a backbone of DeepLab: two maps, and dilation for stride."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers

STEM = 32
# Expansion, channels, blocks and stride of the stages (Sandler et al. 2018, table 2).
STAGES = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)
LOW_LEVEL = 1  # the stage whose map is given besides


def _kaiming(shape):
  """The deviation of He et al. 2015: sqrt(2 / numbers that are added up)."""
  return math.sqrt(2 / initialise.fan_in(shape))


INITIALISERS: initialise.Rules = ((r"/kernel$", initialise.normal(_kaiming)),)


class InvertedResidual(nn.Module):
  """1x1 expansion, 3x3 depthwise and 1x1 convolution, [B, H, W, C] -> dtype[B, ceil(H/s), ceil(W/s), features].

  Zeros are put around the map before the expansion, so that behind its norm they are no zeros any more:
  published weights of DeepLab were learned with that.

  Attributes:
    features: output channels.
    expansion: how many times as many channels there are inside; 1: no expansion.
    stride, dilation: of the depthwise convolution.
    residual: whether the input is added.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  features: int
  expansion: int
  stride: int = 1
  dilation: int = 1
  residual: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    given = dict(train=train, axis_name=self.axis_name, dtype=self.dtype)
    last = 2 if self.expansion == 1 else 3
    edge = (self.dilation, self.dilation)
    y = jnp.pad(x, ((0, 0), edge, edge, (0, 0)))
    if self.expansion > 1:
      y = nn.relu6(layers.conv_norm(y, self.expansion * x.shape[-1], 1, name="1", **given))
    depthwise = layers.DepthwiseConv(
      3, self.stride, (0, 0), self.dtype, self.dilation, name=f"conv{last - 1}"
    )
    norm = layers.BatchNorm(train, self.axis_name, name=f"norm{last - 1}")
    y = nn.relu6(norm(depthwise(y))).astype(self.dtype)
    y = layers.conv_norm(y, self.features, 1, name=str(last), **given)
    return x + y if self.residual else y


class MobileNetV2(nn.Module):
  """Stem and seven stages -> the map at the output stride, and that at 1/4 of the resolution.

  Attributes:
    divisor: widths are those of the published network divided by it.
    output_stride: 32, 16 or 8; stages that would go beyond it have dilations instead.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  divisor: int = 1
  output_stride: int = 16
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    given = dict(axis_name=self.axis_name, dtype=self.dtype)
    width = layers.narrow(STEM, self.divisor)
    x = nn.relu6(layers.conv_norm(x, width, 3, 2, name="_stem", train=train, **given))
    block = functools.partial(InvertedResidual, **given)
    reached, rate, count = 2, 1, 0
    low_level = None
    for stage, (expansion, width, blocks, stride) in enumerate(STAGES):
      dilation = 1
      if reached == self.output_stride:  # the stage keeps the dilation, those after it double it
        stride, dilation, rate = 1, rate, rate * stride
      reached *= stride
      for i in range(blocks):
        count += 1
        make = block(
          layers.narrow(width, self.divisor),
          expansion,
          stride if i == 0 else 1,
          dilation,
          residual=i > 0,
          name=f"block{count}",
        )
        x = make(x, train=train)
      low_level = x if stage == LOW_LEVEL else low_level
    return x, low_level
