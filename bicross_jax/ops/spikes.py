"""Spike streams packed along time: 128 steps of a pixel are 16 bytes.

Step t of a pixel is bit t % 8 (least significant first) of byte t // 8. Every function takes
NumPy or JAX arrays and returns the same kind. Resizing with nearest neighbour only moves whole
pixels, so it may be done on the packed bytes.
"""

import jax
import jax.numpy as jnp
import numpy as np

_LITTLE = np.arange(8, dtype=np.uint8)


def pack(bits):
  """Packs spikes along their last axis.

  Args:
    bits: uint8 or bool[..., T], anything but 0 counts as a spike; T a multiple of 8.

  Returns:
    uint8[..., T/8].
  """
  if not bits.ndim or bits.shape[-1] % 8:
    raise ValueError(f"spikes of shape {bits.shape} cannot be packed: T must be a multiple of 8")
  return _library(bits).packbits(bits, axis=-1, bitorder="little")


def bits(packed):
  """The steps of a packed stream: uint8[..., T/8] -> uint8[..., T] of 0 and 1."""
  _check(packed)
  if isinstance(packed, np.ndarray):
    return np.unpackbits(packed, axis=-1, bitorder="little")
  shifts = _LITTLE.reshape((1,) * packed.ndim + (8,))
  return ((packed[..., None] >> shifts) & np.uint8(1)).reshape(*packed.shape[:-1], -1)


def unpack(packed):
  """A packed stream as networks take it: uint8[..., T/8] -> float32[..., T] of -1 and +1."""
  return bits(packed).astype(np.float32) * np.float32(2) - np.float32(1)


def bin_counts(packed, bins: int):
  """The number of spikes in each of `bins` equal windows of the stream.

  Args:
    packed: uint8[..., T/8].
    bins: number of windows; must divide T.

  Returns:
    float32[..., bins].
  """
  _check(packed)
  steps = 8 * packed.shape[-1]
  if bins < 1 or steps % bins:
    raise ValueError(f"{bins} windows do not divide {steps} steps")
  if steps // bins % 8:
    counts = bits(packed)
  else:
    counts = _popcount(packed)
  counts = counts.astype(np.float32).reshape(*packed.shape[:-1], bins, counts.shape[-1] // bins)
  return counts.sum(axis=-1)


def rate(packed):
  """The mean firing rate in spikes a step, 0..1: uint8[..., T/8] -> float32[...]."""
  return bin_counts(packed, 1)[..., 0] / np.float32(8 * packed.shape[-1])


def window_count(packed, start: int, length: int):
  """The number of spikes in the steps start .. start + length - 1.

  Args:
    packed: uint8[..., T/8].
    start, length: a window inside the stream, in steps.

  Returns:
    float32[...].
  """
  _check(packed)
  steps = 8 * packed.shape[-1]
  if start < 0 or length < 1 or start + length > steps:
    raise ValueError(f"steps {start} to {start + length - 1} are not inside a stream of {steps}")
  inside = np.zeros(steps, np.uint8)
  inside[start : start + length] = 1
  mask = np.packbits(inside, bitorder="little").reshape((1,) * (packed.ndim - 1) + (-1,))
  return _popcount(packed & mask).astype(np.float32).sum(axis=-1)


def _library(array):
  return np if isinstance(array, np.ndarray) else jnp


def _popcount(packed):
  if isinstance(packed, np.ndarray):
    return np.bitwise_count(packed)
  return jax.lax.population_count(packed)


def _check(packed):
  if packed.dtype != np.uint8 or not packed.ndim or not packed.shape[-1]:
    raise ValueError(f"a packed stream is uint8[..., T/8], not {packed.dtype}{packed.shape}")
