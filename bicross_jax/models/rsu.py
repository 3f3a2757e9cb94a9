"""Residual U-blocks (Qin et al. 2020): without norms in EPCDepth's decoder, with them in an encoder.

docs/systems/epcdepth.md, Network.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import layers
from bicross_jax.ops import resize

PADDINGS = ("zeros", "reflect")


class Plan(NamedTuple):
  """Attributes of an `RSU`."""

  height: int
  middle: int
  features: int
  flat: bool = False


ENCODER = (  # U2-Net's
  Plan(7, 32, 64),
  Plan(6, 32, 128),
  Plan(5, 64, 256),
  Plan(4, 128, 512),
  Plan(4, 256, 512, flat=True),
)


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


class ConvNormReLU(nn.Module):
  """3x3 convolution with zeros around the map, batch norm and ReLU, float[B, H, W, C] -> dtype[B, H, W, features].

  Attributes:
    features, dilation, dtype: as of `ConvELU`.
    stride: of the convolution; with one, dilation is 1.
    train, axis_name: as of `layers.BatchNorm`.
  """

  features: int
  dilation: int = 1
  stride: int = 1
  train: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = layers.conv_norm(
      x,
      self.features,
      3,
      self.stride,
      self.dilation,
      name="",
      train=self.train,
      axis_name=self.axis_name,
      dtype=self.dtype,
    )
    return nn.relu(y)


class RSU(nn.Module):
  """A U of convolutions inside of a residual block, float[B, H, W, C] -> dtype[B, H, W, features].

  Attributes:
    conv: makes a layer, (features, dilation=, name=) -> module: `ConvELU` or `ConvNormReLU` with their options.
    height: number of levels n; the map is halved n - 2 times.
    middle: channels inside.
    features: output channels.
    flat: nothing is halved; every level sees twice as far as the one before by its dilation (RSU-4F).
  """

  conv: Callable[..., nn.Module]
  height: int
  middle: int
  features: int
  flat: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    n, middle = self.height, self.middle
    far = lambda k: 2 ** (k - 1) if self.flat else 2 if k == n else 1
    entry = self.conv(self.features, name="conv_in")(x)
    down = [self.conv(middle, name="conv1")(entry)]
    for k in range(2, n + 1):
      y = down[-1] if self.flat or k == n else layers.halve(down[-1])
      down.append(self.conv(middle, dilation=far(k), name=f"conv{k}")(y))
    y = down[-1]
    for k in range(n - 1, 0, -1):
      y = upsampled(y, down[k - 1].shape[1:3])
      y = jnp.concatenate([y, down[k - 1]], axis=-1)
      y = self.conv(middle if k > 1 else self.features, dilation=far(k), name=f"conv{k}d")(y)
    return y + entry


class Encoder(nn.Module):
  """Residual U-blocks in place of a ResNet: maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.

  The blocks are those of U2-Net's encoder (Qin et al. 2020, table 1), each at half of the resolution that it has there,
  behind a convolution that halves the image. Ours: EPCDepth's authors say that they had such an encoder
  (docs/systems/epcdepth.md, Network), and published none.

  Attributes:
    divisor: widths are those of U2-Net divided by it.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  divisor: int = 1
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> list[jax.Array]:
    """Maps of float[B, H, W, C]; H and W are multiples of 32."""
    conv = functools.partial(ConvNormReLU, train=train, axis_name=self.axis_name, dtype=self.dtype)
    narrow = lambda width: layers.narrow(width, self.divisor)
    x, maps = conv(narrow(ENCODER[0].features), stride=2, name="stem")(x), []
    for i, block in enumerate(ENCODER):
      x = layers.halve(x) if i else x
      widths = narrow(block.middle), narrow(block.features)
      x = RSU(conv, block.height, *widths, block.flat, name=f"stage{i + 1}")(x)
      maps.append(x)
    return maps


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
