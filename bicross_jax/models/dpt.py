"""DPT, dense prediction with transformers (Ranftl et al. 2021), with an uncertainty head.

BiCross's depth network: an encoder (`backbone`), four maps brought to 1/4, 1/8, 1/16 and 1/32
of the input (`reassemble*`), four fusion blocks (`fusion*`) and two heads. The optimisers of
the published system count `backbone` and `reassemble*` as pretrained, all else as new.
"""

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
    late: whether a head enlarges its one-channel result, not its inner map; the second half of
      a head then runs at half the resolution, which halves the time of the smallest network.
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
  late: bool = False
  stem: int = 0
  stages: tuple[int, ...] = ()
  depths: tuple[int, ...] = ()
  groups: int = 32


VARIANTS = {
  "hybrid": Variant(
    dim=768,
    depth=12,
    heads=12,
    taps=(8, 11),
    grid=(24, 24),
    widths=(256, 512, 768, 768),
    stem=64,
    stages=(256, 512, 1024),
    depths=(3, 4, 9),
  ),
  "base": Variant(
    dim=768, depth=12, heads=12, taps=(2, 5, 8, 11), grid=(24, 24), widths=(96, 192, 384, 768)
  ),
  "large": Variant(
    dim=1024, depth=24, heads=16, taps=(5, 11, 17, 23), grid=(24, 24), widths=(256, 512, 1024, 1024)
  ),
  "small": Variant(
    dim=384,
    depth=8,
    heads=6,
    taps=(5, 7),
    grid=(12, 20),
    widths=(128, 256, 384, 384),
    features=64,
    head=(32, 32),
    stem=32,
    stages=(128, 256, 512),
    depths=(2, 2, 3),
    groups=16,
  ),
  "tiny": Variant(
    dim=128,
    depth=4,
    heads=4,
    taps=(1, 3),
    grid=(6, 10),
    widths=(64, 128, 128, 128),
    features=32,
    head=(16, 16),
    late=True,
    stem=16,
    stages=(64, 128, 256),
    depths=(1, 1, 2),
    groups=8,
  ),
  "nano": Variant(
    dim=16,
    depth=2,
    heads=2,
    taps=(0, 1),
    grid=(2, 4),
    widths=(8, 8, 16, 16),
    features=8,
    head=(8, 8),
    late=True,
    stem=8,
    stages=(16, 16, 16),  # with 8, conv3 had two weights an output: standardised always -1 and 1
    depths=(1, 1, 1),
    groups=2,
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
    backbone: a key of VARIANTS. hybrid, base and large are the published ones; nano compiles in
      about two seconds, for tests and first tries.
    in_channels: channels of the input; 3 for RGB, 128 for a spike stream.
    stem_bins: 0, or the number of equal windows of time whose means the stem takes in place of
      single steps (in_channels must be a multiple). The input may then also be these means
      themselves, [B, H, W, stem_bins] in -1..1, which is faster where they come from packed bits.
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
      ("backbone", tuple(VARIANTS)),
      ("activation", ACTIVATIONS),
      ("dtype", DTYPES),
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
    if self.stem_bins and x.shape[-1] != self.stem_bins:
      x = x.reshape(*x.shape[:-1], self.stem_bins, -1).mean(-1)
    maps, tokens, cls_token = Encoder(variant, dtype, name="backbone")(x)
    grid = (x.shape[1] // vit.PATCH, x.shape[2] // vit.PATCH)
    for tap in tokens:
      level = len(maps) + 1
      width = variant.widths[level - 1]
      maps.append(Reassemble(width, level, grid, dtype, name=f"reassemble{level}")(tap))
    features = {"layer_4": maps[3], "cls_token": cls_token}
    path = None
    for level in (4, 3, 2, 1):
      skip = layers.Conv(variant.features, 3, bias=False, dtype=dtype, name=f"skip{level}")
      path = Fusion(variant.features, dtype, name=f"fusion{level}")(skip(maps[level - 1]), path)
      features[f"path_{level}"] = path

    names = ("depth_head", "uncertainty_head") if self.uncertainty else ("depth_head",)
    heads = [Head(variant.head, variant.late, dtype, name=name) for name in names]
    inner = layers.together([head.conv1 for head in heads], path)
    y, *u = (head(x) for head, x in zip(heads, inner, strict=True))
    if self.activation == "softplus":
      y = jax.nn.softplus(y)
    if self.non_negative:
      y = nn.relu(y)
    depth = 1.0 / jnp.maximum(self.scale * y + self.shift, 1e-8) if self.invert else y
    return DPTOutput(
      depth, y, u[0] if u else None, {k: v.astype(jnp.float32) for k, v in features.items()}
    )

  def _check(self, x):
    channels = [self.in_channels] + [self.stem_bins] * (self.stem_bins > 0)
    if x.ndim != 4 or x.shape[-1] not in channels:
      wanted = " or ".join(str(c) for c in channels)
      raise ValueError(f"expected [B, H, W, {wanted}], got {x.shape}")
    if x.shape[1] % MULTIPLE or x.shape[2] % MULTIPLE:
      raise ValueError(
        f"height and width must be multiples of {MULTIPLE}, got {x.shape[1]}x{x.shape[2]}"
      )


class Encoder(nn.Module):
  """ResNet and ViT, or ViT alone: float[B, H, W, C] -> (maps, tokens, cls_token).

  maps: the first two stages of the ResNet, [B, H/4, W/4, .] and [B, H/8, W/8, .], or none.
  tokens: the tapped blocks of the ViT, [B, 1 + H/16 * W/16, dim], class token first.
  cls_token: the last class token behind the final norm, [B, dim].
  """

  variant: Variant
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[list[jax.Array], list[jax.Array], jax.Array]:
    v, maps = self.variant, []
    if v.stages:
      eps = 1e-8 if x.shape[-1] == 3 else 1e-6  # timm's RGB stem; BiCross's stem for spikes
      *maps, x = resnetv2.ResNetV2(
        v.stem, v.stages, v.depths, v.groups, eps, self.dtype, name="resnet"
      )(x)
      x = layers.Conv(v.dim, 1, dtype=self.dtype, name="patch_embed")(x)
    else:
      x = layers.PatchEmbed(v.dim, vit.PATCH, self.dtype, name="patch_embed")(x)
    return maps, *vit.ViT(v.depth, v.heads, v.taps, v.grid, self.dtype, name="vit")(x)


class Reassemble(nn.Module):
  """Tokens to a map: [B, 1 + h*w, C] -> dtype[B, H, W, width].

  The class token is read out into every patch token ("project": both through one linear layer
  and a GELU); then a 1x1 convolution; then level 1 is enlarged 4 times, level 2 twice, level 3
  not, and level 4 is halved, so that H and W are 4h, 2h, h or h/2 high.
  """

  width: int
  level: int
  grid: tuple[int, int]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    b, _, c = tokens.shape
    patches = tokens[:, 1:]
    both = jnp.concatenate([patches, jnp.broadcast_to(tokens[:, :1], patches.shape)], axis=-1)
    x = nn.gelu(nn.Dense(c, dtype=self.dtype, name="readout")(both), approximate=False)
    x = x.reshape(b, *self.grid, c)
    x = layers.Conv(self.width, 1, dtype=self.dtype, name="project")(x)
    if self.level in (1, 2):
      x = layers.Upsample(self.width, 4 // self.level, self.dtype, name="resize")(x)
    elif self.level == 4:
      x = layers.Conv(self.width, 3, stride=2, dtype=self.dtype, name="resize")(x)
    return x


class ResidualUnit(nn.Module):
  """x + conv(ReLU(conv(ReLU(x)))), 3x3; [B, H, W, F] -> dtype[B, H, W, F]."""

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = layers.Conv(self.features, 3, dtype=self.dtype, name="conv1")(nn.relu(x))
    return x + layers.Conv(self.features, 3, dtype=self.dtype, name="conv2")(nn.relu(y))


class Fusion(nn.Module):
  """Joins a skip map and the coarser path, and doubles the size (align_corners True).

  skip [B, H, W, F], path [B, H, W, F] or None -> dtype[B, 2H, 2W, F]. The deepest block has no
  path and therefore no first residual unit (published checkpoints hold one that is never used).
  The closing 1x1 convolution stands before the interpolation instead of behind it: the two
  commute, since interpolation weights sum to one, and this order has a quarter of the work.
  """

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, skip: jax.Array, path: jax.Array | None) -> jax.Array:
    x = skip
    if path is not None:
      x = path + ResidualUnit(self.features, self.dtype, name="unit1")(skip)
    x = ResidualUnit(self.features, self.dtype, name="unit2")(x)
    x = layers.Conv(self.features, 1, dtype=self.dtype, name="out")(x)
    return resize.bilinear_corners(x, (2 * x.shape[1], 2 * x.shape[2]))


class Head(nn.Module):
  """3x3 convolution, x2 (align_corners True), 3x3, ReLU, 1x1; with `late`, the x2 comes last.

  The heads of a map have their first convolutions, `conv1`, `layers.together`. A call does the
  rest: dtype[B, H, W, widths[0]] -> float32[B, 2H, 2W].
  """

  widths: tuple[int, int]
  late: bool = False
  dtype: Any = jnp.float32

  def setup(self):
    self.conv1 = layers.Conv(self.widths[0], 3, dtype=self.dtype)
    self.conv2 = layers.Conv(self.widths[1], 3, dtype=self.dtype)
    self.out = layers.Conv(1, 1, dtype=self.dtype)

  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (2 * x.shape[1], 2 * x.shape[2])
    if not self.late:
      x = resize.bilinear_corners(x, shape)
    x = self.out(nn.relu(self.conv2(x))).astype(jnp.float32)
    if self.late:
      x = resize.bilinear_corners(x, shape)
    return x[..., 0]
