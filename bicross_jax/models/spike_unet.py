"""Neuromorphic front ends: what BiCross may put between a spike stream and its depth network."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax import errors
from bicross_jax.models import dpt, layers
from bicross_jax.ops import resize

KINDS = ("usenet", "unet", "senet")
COLOURS = 3  # channels that a U-Net makes, those of an RGB stem


class SqueezeExcite(nn.Module):
  """Weighs channels by what all pixels say (Hu et al. 2018): dtype[B, H, W, C] -> the same.

  Mean over pixels, linear to C / reduction, ReLU, linear to C, sigmoid; no biases.
  """

  reduction: int = 16
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    c = x.shape[-1]
    y = x.astype(jnp.float32).mean((1, 2)).astype(self.dtype)
    y = nn.Dense(max(1, c // self.reduction), use_bias=False, dtype=self.dtype, name="squeeze")(y)
    y = nn.Dense(c, use_bias=False, dtype=self.dtype, name="excite")(nn.relu(y))
    return x * jax.nn.sigmoid(y)[:, None, None]


class DoubleConv(nn.Module):
  """Twice a 3x3 convolution without bias, batch norm and ReLU: [B, H, W, C] -> [B, H, W, features].

  `inner` is the width between the two.
  """

  features: int
  inner: int
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    for i, width in enumerate((self.inner, self.features), 1):
      x = layers.Conv(width, 3, bias=False, dtype=self.dtype, name=f"conv{i}")(x)
      norm = layers.BatchNorm(train, self.axis_name, name=f"norm{i}")
      x = nn.relu(norm(x)).astype(self.dtype)
    return x


class SpikeUNet(nn.Module):
  """A front end: float32[B, H, W, in_channels] of -1..1 -> float32[B, H, W, out_channels].

  senet: squeeze-excite over the stream's channels, which it keeps; the depth network behind it
    has the spike stem.
  unet: a U-Net (Ronneberger et al. 2015) of a double convolution on each of four levels, with 2x2
    max pools between them and, upwards, bilinear interpolation (align_corners True), down to
    three channels by a 1x1 convolution; the depth network behind it has the RGB stem.
  usenet: the same with squeeze-excite over the channels of the deepest level.

  On the way up a level takes the enlarged map and the skip, halves their channels in its first
  convolution, and gives half the level's width (the finest: the whole), as U-Nets with bilinear
  interpolation commonly do; BiCross states the widths of the way down alone. The running variance
  is the biased one, where torch keeps the unbiased one.

  Attributes:
    kind: senet, unet or usenet.
    in_channels: channels of the input, 128 for a whole stream.
    widths: of the levels, finest first; a senet has none.
    reduction: of the squeeze-excite.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type, "float32" or "bfloat16".
  """

  kind: str = "usenet"
  in_channels: int = 128
  widths: tuple[int, ...] = (128, 256, 512, 512)
  reduction: int = 16
  axis_name: str | None = None
  dtype: str = "float32"

  def __post_init__(self):
    for option, choices in (("kind", KINDS), ("dtype", dpt.DTYPES)):
      if getattr(self, option) not in choices:
        raise errors.UserError(
          f"spike_unet: {option} is {getattr(self, option)!r}, not one of {', '.join(choices)}"
        )
    if min(self.in_channels, self.reduction, *self.widths) < 1 or len(self.widths) < 2:
      raise errors.UserError(
        f"spike_unet: in_channels {self.in_channels}, reduction {self.reduction} and two or more"
        f" widths {tuple(self.widths)} must count something"
      )
    super().__post_init__()

  @property
  def out_channels(self) -> int:
    """Channels of the result."""
    return self.in_channels if self.kind == "senet" else COLOURS

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """With `train`, normalises by the batch and updates `batch_stats` (apply it mutable).

    Raises:
      ValueError: the input is not [B, H, W, in_channels], or H and W cannot be halved between
        all levels.
    """
    dtype = jnp.dtype(self.dtype)
    multiple = 1 if self.kind == "senet" else 2 ** (len(self.widths) - 1)
    if (
      x.ndim != 4
      or x.shape[-1] != self.in_channels
      or x.shape[1] % multiple
      or x.shape[2] % multiple
    ):
      raise ValueError(
        f"expected [B, H, W, {self.in_channels}], H and W multiples of {multiple}, got {x.shape}"
      )
    x = x.astype(dtype)
    if self.kind == "senet":
      return SqueezeExcite(self.reduction, dtype, name="attention")(x).astype(jnp.float32)
    skips = []
    for level, width in enumerate(self.widths, 1):
      if level > 1:
        x = _halve(x)
      x = DoubleConv(width, width, self.axis_name, dtype, name=f"down{level}")(x, train)
      skips.append(x)
    skips.pop()
    if self.kind == "usenet":
      x = SqueezeExcite(self.reduction, dtype, name="attention")(x)
    for level in range(len(skips), 0, -1):
      skip = skips.pop()
      x = jnp.concatenate([skip, resize.bilinear_corners(x, skip.shape[1:3])], axis=-1)
      width = self.widths[level - 1] // 2 if level > 1 else self.widths[0]
      block = DoubleConv(width, x.shape[-1] // 2, self.axis_name, dtype, name=f"up{level}")
      x = block(x, train)
    return layers.Conv(COLOURS, 1, dtype=dtype, name="out")(x).astype(jnp.float32)


class FrontedDPT(nn.Module):
  """A depth network behind a front end: float32[B, H, W, C] -> DPTOutput.

  Attributes:
    front_end: a SpikeUNet.
    dpt: a DPT whose in_channels are the front end's out_channels.
  """

  front_end: SpikeUNet
  dpt: dpt.DPT

  @property
  def in_channels(self) -> int:
    """Channels of the input."""
    return self.front_end.in_channels

  def __call__(self, x: jax.Array, train: bool = False) -> dpt.DPTOutput:
    """Runs both; `train` as in `SpikeUNet`."""
    return self.dpt(self.front_end(x, train), train)


def _halve(x):
  """2x2 max pool; of equal maxima the first in reading order gets the gradient, as torch's.

  Selected by comparison: a gradient that looks for the values that equal the maximum finds none
  where XLA computes these values anew and rounds them otherwise.
  """
  for axis in (2, 1):
    first, second = (jax.lax.slice_in_dim(x, i, None, 2, axis) for i in (0, 1))
    x = jnp.where(first >= second, first, second)
  return x
