"""Firing rates matched pixel by pixel, against NumPy on unpacked bits."""

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.ops import inputs, rates, spikes


def _streams(rng, low, high):
  """Streams whose rate goes from `low` in the first row to `high` in the last, with texture."""
  rate = np.linspace(low, high, 6)[None, :, None] * rng.uniform(0.4, 1.6, (9, 6, 10))
  return spikes.pack((rng.random((9, 6, 10, 64)) < rate[..., None]).astype(np.uint8))


def _windows(packed):
  """Rates of windows of eight steps, -1..1, with the mirror images behind: [2 B, H, W, T/8]."""
  bits = spikes.bits(packed).reshape(*packed.shape, 8)
  rates_there = 2 * bits.mean(-1) - 1
  return np.concatenate([rates_there, rates_there[:, :, ::-1]])


def test_moments_are_those_of_windows_of_eight_steps():
  packed = _streams(np.random.default_rng(0), 0.1, 0.5)
  windows = _windows(packed)
  found = rates.moments(jnp.asarray(packed))
  np.testing.assert_allclose(found.mean, windows.mean((0, 3)), atol=1e-6)
  np.testing.assert_allclose(found.spread, windows.std((0, 3)), atol=1e-6)


def test_matched_streams_have_the_other_moments():
  """Exactly for inputs that are windows of eight steps; steps, which are wider, by their mean."""
  rng = np.random.default_rng(1)
  foggy, clear = _streams(rng, 0.5, 0.3), _streams(rng, 0.1, 0.4)
  here, there = rates.moments(jnp.asarray(foggy)), rates.moments(jnp.asarray(clear))
  for bins in (8, 0):
    x = inputs.spike_input(jnp.asarray(foggy), (6, 10), bins)
    y = np.asarray(rates.match(x, here, there)).reshape(9, 6, 10, 8, -1).mean(-1)
    y = np.concatenate([y, y[:, :, ::-1]])
    np.testing.assert_allclose(y.mean((0, 3)), there.mean, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 3)), there.spread, atol=1e-5)
  np.testing.assert_allclose(rates.match(x, here, here), x, atol=1e-6)


def test_a_pixel_that_never_changes_stays_finite():
  silent = rates.moments(jnp.zeros((2, 6, 5, 4), jnp.uint8))
  assert np.isfinite(rates.match(jnp.full((2, 6, 5, 4), -1.0), silent, silent)).all()


def test_running_moments_are_the_mean_of_all_so_far():
  rng = np.random.default_rng(2)
  seen, found = [], rates.none_yet((6, 10))
  for step in range(5):
    new = rates.Moments(*jnp.asarray(rng.normal(size=(2, 6, 10)), jnp.float32))
    seen.append(new)
    found = rates.running(found, new, jnp.int32(step))
  jax.tree.map(
    lambda a, *all_: np.testing.assert_allclose(a, np.mean(all_, 0), rtol=1e-5, atol=1e-6),
    found,
    *seen,
  )
