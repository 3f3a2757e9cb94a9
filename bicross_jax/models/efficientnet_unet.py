"""The depth network of Akada et al. (2022): EfficientNet-B5 and a U-Net's decoder.

docs/systems/domain_invariant.md, Networks.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import efficientnet, initialise, t2net

# Blocks of the decoder from the deepest on, and their output channels, which are those of the map that
# is put beside them but for the last.
DECODER = (("center", 176), ("deconv5", 64), ("deconv4", 40), ("deconv3", 24), ("deconv2", 12))
_OUT = 7  # side of the last kernel


class EfficientNetUNetOutput(NamedTuple):
  """What the network gives.

  Attributes:
    depth: float32[B, H, W], what tanh leaves: in -1..1, metres divided by the greatest depth.
    features: of the decoder, dtype[B, h, w, C], at 1/16, 1/8, 1/4, 1/2 and 1/1 of the resolution;
      `features[-1]`, what depth is read from, has the feature id -1 in the paper's code, and so on.
    maps: of the encoder, dtype[B, h, w, C], at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.
  """

  depth: jax.Array
  features: tuple[jax.Array, ...]
  maps: tuple[jax.Array, ...]


class Decoder(nn.Module):
  """From maps of the encoder to (depth float32[B, H, W], features).

  Attributes:
    variant: of the encoder.
    norm, activation, axis_name, dtype: as of `translator.Translator`.
  """

  variant: str = "b5"
  norm: str = "batch"
  activation: str = "prelu"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, maps: Sequence[jax.Array], train: bool = False, views: tuple[bool, ...] = (True,)
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    style = t2net.style(self, train, views)
    narrow = efficientnet.VARIANTS[self.variant].narrow
    x, features = maps[-1], []
    for (name, width), skip in zip(DECODER, [*maps[-2::-1], None], strict=True):
      x = t2net.Up(x.shape[-1], narrow(width), name=name)(x, style)
      features.append(x)
      if skip is not None:
        x = jnp.concatenate([x, skip.astype(x.dtype)], axis=-1)
    depth = t2net.Out(1, _OUT, name="output")(x, style)
    return depth[..., 0], tuple(features)


class EfficientNetUNet(nn.Module):
  """The network, float[B, H, W, 3] in -1..1 -> `EfficientNetUNetOutput`; H and W are multiples of 32.

  Groups of learning rates follow the paths of its parameters: "^encoder/(stem|stage[1-3])",
  "^encoder/stage[45]", "^encoder/" (stages 6 and 7 and the head) and "^decoder/".

  Attributes:
    variant: of the encoder and all widths: "b5"; "small" for CPUs; "nano" for tests.
    norm: of the decoder, "batch" or "instance".
    activation: of the decoder: "prelu" with one slope, "relu" or "leaky_relu".
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  variant: str = "b5"
  norm: str = "batch"
  activation: str = "prelu"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  in_channels = 3

  def setup(self):
    shared = dict(axis_name=self.axis_name, dtype=self.dtype)
    self.encoder = efficientnet.EfficientNet(self.variant, **shared)
    self.decoder = Decoder(self.variant, self.norm, self.activation, **shared)

  def __call__(
    self,
    x: jax.Array,
    train: bool = False,
    train_encoder: bool | None = None,
    drop_connect: bool | None = None,
    views: tuple[bool, ...] = (True,),
  ) -> EfficientNetUNetOutput:
    """Both parts; each can also be applied alone, by `method="encode"` and `method="decode"`.

    Args:
      x: the images.
      train: whether the decoder's batch norms take the batch's statistics and update `batch_stats`
        (apply it mutable).
      train_encoder: the same of the encoder's; None: as `train`.
      drop_connect: whether blocks of the encoder are left out at random, by the key "drop_connect" (among
        `rngs`); None: as `train`. A frozen encoder may do so too, as the authors' does.
      views: of the batch, each with statistics of its own in training (`layers.BatchNorm`).
    """
    encoder = train if train_encoder is None else train_encoder
    maps = self.encode(x, encoder, train if drop_connect is None else drop_connect, views)
    depth, features = self.decode(maps, train, views)
    return EfficientNetUNetOutput(depth, features, maps)

  def encode(
    self,
    x: jax.Array,
    train: bool = False,
    drop_connect: bool = False,
    views: tuple[bool, ...] = (True,),
  ) -> tuple[jax.Array, ...]:
    """The maps of the encoder."""
    t2net.check(x, self.in_channels, multiple=32, least=64)
    return tuple(self.encoder(x, train, drop_connect, views))

  def decode(
    self, maps: Sequence[jax.Array], train: bool = False, views: tuple[bool, ...] = (True,)
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """(depth, features) out of the maps of the encoder."""
    return self.decoder(maps, train, views)

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """EfficientNet's of the encoder, T2Net's of the decoder."""
    encoder = tuple((f"/encoder/.*{name}", rule) for name, rule in efficientnet.INITIALISERS)
    return (*encoder, *((f"/decoder/.*{name}", rule) for name, rule in t2net.INITIALISERS))
