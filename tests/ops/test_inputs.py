"""Network inputs against their definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import inputs


def _stream():
  bits = np.random.default_rng(0).integers(0, 2, (2, 6, 10, 64)).astype(np.uint8)
  return bits, jnp.asarray(np.packbits(bits, axis=-1, bitorder="little"))


def test_spikes_enter_as_minus_and_plus_one():
  bits, packed = _stream()
  np.testing.assert_array_equal(inputs.spike_input(packed, (6, 10)), 2.0 * bits - 1)


@pytest.mark.parametrize("bins", [1, 4, 8, 16])
def test_bins_are_the_means_of_their_steps(bins):
  bits, packed = _stream()
  means = (2.0 * bits - 1).reshape(2, 6, 10, bins, -1).mean(-1)
  np.testing.assert_allclose(inputs.spike_input(packed, (6, 10), bins), means, atol=1e-6)


def test_resizing_takes_whole_pixels():
  bits, packed = _stream()
  out = inputs.spike_input(packed, (3, 5))
  np.testing.assert_array_equal(out, 2.0 * bits[:, ::2, ::2] - 1)


def test_colours_are_centred():
  rgb = jnp.asarray([0, 51, 255], jnp.uint8).reshape(1, 1, 1, 3)
  np.testing.assert_allclose(inputs.rgb_input(rgb, (1, 1)).ravel(), [-1, -0.6, 1], atol=1e-6)
