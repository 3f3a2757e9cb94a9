"""Layers that the networks share: convolutions, patch embedding, normalisation.

Parameters are float32; `dtype` is the type that products are computed in. Normalisation is
always computed in float32 and returns `dtype`. A formulation that differs from the obvious one
(a product of matrices for a 1x1 convolution) is there because XLA runs it 2 to 10 times faster
on CPUs, mainly in the gradient.
"""

from collections.abc import Sequence
import functools
from typing import Any

from einops import rearrange
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.ops import conv, depthwise, norm, transposed


class Conv(nn.Module):
  """2-D convolution, float[B, H, W, C] -> dtype[B, ceil(H/s), ceil(W/s), features].

  Attributes:
    features: number of output channels.
    kernel: side of the square kernel; parameter `kernel` is float32[k, k, C, features].
    stride: step in both directions.
    same: where the zero padding goes when it is not symmetric. False: (k - 1) // 2 pixels on
      every side, as torch's `padding=k // 2`. True: TensorFlow's "SAME", which depends on the
      input's size and puts the odd pixel at the bottom and right.
    dilation: step between the pixels that the kernel sees (only with stride 1).
    reflect: mirror the map at its edge, which is not repeated, where zeros would be (stride 1).
    padding: zeros before and after the rows and the columns, instead of those that `same` says.
    bias: whether a bias is added.
    standardize: None, or the eps of weight standardisation (Qiao et al. 2019): each output
      channel's kernel is brought to mean 0 and variance 1 over its window and input channels.
    dtype: compute type.
  """

  features: int
  kernel: int = 3
  stride: int = 1
  same: bool = False
  dilation: int = 1
  reflect: bool = False
  padding: tuple[int, int] | None = None
  bias: bool = True
  standardize: float | None = None
  dtype: Any = jnp.float32

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.convolve(x, *self.weights(x.shape[-1]))

  @nn.compact
  def weights(self, channels: int) -> tuple[jax.Array, jax.Array | None]:
    """What `channels` are multiplied by, float32[k, k, C, features], and the bias or None."""
    shape = (self.kernel, self.kernel, channels, self.features)
    weight = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
    if self.standardize is not None:
      weight = norm.standardize(weight, self.standardize)
    bias = None
    if self.bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
    return weight, bias

  @nn.nowrap
  def convolve(self, x: jax.Array, weight: jax.Array, bias: jax.Array | None) -> jax.Array:
    """The convolution with any number of features."""
    k = self.kernel
    x, weight = x.astype(self.dtype), weight.astype(self.dtype)
    if k == 1:
      y = conv.pointwise(x, weight, self.stride)
    else:
      around = self.dilation * (k // 2) if self.reflect else 0
      x = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)), mode="reflect")
      padding = (self.padding or ((k - 1) // 2, k // 2),) * 2
      if self.same:
        padding = tuple(jax.lax.padtype_to_pads(x.shape[1:3], (k, k), (self.stride,) * 2, "SAME"))
      if self.dilation > 1:
        y = conv.dilated(x, weight, self.dilation)
      else:
        y = conv.conv(x, weight, self.stride, padding)
      y = y[:, around : y.shape[1] - around, around : y.shape[2] - around]
    return y if bias is None else y + bias.astype(self.dtype)[None, None, None]


class DepthwiseConv(nn.Module):
  """Convolution of every channel for itself, float[B, H, W, C] -> dtype[B, h, w, C], without bias.

  Attributes:
    kernel: side of the kernels; parameter `kernel` is float32[k, k, 1, C].
    stride: step in both directions.
    padding: zeros before and after the rows and the columns.
    dtype: compute type.
    dilation: distance of the pixels that a kernel sees.
  """

  kernel: int
  stride: int
  padding: tuple[int, int]
  dtype: Any = jnp.float32
  dilation: int = 1

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (self.kernel, self.kernel, 1, x.shape[-1])
    weight = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
    padding = (self.padding, self.padding)
    return depthwise.depthwise(
      x.astype(self.dtype), weight.astype(self.dtype), self.stride, padding, self.dilation
    )


class TransposedConv(nn.Module):
  """Transposed 3x3 convolution with stride 2, float[B, H, W, C] -> dtype[B, 2H, 2W, features].

  `ops.transposed.doubled` and a bias; `kernel` is float32[3, 3, C, features].
  """

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (3, 3, x.shape[-1], self.features)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
    y = transposed.doubled(x.astype(self.dtype), kernel.astype(self.dtype))
    return y + bias.astype(self.dtype)[None, None, None]


def together(convs: Sequence[Conv], x: jax.Array) -> list[jax.Array]:
  """Convolutions of one map, alike but for their features, as one: wider ones are faster.

  Args:
    convs: bound modules.
    x: float[B, H, W, C].

  Returns:
    The result of each, dtype[B, ceil(H/s), ceil(W/s), its features].
  """
  weights = [module.weights(x.shape[-1]) for module in convs]
  kernels, biases = (
    None if parts[0] is None else jnp.concatenate(parts, axis=-1) for parts in zip(*weights)
  )
  y = convs[0].convolve(x, kernels, biases)
  return jnp.split(y, np.cumsum([module.features for module in convs])[:-1], axis=-1)


def max_pool(x: jax.Array, *, same: bool = True) -> jax.Array:
  """3x3 stride-2 max pool, [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), C].

  Padded as "SAME", or else by one pixel on every side, as torch's `padding=1`. The maximum of shifted rows, then of shifted columns. Equal maxima share the gradient, which
  behind a ReLU matters nowhere: they are zeros.
  """
  for axis in (1, 2):
    size = -(-x.shape[axis] // 2)
    total = 2 * size + 1 - x.shape[axis]
    padding = [(0, 0)] * 4
    before = total // 2 if same else 1
    padding[axis] = (before, total - before)
    padded = jnp.pad(x, padding, constant_values=-jnp.inf)
    shifted = [jax.lax.slice_in_dim(padded, k, k + 2 * size - 1, 2, axis) for k in range(3)]
    x = functools.reduce(jnp.maximum, shifted)
  return x


def halve(x: jax.Array) -> jax.Array:
  """2x2 stride-2 max pool, [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), C] (torch's ceil mode)."""
  for axis in (1, 2):
    size = x.shape[axis]
    padding = [(0, size % 2) if i == axis else (0, 0) for i in range(4)]
    padded = jnp.pad(x, padding, constant_values=-jnp.inf)
    parts = [jax.lax.slice_in_dim(padded, k, None, 2, axis) for k in range(2)]
    x = jnp.maximum(*parts)
  return x


def mean_pool(x: jax.Array) -> jax.Array:
  """Means of 2x2 pixels, [B, H, W, C] -> [B, H/2, W/2, C]; H and W are even."""
  b, h, w, c = x.shape
  return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


class BatchNorm(nn.Module):
  """Batch normalisation (Ioffe and Szegedy 2015) in float32, as torch's unless it is told otherwise.

  Running variances are those of the batch, where torch's are n / (n - 1) times as large.

  Attributes:
    train: whether the batch's own statistics are taken, over `axis_name` where it is given.
    axis_name: a mapped axis that the batch is split over, or None.
    momentum: what the running statistics keep of themselves (torch's 0.1 is 0.9 here).
    epsilon: added to the variance.
    views: in training, one for each of equally many rows of the batch that follow each other and have statistics of
      their own: whether the running ones go on with them, in this order. So several pictures of a scene pass at once as they
      would one after the other.
  """

  train: bool
  axis_name: str | None
  momentum: float = 0.9
  epsilon: float = 1e-5
  views: tuple[bool, ...] = (True,)

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """float[B, ..., C] -> float32[B, ..., C]; in training it updates `batch_stats` (apply it mutable)."""
    x, shape = x.astype(jnp.float32), x.shape[-1:]
    mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
    variance = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
    scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
    if self.is_initializing():  # there need not be a mapped axis yet
      return x
    if not self.train:
      along = lambda values: values.reshape((1,) * (x.ndim - 1) + shape)
      inverse = jax.lax.rsqrt(variance.value + self.epsilon) * scale
      return (x - along(mean.value)) * along(inverse) + along(bias)
    y, *seen = norm.batch_norm(x, scale, bias, self.epsilon, len(self.views), self.axis_name)
    for running, values in zip((mean, variance), seen):
      for value, remembered in zip(values, self.views, strict=True):
        if remembered:
          running.value = self.momentum * running.value + (1 - self.momentum) * value
    return y


def conv_norm(
  x: jax.Array,
  features: int,
  kernel: int,
  stride: int = 1,
  dilation: int = 1,
  *,
  name: str,
  train: bool,
  axis_name: str | None,
  dtype: Any,
) -> jax.Array:
  """Convolution without bias, and batch norm: float[B, H, W, C] -> dtype[B, ceil(H/s), ceil(W/s), features].

  They are the modules "conv" + name and "norm" + name of the one that calls this. `features` to
  `dilation` and `dtype` as of `Conv`, `train` and `axis_name` as of `BatchNorm`.
  """
  conv = Conv(
    features, kernel, stride, dilation=dilation, bias=False, dtype=dtype, name=f"conv{name}"
  )
  norm = BatchNorm(train, axis_name, name=f"norm{name}")
  return norm(conv(x)).astype(dtype)


def narrow(width: int, divisor: int) -> int:
  """A width of a published network, divided; at least 2."""
  return max(2, width // divisor)


class PatchEmbed(nn.Module):
  """Linear map of non-overlapping patches, [B, H, W, C] -> dtype[B, H/p, W/p, features].

  Equal to a convolution with kernel and stride p; `kernel` is float32[p, p, C, features].
  """

  features: int
  patch: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    p, d = self.patch, self.features
    kernel = self.param("kernel", nn.initializers.lecun_normal(), (p, p, c, d), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (d,), jnp.float32)
    x = rearrange(x.astype(self.dtype), "b (h p) (w q) c -> (b h w) (p q c)", p=p, q=p)
    y = x @ kernel.reshape(p * p * c, d).astype(self.dtype) + bias.astype(self.dtype)[None]
    return y.reshape(b, h // p, w // p, d)


class Upsample(nn.Module):
  """Transposed convolution with kernel = stride = s, [B, H, W, C] -> dtype[B, sH, sW, features].

  Every input pixel becomes an s x s patch of its own; `kernel` is float32[s, s, C, features].
  """

  features: int
  stride: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    s, d = self.stride, self.features
    kernel = self.param("kernel", nn.initializers.lecun_normal(), (s, s, c, d), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (d,), jnp.float32)
    matrix = rearrange(kernel.astype(self.dtype), "p q c d -> c (p q d)")
    y = x.astype(self.dtype).reshape(b * h * w, c) @ matrix
    y = rearrange(y, "(b h w) (p q d) -> b (h p) (w q) d", b=b, h=h, p=s, q=s)
    return y + bias.astype(self.dtype)[None, None, None]


class GroupNorm(nn.Module):
  """Group normalisation (Wu and He 2018), eps 1e-5, of [..., C] over all but the batch axis."""

  groups: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    *lead, c = x.shape
    scale = self.param("scale", nn.initializers.ones, (c,), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (c,), jnp.float32)
    x = x.astype(jnp.float32).reshape(lead[0], -1, c)
    y = norm.group_norm(x, scale, bias, self.groups, 1e-5)
    return y.reshape(*lead, c).astype(self.dtype)


class LayerNorm(nn.Module):
  """Layer normalisation (Ba et al. 2016), eps 1e-6, of [..., C] over the last axis."""

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    *lead, c = x.shape
    scale = self.param("scale", nn.initializers.ones, (c,), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (c,), jnp.float32)
    x = x.astype(jnp.float32).reshape(lead[0], -1, c)
    return norm.layer_norm(x, scale, bias, 1e-6).reshape(*lead, c).astype(self.dtype)
