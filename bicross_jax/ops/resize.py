"""Resizing of maps [B, H, W, C], each rule under a name that says which one it is.

Every function equals `torch.nn.functional.interpolate` with `antialias=False` in value and
gradient. The linear rules are separable: per axis, output row i is a weighted sum of a few
input rows ("taps"). They are computed by gathering the taps; the gradient gathers too, through
the transposed table, because the scatter that a plain gather would give is slow on CPUs.

Arrays are float32 or bfloat16 [B, H, W, C]; `shape` is (height, width) of the output. A shape
that is not a pair of positive numbers, or an array that has not four axes, is a ValueError.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class _Taps(NamedTuple):
  """A sparse matrix [out, in]: row i holds weight[i, k] at column index[i, k]."""

  index: np.ndarray  # int32[out, K]
  weight: np.ndarray  # float32[out, K]; 0 where a row has fewer taps


def nearest(x: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Nearest neighbour by torch's rule: output i takes input floor(i * in / out)."""
  _check(x, shape)
  if jnp.issubdtype(x.dtype, jnp.floating):
    return _separable(x, shape, "nearest")
  for axis, size in zip((1, 2), shape):
    old = x.shape[axis]
    if old != size:
      x = jnp.take(x, np.arange(size) * old // size, axis=axis)
  return x


def nearest_part(x: jax.Array, axis: int, whole: int, start: int, count: int) -> jax.Array:
  """A part of what `nearest` makes of one axis.

  Args:
    x: float[...].
    axis: which.
    whole: size that the axis would be resized to.
    start, count: the first and the number of the rows that are wanted of it.

  Returns:
    float[...] with `count` rows along the axis.
  """
  return _resize_axis(x, axis, x.shape[axis], count, ("nearest", whole, start))


def bilinear(x: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Bilinear with pixel centres aligned (align_corners False), not antialiased."""
  return _separable(x, shape, "linear")


def bilinear_corners(x: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Bilinear with the centres of the corner pixels aligned (align_corners True)."""
  return _separable(x, shape, "linear_corners")


def bicubic(x: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Bicubic convolution (Keys 1981) with a = -0.75, pixel centres aligned, edges repeated."""
  return _separable(x, shape, "cubic")


def _check(x, shape):
  if x.ndim != 4:
    raise ValueError(f"expected [B, H, W, C], got shape {x.shape}")
  if len(shape) != 2 or min(shape) < 1 or 0 in x.shape:
    raise ValueError(f"cannot resize {x.shape} to (height, width) = {tuple(shape)}")


def _separable(x, shape, kind):
  """Resizes the axes one after the other, first the one that leaves fewer pixels."""
  _check(x, shape)
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise ValueError(f"interpolation needs floating point values, got {x.dtype}")
  axes = sorted((1, 2), key=lambda axis: shape[axis - 1] / x.shape[axis])
  for axis in axes:
    old, new = x.shape[axis], int(shape[axis - 1])
    if old != new:
      x = _resize_axis(x, axis, old, new, ("nearest", new, 0) if kind == "nearest" else kind)
  return x


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _resize_axis(x, axis, old, new, kind):
  return _gather(x, axis, _table(old, new, kind))


def _resize_axis_fwd(x, axis, old, new, kind):
  return _gather(x, axis, _table(old, new, kind)), None


def _resize_axis_bwd(axis, old, new, kind, _, dy):
  return (_gather(dy, axis, _transposed_table(old, new, kind)),)


_resize_axis.defvjp(_resize_axis_fwd, _resize_axis_bwd)


def _gather(x, axis, taps):
  """sum_k weight[:, k] * x[index[:, k]] along `axis`, accumulated in float32.

  What lies before the axis is made part of it: XLA gathers along a first axis without a transpose.
  """
  lead, old, tail = math.prod(x.shape[:axis]), x.shape[axis], x.shape[axis + 1 :]
  rows = jnp.asarray(x).reshape(lead * old, -1)
  first = old * np.arange(lead, dtype=np.int32)[:, None]
  total = 0.0
  for index, weight in zip(taps.index.T, taps.weight.T):
    tap = rows.at[(first + index).ravel()].get(mode="promise_in_bounds")
    total += tap if (weight == 1).all() else tap * np.tile(weight, lead)[:, None]
  return total.astype(x.dtype).reshape(*x.shape[:axis], -1, *tail)


@functools.lru_cache(maxsize=256)
def _table(old: int, new: int, kind: str | tuple[str, int, int]) -> _Taps:
  """The taps of output rows 0..new-1 among input rows 0..old-1.

  Nearest is ("nearest", size, start): `new` rows of `size`, from `start` on.
  """
  if isinstance(kind, tuple):
    _, size, start = kind
    index = (np.arange(start, start + new) * old // size).astype(np.int32)[:, None]
    return _Taps(index, np.ones(index.shape, np.float32))
  i = np.arange(new, dtype=np.float64)
  if kind == "linear_corners":
    at = i * ((old - 1) / (new - 1) if new > 1 else 0.0)
  else:
    at = (i + 0.5) * (old / new) - 0.5
  if kind == "cubic":
    first = np.floor(at).astype(np.int64)
    index = first[:, None] + np.arange(-1, 3)
    weight = _keys(at[:, None] - index)
  else:
    at = np.clip(at, 0, old - 1)
    first = np.minimum(np.floor(at).astype(np.int64), max(old - 2, 0))
    index = first[:, None] + np.arange(2)
    weight = np.stack([1 - (at - first), at - first], axis=1)
  return _Taps(np.clip(index, 0, old - 1).astype(np.int32), weight.astype(np.float32))


def _keys(t, a=-0.75):
  """Keys' cubic kernel at distance t."""
  t = np.abs(t)
  near = ((a + 2) * t - (a + 3)) * t**2 + 1
  far = a * (((t - 5) * t + 8) * t - 4)
  return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


@functools.lru_cache(maxsize=256)
def _transposed_table(old: int, new: int, kind: str | tuple[str, int, int]) -> _Taps:
  """The table of the transposed matrix: for every input row, the output rows that use it."""
  taps = _table(old, new, kind)
  dense = np.zeros((old, new), np.float32)
  np.add.at(dense, (taps.index, np.arange(new)[:, None]), taps.weight)
  width = max(1, int((dense != 0).sum(axis=1).max()))
  order = np.argsort(dense == 0, axis=1, kind="stable")[:, :width].astype(np.int32)
  return _Taps(order, np.take_along_axis(dense, order, axis=1))
