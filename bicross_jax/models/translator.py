"""Translation of images between two domains: the generators of Akada et al. (2022).

docs/systems/domain_invariant.md, Networks.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers, t2net


class TranslatorOutput(NamedTuple):
  """What the network gives.

  Attributes:
    image: float32[B, H, W, C] in -1..1.
    bottleneck: dtype[B, H/4, W/4, 2 width], what its decoder reads.
  """

  image: jax.Array
  bottleneck: jax.Array


class Translator(nn.Module):
  """The generator, float[B, H, W, in_channels] in -1..1 -> `TranslatorOutput`.

  A 7x7 layer, two of two convolutions with a pool of means behind, residual blocks, and the way back with
  transposed convolutions. H and W are multiples of 4, and at least 8.

  Attributes:
    in_channels: of the image that comes in.
    channels: of the image that comes out.
    width: channels of the first layer, twice as many inside; 8 compiles in seconds and is for tests.
    blocks: number of residual blocks.
    norm: "batch", or "instance" without scale and bias (as CycleGAN's generators, with 9 blocks and ReLU).
    skips: whether the decoder's last layers see the maps before the pools too, so that edges stay where they
      are; ours.
    activation: "prelu" with one slope for the network, "relu" or "leaky_relu".
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  in_channels: int = 3
  channels: int = 3
  width: int = 64
  blocks: int = 7
  norm: str = "batch"
  activation: str = "prelu"
  skips: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, train: bool = False, views: tuple[bool, ...] = (True,)
  ) -> TranslatorOutput:
    """With `train`, batch norms take the statistics of each of `views` and update `batch_stats` (apply it mutable)."""
    t2net.check(x, self.in_channels, multiple=4, least=8)
    style = t2net.style(self, train, views)
    x = style.layer(1, x, self.width, 7, reflect=True)
    seen = []
    for i in (1, 2):
      seen.append(t2net.Down(2 * self.width, name=f"down{i}")(x, style))
      x = layers.mean_pool(seen[-1])
    for i in range(self.blocks):
      x = t2net.Residual(name=f"block{i}")(x, style)
    bottleneck = x
    for i, features in enumerate((2 * self.width, self.width)):
      x = t2net.Up(2 * self.width, features, name=f"up{i}")(x, style)
      x = jnp.concatenate([x, seen.pop()], axis=-1) if self.skips else x
    image = t2net.Out(self.channels, 7, bias=True, name="out")(x, style)
    return TranslatorOutput(image, bottleneck)

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """The authors'."""
    return t2net.INITIALISERS
