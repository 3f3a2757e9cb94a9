"""From the bytes of a batch to what a network sees: resized, unpacked, normalised, flipped."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bicross_jax import fields
from bicross_jax.ops import resize, spikes


def rgb_input(rgb: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Network input of a colour image: bilinear resize, then (x - 0.5) / 0.5.

  Args:
    rgb: uint8[B, H, W, 3], sRGB.
    shape: (h, w) of the network.

  Returns:
    float32[B, h, w, 3] in -1..1 (Liu, Zhang et al., "BiCross").
  """
  x = rgb.astype(jnp.float32) / 255.0
  if x.shape[1:3] != tuple(shape):
    x = resize.bilinear(x, shape)
  return (x - 0.5) / 0.5


def spike_input(packed: jax.Array, shape: tuple[int, int], bins: int = 0) -> jax.Array:
  """Network input of a spike stream: nearest resize (torch's), then -1/+1.

  The resize works on packed bytes: it moves pixels whole, so it commutes with unpacking.

  Args:
    packed: uint8[B, H, W, T/8], packed along time.
    shape: (h, w) of the network.
    bins: 0, or a number of equal windows of time; each gives the mean of its steps.

  Returns:
    float32[B, h, w, T], or float32[B, h, w, bins] in -1..1.
  """
  if packed.shape[1:3] != tuple(shape):
    packed = resize.nearest(packed, shape)
  if not bins:
    return spikes.unpack(packed)
  return spikes.bin_counts(packed, bins) * (bins / (4 * packed.shape[-1])) - 1


def network_input(batch, modality: str, shape: tuple[int, int], bins: int = 0) -> jax.Array:
  """The input of `modality` from a batch, at the network's (h, w).

  Args:
    batch: has the field `modality`.
    modality: "rgb" or "spike".
    shape: (h, w).
    bins: of a spike stream, see `spike_input`.
  """
  if modality == "rgb":
    return rgb_input(batch["rgb"], shape)
  if modality == "spike":
    return spike_input(batch["spike"], shape, bins)
  raise ValueError(f"unknown modality {modality!r}; choose rgb or spike")


def random_flip(
  key: jax.Array,
  batch: Mapping[str, jax.Array],
  own: Mapping[str, fields.Field] | None = None,
  *,
  share: float = 0.5,
  vertical: bool = False,
) -> dict[str, jax.Array]:
  """Mirrors some examples left to right, or turns them upside down, all their fields alike.

  What that does to a field (a map, the principal point, the baseline) `fields` says.

  Args:
    key: PRNG key.
    batch: fields with the batch in front, at least one of them a map [B, H, W, ...].
    own: fields of a recipe's own.
    share: probability that an example is flipped.
    vertical: upside down instead of left to right.

  Returns:
    The batch with the same shapes.

  Raises:
    ValueError: there is no map in it, or its maps differ in the size that is flipped.
    KeyError: a field that nobody has declared.
  """
  axis, flipped = (1, fields.upend) if vertical else (2, fields.mirror)
  sizes = {batch[name].shape[axis] for name in fields.maps(batch, own)}
  if len(sizes) != 1:
    side = "height" if vertical else "width"
    raise ValueError(f"random_flip takes maps of one {side}, not {sorted(sizes) or 'no map'}")
  (size,) = sizes
  rows = next(iter(batch.values())).shape[0]
  flip = jax.random.bernoulli(key, share, (rows,))

  def one(name, x):
    where = flip.reshape((rows,) + (1,) * (x.ndim - 1))
    return jnp.where(where, flipped(fields.get(name, own), x, size), x)

  return {name: one(name, x) for name, x in batch.items()}
