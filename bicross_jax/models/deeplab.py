"""DeepLabv3+ (Chen et al. 2018), with what the networks of EvDistill (Wang et al. 2021) have besides.

Layers and widths are those of EvDistill's repository (`modeling/`), of which weights are published.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax import errors
from bicross_jax.models import aspp, deeplab_image, drn, initialise, layers, mobilenetv2, resnet
from bicross_jax.ops import resize

BACKBONES = ("resnet", "mobilenet", "drn")
# Which of EvDistill's DeepLab_Dual, _V2 and _V3 the reconstruction is of.
RECONSTRUCTIONS = ("none", "dual", "dual_v2", "dual_v3")
DROPOUTS = ("all", "aspp", "none")
MULTI_GRID = (1, 2, 4)
_PYRAMID, _LOW_LEVEL = 256, 48  # channels that the decoder sees of the pyramid and of the low level
_LABELS, _IMAGE, _FEATURES = (256, 256), (256, 128), 64  # widths of decoders; what an image is of
_RATES = (0.5, 0.1)  # of dropout behind a decoder's convolutions


class DeepLabOutput(NamedTuple):
  """What the network says about a batch; everything float32.

  Attributes:
    logits: [B, H, W, classes], at the input's size.
    features: "backbone" [B, H/s, W/s, C] for an output stride s; "low_level" [B, H/4, W/4, C], the
      backbone's map that the decoder sees; "aspp" [B, H/s, W/s, 256], as the decoder sees it (in training
      behind dropout). Sizes are rounded up.
    reconstruction: [B, 4h, 4w, 3], the image made of the low level's h x w pixels (H x W where these are
      multiples of 4), or None.
    pointwise: [B, H, W, 3], a map of the logits to be compared with the reconstruction, or None.
    auxiliary: [B, H, W, classes], logits read from the pyramid alone, or None.
  """

  logits: jax.Array
  features: dict[str, jax.Array]
  reconstruction: jax.Array | None = None
  pointwise: jax.Array | None = None
  auxiliary: jax.Array | None = None


class Decoder(nn.Module):
  """Joins the pyramid with the low level: dtype[B, h, w, features] at the low level's size.

  Attributes:
    features: output channels.
    low_level: channels that the low level is brought to.
    widths: of the two 3x3 convolutions.
    dropout: whether there is one behind each of these, in training (needs the rng "dropout").
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  features: int
  low_level: int
  widths: tuple[int, int]
  dropout: bool = True
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, pyramid: jax.Array, low_level: jax.Array, train: bool = False) -> jax.Array:
    given = dict(train=train, axis_name=self.axis_name, dtype=self.dtype)
    low = nn.relu(layers.conv_norm(low_level, self.low_level, 1, name="_low", **given))
    x = jnp.concatenate([resize.bilinear_corners(pyramid, low.shape[1:3]), low], axis=-1)
    for i, (width, rate) in enumerate(zip(self.widths, _RATES, strict=True), 1):
      x = nn.relu(layers.conv_norm(x, width, 3, name=str(i), **given))
      x = nn.Dropout(rate if self.dropout else 0.0, deterministic=not train)(x)
    return layers.Conv(self.features, 1, dtype=self.dtype, name="out")(x)


