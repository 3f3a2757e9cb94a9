"""The convolutional half of DPT-hybrid: a ResNet with group norm and standardised weights.

It is the ResNetV2 of Big Transfer (Kolesnikov et al. 2020) with the activation after the norm,
as timm's `vit_base_r50_s16_384` has it: stem and three stages, 1/16 of the resolution at the
end. Convolutions with a kernel above 1 and the pool pad as TensorFlow's "SAME".
"""

from collections.abc import Sequence
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import layers

_conv = functools.partial(layers.Conv, same=True, bias=False, standardize=1e-8)


class Stem(nn.Module):
  """7x7 stride-2 convolution, norm, ReLU, 3x3 stride-2 max pool.

  float[B, H, W, C] -> dtype[B, H/4, W/4, width]. `eps` is that of the weight standardisation.
  """

  width: int
  groups: int
  eps: float = 1e-8
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = _conv(self.width, 7, stride=2, standardize=self.eps, dtype=self.dtype, name="conv")(x)
    x = nn.relu(layers.GroupNorm(self.groups, self.dtype, name="norm")(x))
    return layers.max_pool(x)


class Bottleneck(nn.Module):
  """1x1 down to a quarter, 3x3, 1x1 up, added to the input; norms behind every convolution.

  float[B, H, W, C] -> dtype[B, H/stride, W/stride, width]. The shortcut is a convolution with
  norm where `project` is set, else the input itself.
  """

  width: int
  groups: int
  stride: int = 1
  project: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    conv = functools.partial(_conv, dtype=self.dtype)
    norm = functools.partial(layers.GroupNorm, self.groups, self.dtype)
    shortcut = x
    if self.project:
      shortcut = conv(self.width, 1, stride=self.stride, name="shortcut_conv")(x)
      shortcut = norm(name="shortcut_norm")(shortcut)
    x = nn.relu(norm(name="norm1")(conv(self.width // 4, 1, name="conv1")(x)))
    x = nn.relu(norm(name="norm2")(conv(self.width // 4, 3, stride=self.stride, name="conv2")(x)))
    x = norm(name="norm3")(conv(self.width, 1, name="conv3")(x))
    return nn.relu(shortcut + x)


class Stage(nn.Module):
  """`depth` bottlenecks, the first of which has the stride and a projected shortcut."""

  width: int
  depth: int
  groups: int
  stride: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for i in range(self.depth):
      first = i == 0
      block = Bottleneck(
        self.width, self.groups, self.stride if first else 1, first, self.dtype, name=f"block{i}"
      )
      x = block(x)
    return x


class ResNetV2(nn.Module):
  """Stem and stages; returns the output of every stage, at 1/4, 1/8, 1/16 of the input.

  Attributes:
    stem: channels of the stem.
    widths: channels of every stage.
    depths: bottlenecks of every stage.
    groups: groups of every norm.
    stem_eps: eps of the weight standardisation in the stem.
    dtype: compute type.
  """

  stem: int
  widths: Sequence[int]
  depths: Sequence[int]
  groups: int
  stem_eps: float = 1e-8
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> list[jax.Array]:
    x = Stem(self.stem, self.groups, self.stem_eps, self.dtype, name="stem")(x)
    outputs = []
    for i, (width, depth) in enumerate(zip(self.widths, self.depths)):
      stride = 1 if i == 0 else 2
      x = Stage(width, depth, self.groups, stride, self.dtype, name=f"stage{i}")(x)
      outputs.append(x)
    return outputs
