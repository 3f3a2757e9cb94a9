"""Small random rotations of pictures and their labels, on the device."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bicross_jax import fields

LABELS = ("nearest", "bilinear")


def random_rotation(
  key: jax.Array,
  batch: Mapping[str, jax.Array],
  own: Mapping[str, fields.Field] | None = None,
  *,
  degrees: float = 5.0,
  share: float = 0.5,
  labels: str = "nearest",
) -> dict[str, jax.Array]:
  """Turns some examples about their centre, all their maps alike; the size stays.

  Angles are whole hundredths of a degree from -`degrees` up to, but not including, `degrees` (T2Net, Zheng et al., ECCV
  2018). See `rotate`.

  Args:
    key: PRNG key.
    batch: fields with the batch in front, at least one of them a map [B, H, W, ...].
    own: fields of a recipe's own.
    degrees: the largest angle.
    share: probability that an example is turned.
    labels: as for `rotate`.

  Returns:
    The batch with the same shapes and types.
  """
  turning, choosing = jax.random.split(key)
  rows = next(iter(batch.values())).shape[0]
  steps = round(100 * degrees)
  angles = jax.random.randint(choosing, (rows,), -steps, steps) / 100
  return rotate(
    batch, jnp.where(jax.random.bernoulli(turning, share, (rows,)), angles, 0), own, labels=labels
  )


def rotate(
  batch: Mapping[str, jax.Array],
  angles: jax.Array,
  own: Mapping[str, fields.Field] | None = None,
  *,
  labels: str = "nearest",
) -> dict[str, jax.Array]:
  """Turns every example about its centre.

  Pictures (smooth fields of 8 bits) are resampled as Pillow does it, bicubic with a = -1 and 0 where the original does
  not reach, but rounded, where Pillow cuts off. Of other maps a pixel is the nearest one, and unknown where there is
  none: so no value is made up, neither in the corners nor across an edge.

  Args:
    batch: fields with the batch in front, at least one of them a map [B, H, W, ...].
    angles: float32[B], degrees, counter-clockwise.
    own: fields of a recipe's own.
    labels: how maps of floating type are resampled: "nearest", or "bilinear" (as Pillow), which mixes
      what lies on both sides of an edge, with what is unknown too; as published by Akada et al. (2022).

  Returns:
    The batch with the same shapes and types.

  Raises:
    ValueError: a field that knows about the camera (intrinsics, baseline, crop), whose rows would no
      longer be level; maps of several sizes, or none; another word for `labels`.
    KeyError: a field that nobody has declared.
  """
  kinds = {name: fields.get(name, own) for name in batch}
  sizes = {batch[name].shape[1:3] for name, kind in kinds.items() if kind.kind == "map"}
  wrong = [name for name, kind in kinds.items() if kind.kind not in ("map", "plain")]
  if wrong or len(sizes) != 1 or labels not in LABELS:
    raise ValueError(
      f"rotate takes maps of one size and labels={LABELS}, not {wrong}, maps of {sorted(sizes)}, {labels!r}"
    )
  ((height, width),) = sizes
  places = _places(angles, height, width)

  def one(name, x):
    field = kinds[name]
    if field.kind != "map":
      return x
    if field.smooth:
      return _resample(x, *places, _bicubic, 0)
    if labels == "bilinear" and jnp.issubdtype(x.dtype, jnp.floating):
      return _resample(x, *places, _bilinear, field.unknown)
    return _resample(x, *places, _nearest, field.unknown)

  return {name: one(name, x) for name, x in batch.items()}


def _places(angles, height, width):
  """Where every pixel comes from: column and row, float32[B, H, W], pixel k reaching from k to k + 1."""
  radians = jnp.deg2rad(jnp.asarray(angles, jnp.float32))[:, None, None]
  cos, sin = jnp.cos(radians), jnp.sin(radians)
  x = (jnp.arange(width) + 0.5 - width / 2)[None, None, :]
  y = (jnp.arange(height) + 0.5 - height / 2)[None, :, None]
  return cos * x - sin * y + width / 2, sin * x + cos * y + height / 2


def _nearest(t):
  """Taps of a place t: the number of the first, and the weights of it and its successors."""
  return jnp.floor(t).astype(jnp.int32), [jnp.ones_like(t)]


def _bilinear(t):
  first = jnp.floor(t - 0.5)
  d = t - 0.5 - first
  return first.astype(jnp.int32), [1 - d, d]


def _bicubic(t):
  """Keys' kernel with a = -1."""
  first = jnp.floor(t - 0.5)
  d = t - 0.5 - first
  weights = [d * (-1 + d * (2 - d)), 1 + d * d * (d - 2), d * (1 + d * (1 - d)), d * d * (d - 1)]
  return first.astype(jnp.int32) - 1, weights


def _resample(x, column, row, kernel, outside):
  """A map [B, H, W, ...] at places float32[B, H, W]; edges are repeated for taps that lie beyond them."""
  b, h, w = x.shape[:3]
  inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
  (left, across), (top, down) = kernel(column), kernel(row)
  flat = x.reshape(b, h * w, -1)
  value = None
  for i, weight_y in enumerate(down):
    for j, weight_x in enumerate(across):
      index = jnp.clip(top + i, 0, h - 1) * w + jnp.clip(left + j, 0, w - 1)
      tap = jnp.take_along_axis(flat, index.reshape(b, -1, 1), axis=1, mode="promise_in_bounds")
      if kernel is not _nearest:
        tap = tap * (weight_y * weight_x).reshape(b, -1, 1)
      value = tap if value is None else value + tap
  if jnp.issubdtype(x.dtype, jnp.integer) and kernel is not _nearest:
    value = jnp.clip(jnp.round(value), 0, jnp.iinfo(x.dtype).max)
  value = jnp.where(inside.reshape(b, -1, 1), value.astype(x.dtype), jnp.asarray(outside, x.dtype))
  return value.reshape(x.shape)
