"""EPCDepth: disparity at all scales, of the decoder and of the encoder (Peng et al. 2021).

docs/systems/epcdepth.md, Network.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers, resnet, rsu

# Heights, inner and outer widths of the blocks: of the decoder from the deepest on, and of the
# encoder's maps from the finest on.
DECODER = ((3, 64, 256), (4, 32, 128), (5, 16, 64), (6, 8, 32), (7, 4, 16))
ENCODER = ((7, 32, 64), (6, 32, 64), (5, 64, 128), (4, 128, 256), (3, 256, 512))
PLAIN = (256, 128, 64, 32, 16)  # widths of the plain decoder, from the deepest on
MEAN, DEVIATION = 0.45, 0.225  # of the images that the encoder sees


class EPCDepthOutput(NamedTuple):
  """What the network gives.

  Attributes:
    maps: disparities in 0..1, float32[B, h, w] each. Of the full-scale decoder ten: 0 to 4 at
      1/1 to 1/16 of the resolution from the decoder, 5 to 9 at 1/32 to 1/2 from the encoder's maps. Of
      the plain decoder four, at 1/1 to 1/8.
    feature: dtype[B, H, W, C], what the first map is read from.
  """

  maps: tuple[jax.Array, ...]
  feature: jax.Array


class EPCDepth(nn.Module):
  """The network, float[B, H, W, 3] in 0..1 -> `EPCDepthOutput`; H and W are multiples of 32.

  What no output is read from (the encoder's maps in prediction) is not computed under `jax.jit`.

  Attributes:
    encoder: "resnet", or "rsu" (`rsu.Encoder`; ours).
    layers: of the ResNet: 18, 34, 50, 101, 152; an encoder of RSUs has but one size.
    divisor: widths are those of the published network divided by it.
    decoder: "full_scale" or "plain".
    padding: of the full-scale decoder: "zeros", as published weights want it, or "reflect".
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  encoder: str = "resnet"
  layers: int = 18
  divisor: int = 1
  decoder: str = "full_scale"
  padding: str = "zeros"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  in_channels = 3

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> EPCDepthOutput:
    self._check(x)
    shared = dict(axis_name=self.axis_name, dtype=self.dtype, name="encoder")
    if self.encoder == "rsu":
      encoder = rsu.Encoder(self.divisor, **shared)
    else:
      encoder = resnet.ResNet(self.layers, self.divisor, **shared)
    maps = encoder((x - MEAN) / DEVIATION, train=train)
    return self._full_scale(maps) if self.decoder == "full_scale" else self._plain(maps)

  @nn.nowrap
  def _full_scale(self, maps):
    conv = functools.partial(rsu.ConvELU, padding=self.padding, dtype=self.dtype)
    block = lambda plan, name: rsu.RSU(
      conv, plan[0], *(self.narrow(n) for n in plan[1:]), name=name
    )
    head = functools.partial(rsu.Head, self.padding, self.dtype)
    x, found = maps[-1], []
    for i, plan in enumerate(DECODER):
      x = twice(x)
      if i < len(maps) - 1:
        x = jnp.concatenate([x, maps[-2 - i].astype(x.dtype)], axis=-1)
      x = block(plan, f"stage{5 - i}d")(x)
      found.insert(0, head(name=f"head{i}")(x))
    for i in reversed(range(len(maps))):
      y = block(ENCODER[i], f"encoder_stage{i}")(maps[i])
      found.append(head(name=f"encoder_head{i}")(y))
    return EPCDepthOutput(tuple(found), x)

  @nn.nowrap
  def _plain(self, maps):
    conv = functools.partial(rsu.ConvELU, padding="reflect", dtype=self.dtype)
    x, found = maps[-1], []
    for i, width in enumerate(map(self.narrow, PLAIN)):
      x = conv(width, name=f"upconv{5 - i}")(twice(x))
      if i < len(maps) - 1:
        x = jnp.concatenate([x, maps[-2 - i].astype(x.dtype)], axis=-1)
      x = conv(width, name=f"iconv{5 - i}")(x)
      if i:
        found.insert(0, rsu.Head("reflect", self.dtype, name=f"head{i - 1}")(x))
    return EPCDepthOutput(tuple(found), x)

  @nn.nowrap
  def narrow(self, width: int) -> int:
    """A width of the published network, divided; at least 2."""
    return layers.narrow(width, self.divisor)

  @nn.nowrap
  def _check(self, x):
    """Raises ValueError for options or an input that cannot be."""
    if self.encoder not in ("resnet", "rsu"):
      raise ValueError(f"no encoder {self.encoder!r}; choose resnet or rsu")
    if self.decoder not in ("full_scale", "plain"):
      raise ValueError(f"no decoder {self.decoder!r}; choose full_scale or plain")
    if x.ndim != 4 or x.shape[-1] != 3 or x.shape[1] % 32 or x.shape[2] % 32 or 0 in x.shape:
      raise ValueError(f"an input is [B, H, W, 3] with multiples of 32, not {x.shape}")
    least = smallest(self.decoder, self.padding)
    if min(x.shape[1:3]) < least:
      raise ValueError(
        f"padding {self.padding} needs sides of at least {least}, not {x.shape[1:3]}"
      )

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """torchvision's of the encoder, torch's uniform weights and biases of the decoder."""
    encoder = tuple((f"/encoder/.*{name}", rule) for name, rule in resnet.INITIALISERS)
    return (*encoder, *initialise.TORCH)


def smallest(decoder: str, padding: str) -> int:
  """The least height and width: a mirrored edge needs more pixels than it is wide, in every map."""
  return 160 if decoder == "full_scale" and padding == "reflect" else 32


def twice(x: jax.Array) -> jax.Array:
  """Every pixel as 2x2 of them."""
  return x.repeat(2, axis=1).repeat(2, axis=2)
