"""Blocks of T2Net (Zheng et al. 2018), which the networks of Akada et al. (2022) are made of.

docs/systems/domain_invariant.md, Networks. All PReLUs of a network share one slope.
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers
from bicross_jax.ops import norm, prelu

NORMS = ("batch", "instance")
ACTIVATIONS = ("prelu", "relu", "leaky_relu")
_LEAK = 0.2  # slope of "leaky_relu" (Isola et al. 2017)
_EPSILON = 1e-5  # of an instance norm


def _kaiming(shape):
  return math.sqrt(2 / initialise.fan_in(shape))


def _kaiming_transposed(shape):
  """PyTorch counts the outputs of a transposed convolution for its inputs."""
  return math.sqrt(2 / initialise.fan_out(shape))


INITIALISERS: initialise.Rules = (
  (r"/transposed/kernel$", initialise.normal(_kaiming_transposed)),
  (r"/kernel$", initialise.normal(_kaiming)),
  (r"norm[^/]*/scale$", initialise.uniform(0.49, middle=0.51)),  # 0.02..1
)


class Style(NamedTuple):
  """What all layers of a network have in common while it is applied.

  Attributes:
    activate: map -> map.
    norm: one of NORMS.
    train: whether a batch norm takes the batch's own statistics, those of each of `views`.
    views: as of `layers.BatchNorm`.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  activate: Callable[[jax.Array], jax.Array]
  norm: str
  train: bool
  views: tuple[bool, ...]
  axis_name: str | None
  dtype: Any

  def conv(self, name: str, x: jax.Array, features: int, kernel: int = 3, **options) -> jax.Array:
    """A convolution without bias, inside of a module; options of `layers.Conv`."""
    options = {"bias": False, **options}
    return layers.Conv(features, kernel, dtype=self.dtype, name=name, **options)(x)

  def normalise(self, name: str, x: jax.Array) -> jax.Array:
    """A norm, inside of a module: over the batch, with scale and bias, or over each image, without."""
    if self.norm == "batch":
      x = layers.BatchNorm(self.train, self.axis_name, views=self.views, name=name)(x)
    else:
      (b, h, w, c), ones = x.shape, jnp.ones(x.shape[-1:])
      pixels = x.astype(jnp.float32).reshape(b, h * w, c)
      x = norm.group_norm(pixels, ones, jnp.zeros_like(ones), c, _EPSILON).reshape(x.shape)
    return x.astype(self.dtype)

  def layer(self, i: int, x: jax.Array, features: int, kernel: int = 3, **options) -> jax.Array:
    """Convolution `conv<i>`, norm `norm<i>` and activation, inside of a module."""
    x = self.conv(f"conv{i}", x, features, kernel, **options)
    return self.activate(self.normalise(f"norm{i}", x))


def style(module: nn.Module, train: bool, views: tuple[bool, ...] = (True,)) -> Style:
  """That of a network, from its attributes `norm`, `activation`, `axis_name` and `dtype`.

  With the activation "prelu" the module gets the parameter `negative_slope`, float32[1].

  Raises:
    ValueError: no such norm or activation.
  """
  for value, known in ((module.norm, NORMS), (module.activation, ACTIVATIONS)):
    if value not in known:
      raise ValueError(f"{value!r} is not one of {', '.join(known)}")
  if module.activation == "prelu":
    slope = module.param("negative_slope", nn.initializers.constant(0.25), (1,), jnp.float32)
    activate = lambda x: prelu.prelu(x, slope)
  elif module.activation == "leaky_relu":
    activate = lambda x: nn.leaky_relu(x, _LEAK)
  else:
    activate = nn.relu
  return Style(activate, module.norm, train, views, module.axis_name, module.dtype)


class Down(nn.Module):
  """Two layers of 3x3, float[B, H, W, C] -> dtype[B, H, W, features], to be pooled."""

  features: int

  @nn.compact
  def __call__(self, x: jax.Array, style: Style) -> jax.Array:
    x = style.layer(1, x, self.features)
    return style.layer(2, x, self.features)


class Residual(nn.Module):
  """A residual block of two convolutions with mirrored edges, float[B, H, W, C] -> dtype[B, H, W, C].

  Attributes:
    width: number of convolutions side by side in place of the first, dilated by 1, 3, 5, ...
  """

  width: int = 1

  @nn.compact
  def __call__(self, x: jax.Array, style: Style) -> jax.Array:
    channels = x.shape[-1]
    parts = [
      style.conv(f"conv1_{i}", x, channels, dilation=2 * i + 1, reflect=True)
      for i in range(self.width)
    ]
    y = style.activate(style.normalise("norm1", jnp.concatenate(parts, axis=-1)))
    y = style.normalise("norm2", style.conv("conv2", y, channels, reflect=True))
    return style.activate(x + y)


class Up(nn.Module):
  """A layer of 3x3 and one that doubles the size, float[B, H, W, C] -> dtype[B, 2H, 2W, features].

  Attributes:
    middle: channels of the first layer.
    features: output channels.
  """

  middle: int
  features: int

  @nn.compact
  def __call__(self, x: jax.Array, style: Style) -> jax.Array:
    x = style.layer(1, x, self.middle, reflect=True)
    x = layers.TransposedConv(self.features, style.dtype, name="transposed")(x)
    return style.activate(style.normalise("norm2", x))


class Out(nn.Module):
  """A convolution with mirrored edges and tanh: float[B, H, W, C] -> float32[B, H, W, features]."""

  features: int
  kernel: int
  bias: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, style: Style) -> jax.Array:
    y = style.conv("conv", x, self.features, self.kernel, reflect=True, bias=self.bias)
    return jnp.tanh(y.astype(jnp.float32))


def check(x: jax.Array, channels: int, multiple: int, least: int) -> None:
  """Raises ValueError for an input that a network cannot take."""
  if x.ndim != 4 or x.shape[-1] != channels or any(n % multiple for n in x.shape[1:3]):
    raise ValueError(f"an input is [B, H, W, {channels}] in multiples of {multiple}, not {x.shape}")
  if min(x.shape[1:3]) < least:
    raise ValueError(f"sides of at least {least} are needed, not {x.shape[1:3]}")
