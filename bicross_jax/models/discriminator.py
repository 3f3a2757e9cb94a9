"""The discriminator of patches (Isola et al. 2017), as Akada et al. (2022) have it.

docs/systems/domain_invariant.md, Networks.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, t2net

_WIDEST = 8  # channels, as a multiple of those of the first layer
_PADDING = (1, 1)


class DiscriminatorOutput(NamedTuple):
  """What the network gives.

  Attributes:
    score: float32[B, h, w], of patches that overlap; 1 is real and 0 is not, without a sigmoid.
    features: dtype[B, h + 1, w + 1, C], what the scores are read from.
  """

  score: jax.Array
  features: jax.Array


class PatchDiscriminator(nn.Module):
  """The discriminator, float[B, H, W, in_channels] -> `DiscriminatorOutput`.

  4x4 convolutions, `layers` of them with stride 2 and two with stride 1; of 288x960 with 3 layers,
  whose scores see 70x70 pixels each, h, w are 34x118. Sides are at least 3 * 2^layers.

  Attributes:
    in_channels: of the image.
    width: channels of the first layer; 8 compiles in seconds and is for tests.
    layers: number of convolutions with a stride.
    norm: "batch", or "instance" without scale and bias (the first convolution then has a bias).
    activation: "prelu" with one slope for the network, "relu" or "leaky_relu".
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  in_channels: int = 3
  width: int = 64
  layers: int = 3
  norm: str = "batch"
  activation: str = "prelu"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, train: bool = False, views: tuple[bool, ...] = (True,)
  ) -> DiscriminatorOutput:
    """With `train`, batch norms take the statistics of each of `views` and update `batch_stats` (apply it mutable)."""
    t2net.check(x, self.in_channels, multiple=1, least=3 * 2**self.layers)
    style, last = t2net.style(self, train, views), self.layers + 1
    bias = self.norm == "instance"
    x = style.activate(style.conv("conv0", x, self.width, 4, stride=2, padding=_PADDING, bias=bias))
    for i in range(1, last):
      features, stride = self.width * min(2**i, _WIDEST), 2 if i < self.layers else 1
      x = style.layer(i, x, features, 4, stride=stride, padding=_PADDING)
    score = style.conv(f"conv{last}", x, 1, 4, padding=_PADDING, bias=True)
    return DiscriminatorOutput(score[..., 0].astype(jnp.float32), x)

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """The authors'."""
    return t2net.INITIALISERS
