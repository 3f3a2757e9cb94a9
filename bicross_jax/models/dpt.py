"""DPT, dense prediction with transformers (Ranftl et al. 2021), with an uncertainty head.

BiCross's depth network: an encoder (`backbone`), four maps brought to 1/4, 1/8, 1/16 and 1/32
of the input (`reassemble*`), four fusion blocks (`fusion*`) and two heads. The optimisers of
the published system count `backbone` and `reassemble*` as pretrained, all else as new.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax import errors
from bicross_jax.models import layers, resnetv2, vit
from bicross_jax.ops import resize


class Variant(NamedTuple):
  """The sizes of one backbone and of the decoder behind it.

  Attributes:
    dim, depth, heads: of the transformer.
    taps: transformer blocks that feed the decoder (two behind a ResNet, else four).
    grid: learned grid of positions; one patch is 16 pixels.
    widths: channels of the four reassembled maps, finest first.
    features: channels of the decoder.
    head: channels of the two inner layers of a head.
    stem, stages, depths, groups: of the ResNet in front (no stages: plain patches).
  """

  dim: int
  depth: int
  heads: int
  taps: tuple[int, ...]
  grid: tuple[int, int]
  widths: tuple[int, int, int, int]
  features: int = 256
  head: tuple[int, int] = (128, 32)
  stem: int = 0
  stages: tuple[int, ...] = ()
  depths: tuple[int, ...] = ()
  groups: int = 32


VARIANTS = {
  "hybrid": Variant(
    dim=768, depth=12, heads=12, taps=(8, 11), grid=(24, 24), widths=(256, 512, 768, 768),
    stem=64, stages=(256, 512, 1024), depths=(3, 4, 9),
  ),
  "base": Variant(
    dim=768, depth=12, heads=12, taps=(2, 5, 8, 11), grid=(24, 24), widths=(96, 192, 384, 768)
  ),
  "large": Variant(
    dim=1024, depth=24, heads=16, taps=(5, 11, 17, 23), grid=(24, 24),
    widths=(256, 512, 1024, 1024),
  ),
  "small": Variant(
    dim=384, depth=8, heads=6, taps=(5, 7), grid=(12, 20), widths=(128, 256, 384, 384),
    features=64, head=(32, 32), stem=32, stages=(128, 256, 512), depths=(2, 2, 3), groups=16,
  ),
  "tiny": Variant(
    dim=128, depth=5, heads=4, taps=(2, 4), grid=(6, 10), widths=(64, 128, 128, 128),
    features=32, head=(16, 8), stem=24, stages=(64, 128, 192), depths=(1, 1, 2), groups=8,
  ),
}
ACTIVATIONS = ("linear", "softplus")
DTYPES = ("float32", "bfloat16")
MULTIPLE = 32  # the input's height and width must be multiples of this


class DPTOutput(NamedTuple):
  """What the network says about a batch; everything float32.

  Attributes:
    depth: [B, H, W]; metres where `invert` is set, else `inverse_depth` itself.
    inverse_depth: [B, H, W], the depth head behind its activation, before scale and shift.
    uncertainty: [B, H, W], the raw uncertainty head, or None.
    features: the fusion outputs path_1 [B, H/2, W/2, F] to path_4 [B, H/16, W/16, F], layer_4
      [B, H/32, W/32, C] and cls_token [B, C] of the last tap.
  """

  depth: jax.Array
  inverse_depth: jax.Array
  uncertainty: jax.Array | None
  features: dict[str, jax.Array]


class DPT(nn.Module):
  """The network: float32[B, H, W, in_channels] -> DPTOutput, H and W multiples of 32.

  Inputs are centred: RGB as (x - 0.5) / 0.5, spikes as -1 and +1.

  Attributes:
    backbone: a key of VARIANTS. hybrid, base and large are the published ones.
    in_channels: channels of the input; 3 for RGB, 128 for a spike stream.
    stem_bins: 0, or the number of equal windows of time whose means the stem takes in place of
      single steps (in_channels must be a multiple).
    scale, shift: constants of the read-out, depth = 1 / max(scale * inverse_depth + shift, 1e-8).
    invert: whether depth is that reciprocal; if not, depth = inverse_depth and the constants
      are not used.
    non_negative: a ReLU behind the depth head.
    activation: "linear" as published, or "softplus", which keeps inverse depth positive.
    uncertainty: whether there is an uncertainty head.
    dtype: compute type, "float32" or "bfloat16".
  """

  backbone: str = "hybrid"
  in_channels: int = 3
  stem_bins: int = 0
  scale: float = 6.016e-5
  shift: float = 0.00579
  invert: bool = True
  non_negative: bool = False
  activation: str = "linear"
  uncertainty: bool = True
  dtype: str = "float32"

  def __post_init__(self):
    for option, choices in (
      ("backbone", tuple(VARIANTS)), ("activation", ACTIVATIONS), ("dtype", DTYPES)
    ):
      if getattr(self, option) not in choices:
        raise errors.UserError(
          f"dpt: {option} is {getattr(self, option)!r}, not one of {', '.join(choices)}"
        )
    if self.in_channels < 1 or self.stem_bins < 0:
      raise errors.UserError(
        f"dpt: in_channels {self.in_channels} and stem_bins {self.stem_bins} must count something"
      )
    if self.stem_bins and self.in_channels % self.stem_bins:
      raise errors.UserError(
        f"dpt: stem_bins {self.stem_bins} does not divide in_channels {self.in_channels}"
      )
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> DPTOutput:
    """Runs the network. `train` changes nothing: there is no batch norm and no dropout.

    Raises:
      ValueError: the input is not [B, H, W, in_channels] with H and W multiples of 32.
    """
    del train
    self._check(x)
    variant, dtype = VARIANTS[self.backbone], jnp.dtype(self.dtype)
    if self.stem_bins:
      x = x.reshape(*x.shape[:-1], self.stem_bins, -1).mean(-1)
    layers_, cls_token = Encoder(variant, dtype, name="backbone")(x)
    maps = []
    for i, layer in enumerate(layers_):
      maps.append(Reassemble(variant, i, dtype, name=f"reassemble{i + 1}")(layer, cls_token[i]))
    path, paths = None, {}
    for i in (4, 3, 2, 1):
      skip = layers.Conv(variant.features, 3, bias=False, dtype=dtype, name=f"skip{i}")(maps[i - 1])
      path = Fusion(dtype, name=f"fusion{i}")(skip, path)
      paths[f"path_{i}"] = path
    features = {**paths, "layer_4": maps[3], "cls_token": cls_token[3]}

    y = Head(variant.head, dtype, name="depth_head")(path)
    if self.activation == "softplus":
      y = jax.nn.softplus(y)
    if self.non_negative:
      y = nn.relu(y)
    depth = 1.0 / jnp.maximum(self.scale * y + self.shift, 1e-8) if self.invert else y
    u = Head(variant.head, dtype, name="uncertainty_head")(path) if self.uncertainty else None
    return DPTOutput(depth, y, u, {k: v.astype(jnp.float32) for k, v in features.items()})

  def _check(self, x):
    if x.ndim != 4 or x.shape[-1] != self.in_channels:
      raise ValueError(f"expected [B, H, W, {self.in_channels}], got {x.shape}")
    if x.shape[1] % MULTIPLE or x.shape[2] % MULTIPLE:
      raise ValueError(
        f"height and width must be multiples of {MULTIPLE}, got {x.shape[1]}x{x.shape[2]}"
      )
