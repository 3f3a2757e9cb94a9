"""Packing along time against NumPy's own, and counts against sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import spikes


def _bits(shape=(3, 5, 48)):
  return np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
def test_pack_is_little_bit_order_along_time(library, dtype):
  bits = _bits()
  packed = spikes.pack(library(bits.astype(dtype)))
  assert isinstance(packed, np.ndarray) == (library is np.asarray)
  assert packed.dtype == np.uint8
  np.testing.assert_array_equal(packed, np.packbits(bits, axis=-1, bitorder="little"))
  for t in (0, 7, 8, 47):  # step t is bit t % 8 of byte t // 8
    np.testing.assert_array_equal((np.asarray(packed)[..., t // 8] >> (t % 8)) & 1, bits[..., t])


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray])
def test_unpack_gives_minus_and_plus_one(library):
  bits = _bits()
  packed = spikes.pack(library(bits))
  back = spikes.unpack(packed)
  assert back.dtype == np.float32
  np.testing.assert_array_equal(back, bits * 2.0 - 1.0)
  np.testing.assert_array_equal(spikes.bits(packed), bits)
  np.testing.assert_array_equal(jax.jit(spikes.unpack)(jnp.asarray(packed)), back)


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("bins", [1, 2, 3, 6, 12, 48])
def test_counts_are_sums_over_windows(library, bins):
  bits = _bits()
  counts = spikes.bin_counts(library(spikes.pack(bits)), bins)
  assert counts.dtype == np.float32
  np.testing.assert_array_equal(counts, bits.reshape(3, 5, bins, -1).sum(-1))


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray])
def test_rate_and_window_count(library):
  bits = _bits()
  packed = library(spikes.pack(bits))
  np.testing.assert_allclose(spikes.rate(packed), bits.mean(-1), rtol=1e-6)
  for start, length in ((0, 48), (3, 1), (5, 20), (47, 1), (8, 8)):
    np.testing.assert_array_equal(
      spikes.window_count(packed, start, length), bits[..., start : start + length].sum(-1)
    )


def test_wrong_lengths_are_refused():
  packed = spikes.pack(_bits())
  with pytest.raises(ValueError, match="multiple of 8"):
    spikes.pack(_bits((2, 12)))
  with pytest.raises(ValueError, match="7 windows"):
    spikes.bin_counts(packed, 7)
  with pytest.raises(ValueError, match="not inside"):
    spikes.window_count(packed, 40, 9)
  with pytest.raises(ValueError, match="float32"):
    spikes.unpack(packed.astype(np.float32))
