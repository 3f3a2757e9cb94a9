"""EfficientNet (Tan and Le 2019) as the package efficientnet_pytorch has B5, and its maps.

Its padding is that of images of 456x456 pixels whatever the input's size is: zeros in fixed numbers, which
differ from TensorFlow's "SAME" for most other sizes. docs/systems/domain_invariant.md, Networks.
"""

import functools
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers

MOMENTUM, EPSILON = 0.99, 1e-3  # of its batch norms
_DROP = 0.2  # probability that the last block is left out
_SQUEEZE = 4  # how many times fewer channels a block's gates are made of than it takes
_TAPPED = (1, 2, 3, 5)  # stages whose results are maps of the network, besides that of the head


class Stage(NamedTuple):
  """Blocks of one resolution, or two stages of them.

  Attributes:
    kernel: side of the depthwise kernels.
    stride: of the first block.
    expand: how many times wider a block is inside than its input.
    features: output channels.
    padding: of the first block; others have kernel // 2 on every side.
  """

  kernel: int
  stride: int
  expand: int
  features: int
  padding: tuple[int, int]


STEM, HEAD = 48, 2048  # channels
STAGES = (
  Stage(3, 1, 1, 24, (1, 1)),
  Stage(3, 2, 6, 40, (0, 1)),
  Stage(5, 2, 6, 64, (1, 2)),
  Stage(3, 2, 6, 128, (1, 1)),
  Stage(5, 1, 6, 176, (2, 2)),
  Stage(5, 2, 6, 304, (2, 2)),
  Stage(3, 1, 6, 512, (1, 1)),
)


class Variant(NamedTuple):
  """Sizes of a network.

  Attributes:
    divisor: widths are those of B5 divided by it, and at least 4.
    depths: blocks of the stages; a stage may have none.
  """

  divisor: int
  depths: tuple[int, ...]

  def narrow(self, width: int) -> int:
    """A width of B5, divided."""
    return max(4, width // self.divisor)


VARIANTS = {
  "b5": Variant(1, (3, 5, 5, 7, 7, 9, 3)),
  "small": Variant(4, (1, 2, 2, 2, 2, 2, 1)),
  "nano": Variant(16, (1, 1, 1, 2, 0, 1, 0)),
}


def _narrowing(shape):
  """The deviation of the authors' convolutions: sqrt(2 / results of an input)."""
  return math.sqrt(2 / initialise.fan_out(shape))


INITIALISERS: initialise.Rules = ((r"/kernel$", initialise.normal(_narrowing)),)


class Block(nn.Module):
  """An inverted residual with gates (MBConv), float[B, H, W, C] -> dtype[B, H/s, W/s, features].

  1x1 to `expand` times the width (unless that is 1), depthwise, gates of the channels by their means, and
  1x1 to `features`; the input is added where it has that shape.

  Attributes:
    kernel, stride, expand, padding: as of `Stage`.
    features: output channels.
    drop: probability that all but the input is left out of an example, with `drop_connect`.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  kernel: int
  stride: int
  expand: int
  features: int
  padding: tuple[int, int]
  drop: float = 0.0
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, train: bool, drop_connect: bool, views: tuple[bool, ...] = (True,)
  ) -> jax.Array:
    """`drop_connect` draws from the key "drop_connect"."""
    given, channels = x, x.shape[-1]
    conv = functools.partial(layers.Conv, kernel=1, dtype=self.dtype)
    norm = functools.partial(batch_norm, self.axis_name, self.dtype, train, views)
    if self.expand > 1:
      x = conv(self.expand * channels, bias=False, name="expand")(x)
      x = nn.silu(norm("expand_norm", x))
    depthwise = layers.DepthwiseConv(
      self.kernel, self.stride, self.padding, self.dtype, name="depthwise"
    )
    x = nn.silu(norm("depthwise_norm", depthwise(x)))
    gates = x.astype(jnp.float32).mean((1, 2), keepdims=True)
    gates = nn.silu(conv(max(1, channels // _SQUEEZE), name="squeeze")(gates))
    x = x * nn.sigmoid(conv(x.shape[-1], name="excite")(gates))
    x = norm("project_norm", conv(self.features, bias=False, name="project")(x))
    if given.shape != x.shape:
      return x
    if drop_connect and self.drop:
      keep = 1 - self.drop
      kept = jax.random.bernoulli(self.make_rng("drop_connect"), keep, (len(x), 1, 1, 1))
      x = x * (kept / keep).astype(x.dtype)
    return x + given.astype(x.dtype)


class EfficientNet(nn.Module):
  """Stem, seven stages and head; returns maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.

  Those of B5 have 24, 40, 64, 176 and 2048 channels.

  Attributes:
    variant: "b5"; "small" for CPUs; "nano" for tests.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  variant: str = "b5"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """The authors'."""
    return INITIALISERS

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    train: bool = False,
    drop_connect: bool = False,
    views: tuple[bool, ...] = (True,),
  ) -> list[jax.Array]:
    """Maps of float[B, H, W, 3] in -1..1.

    Args:
      x: the images; H and W are multiples of 32.
      train: whether batch norms take the batch's statistics and update `batch_stats`.
      drop_connect: whether blocks are left out at random (Huang et al. 2016), by the key "drop_connect".
      views: of the batch, each with statistics of its own in training (`layers.BatchNorm`).
    """
    if self.variant not in VARIANTS:
      raise ValueError(f"no EfficientNet {self.variant!r}; there are {', '.join(VARIANTS)}")
    variant = VARIANTS[self.variant]
    norm = functools.partial(batch_norm, self.axis_name, self.dtype, train, views)
    conv = functools.partial(layers.Conv, bias=False, dtype=self.dtype)
    x = conv(variant.narrow(STEM), 3, 2, padding=(0, 1), name="stem")(x)
    x, maps, before = nn.silu(norm("stem_norm", x)), [], 0
    for i, (stage, depth) in enumerate(zip(STAGES, variant.depths, strict=True), 1):
      for k in range(depth):
        block = Block(
          stage.kernel,
          stage.stride if k == 0 else 1,
          stage.expand,
          variant.narrow(stage.features),
          stage.padding if k == 0 else (stage.kernel // 2,) * 2,
          _DROP * before / sum(variant.depths),
          self.axis_name,
          self.dtype,
          name=f"stage{i}_{k}",
        )
        x, before = block(x, train, drop_connect, views), before + 1
      if i in _TAPPED:
        maps.append(x)
    x = nn.silu(norm("head_norm", conv(variant.narrow(HEAD), 1, name="head")(x)))
    return [*maps, x]


def batch_norm(
  axis_name: str | None, dtype: Any, train: bool, views: tuple[bool, ...], name: str, x: jax.Array
) -> jax.Array:
  """EfficientNet's batch norm of a map, inside of a module; see `layers.BatchNorm`."""
  return layers.BatchNorm(train, axis_name, MOMENTUM, EPSILON, views, name=name)(x).astype(dtype)