class DeepLab(nn.Module):
  """The network: float[B, H, W, in_channels] -> `DeepLabOutput`, for any H and W.

  Published weights want images in 0..1, without normalisation. What no output is read from (the reconstruction
  in prediction) is not computed under `jax.jit`. Running variances are the biased ones, where torch
  keeps the unbiased ones.

  Attributes:
    backbone: "resnet", "mobilenet" (MobileNetV2) or "drn" (DRN-D-54, whose output stride is 8).
    layers: of the ResNet: 18, 34, 50, 101 (as published) or 152.
    divisor: widths are those of the published network divided by it; with 18 layers and 4 it is for
      CPUs, with 16 it compiles in about two seconds.
    in_channels: channels of the input.
    classes: number of classes.
    output_stride: 16 or 8, of the ResNet or MobileNetV2.
    multi_grid: what the dilations of the ResNet's last blocks are multiplied by.
    dilations: of the pyramid's 3x3 convolutions; empty: 6, 12, 18, and with an output stride of 8 12, 24, 36.
    dropout: where training has it (rng "dropout"): "all", "aspp" (behind the pyramid, not in decoders)
      or "none". EvDistill's `no_dropout` is "aspp" with dilations 2, 4, 8.
    reconstruction: the branch that makes an image, and the pointwise head: "none", "dual", "dual_v2" (the
      same in -1..1), "dual_v3" (pixel shuffles).
    auxiliary: whether logits are read from the pyramid too.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  backbone: str = "resnet"
  layers: int = 101
  divisor: int = 1
  in_channels: int = 3
  classes: int = 6
  output_stride: int = 16
  multi_grid: tuple[int, ...] = MULTI_GRID
  dilations: tuple[int, ...] = ()
  dropout: str = "all"
  reconstruction: str = "none"
  auxiliary: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  def __post_init__(self):
    for option, choices in (
      ("backbone", BACKBONES),
      ("layers", resnet.DEPTHS),
      ("output_stride", aspp.DILATIONS),
      ("dropout", DROPOUTS),
      ("reconstruction", RECONSTRUCTIONS),
    ):
      if getattr(self, option) not in choices:
        known = ", ".join(map(str, choices))
        raise errors.UserError(
          f"deeplab: {option} is {getattr(self, option)!r}, not one of {known}"
        )
    if min(self.divisor, self.in_channels, self.classes) < 1:
      raise errors.UserError(
        f"deeplab: divisor {self.divisor}, in_channels {self.in_channels} and classes"
        f" {self.classes} must be 1 or more"
      )
    if len(self.dilations) not in (0, 3) or min(self.dilations, default=1) < 1:
      raise errors.UserError(
        f"deeplab: dilations are three numbers of 1 or more, or none, not {tuple(self.dilations)}"
      )
    if len(self.multi_grid) != len(MULTI_GRID) or min(self.multi_grid) < 1:
      raise errors.UserError(
        f"deeplab: multi_grid are three numbers of 1 or more, not {tuple(self.multi_grid)}"
      )
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> DeepLabOutput:
    """With `train`, normalises by the batch and updates `batch_stats` (apply it mutable).

    Raises:
      ValueError: x is not [B, H, W, in_channels].
    """
    if x.ndim != 4 or x.shape[-1] != self.in_channels or 0 in x.shape:
      raise ValueError(f"expected [B, H, W, {self.in_channels}], got {x.shape}")
    size, given = x.shape[1:3], dict(axis_name=self.axis_name, dtype=self.dtype)
    top, low_level = self._encode(x, train)
    stride = drn.OUTPUT_STRIDE if self.backbone == "drn" else self.output_stride
    dilations = tuple(self.dilations) or aspp.DILATIONS[stride]
    pool = aspp.ASPP(
      self._narrow(_PYRAMID), dilations, dropout=self.dropout != "none", name="aspp", **given
    )
    pyramid = pool(top, train=train)
    whole = lambda y: resize.bilinear_corners(y.astype(jnp.float32), size)
    logits = whole(self._decode(self.classes, _LABELS, "decoder")(pyramid, low_level, train=train))
    image = pointwise = auxiliary = None
    if self.reconstruction != "none":
      decode = self._decode(self._narrow(_FEATURES), _IMAGE, "image_decoder")
      y = decode(pyramid, low_level, train=train)
      if self.reconstruction == "dual_v3":
        image = deeplab_image.Shuffled(self.dtype, name="shuffled")(y)
      else:
        bounded = self.reconstruction == "dual_v2"
        image = deeplab_image.Deconvolved(bounded, self.dtype, name="deconvolved")(y)
      y = layers.Conv(deeplab_image.COLOURS, 1, dtype=self.dtype, name="pointwise")(logits)
      norm = layers.BatchNorm(train, self.axis_name, name="pointwise_norm")
      pointwise = nn.relu(norm(y))
    if self.auxiliary:
      head = layers.Conv(self.classes, 1, bias=False, dtype=self.dtype, name="auxiliary")
      auxiliary = whole(head(pyramid))
    features = {"backbone": top, "low_level": low_level, "aspp": pyramid}
    features = {name: y.astype(jnp.float32) for name, y in features.items()}
    return DeepLabOutput(logits, features, image, pointwise, auxiliary)

  @nn.nowrap
  def _encode(self, x, train):
    """The backbone's last map, and that at a quarter of the resolution."""
    given = dict(axis_name=self.axis_name, dtype=self.dtype, name="backbone")
    if self.backbone == "drn":
      return drn.DRN(self.divisor, **given)(x, train=train)
    if self.backbone == "mobilenet":
      return mobilenetv2.MobileNetV2(self.divisor, self.output_stride, **given)(x, train=train)
    network = resnet.ResNet(
      self.layers, self.divisor, self.output_stride, tuple(self.multi_grid), **given
    )
    maps = network(x, train=train)
    return maps[-1], maps[1]

  @nn.nowrap
  def _decode(self, features, widths, name):
    """A decoder."""
    return Decoder(
      features,
      self._narrow(_LOW_LEVEL),
      tuple(map(self._narrow, widths)),
      dropout=self.dropout == "all",
      axis_name=self.axis_name,
      dtype=self.dtype,
      name=name,
    )

  @nn.nowrap
  def _narrow(self, width):
    return layers.narrow(width, self.divisor)

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """He's for the backbone, the pyramid and the decoders, torch's for the rest."""
    backbone = mobilenetv2 if self.backbone == "mobilenet" else resnet
    inside = lambda name, rules: tuple((f"/{name}/.*{end}", rule) for end, rule in rules)
    return (
      *inside("backbone", backbone.INITIALISERS),
      *inside("(aspp|decoder|image_decoder)", mobilenetv2.INITIALISERS),
      *inside(r"deconvolved/up\d", _TRANSPOSED),
      *initialise.TORCH,
    )


def _shared_out(shape):
  """The bound of torch's transposed convolutions, which takes the results of an input for its fan-in."""
  return 1 / math.sqrt(initialise.fan_out(shape))


_TRANSPOSED: initialise.Rules = (
  ("kernel$", initialise.uniform(_shared_out)),
  ("bias$", initialise.uniform(_shared_out, of="kernel")),
)
