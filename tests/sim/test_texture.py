"""Band-limited textures against brute-force averages."""

import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.sim import texture


@pytest.mark.parametrize("footprint", [0.05, 0.4, 1.7])
def test_pulse_is_the_mean_over_the_footprint(footprint):
  x = np.linspace(-3, 3, 97)
  fine = x[:, None] + footprint * (np.arange(4000) + 0.5) / 4000 - footprint / 2
  expected = ((fine % 1 >= 0.2) & (fine % 1 < 0.65)).mean(1)
  got = texture.pulse(jnp.asarray(x, jnp.float32), 0.2, 0.65, footprint)
  np.testing.assert_allclose(got, expected, atol=2e-3)


def test_band_and_step_are_means_over_the_footprint():
  x = np.linspace(-2, 2, 81)
  fine = x[:, None] + 0.5 * (np.arange(4000) + 0.5) / 4000 - 0.25
  np.testing.assert_allclose(
    texture.band(jnp.asarray(x, jnp.float32), -0.1, 0.8, 0.5),
    ((fine > -0.1) & (fine < 0.8)).mean(1),
    atol=2e-3,
  )
  np.testing.assert_allclose(
    texture.step(jnp.asarray(x, jnp.float32), 0.5), (fine > 0).mean(1), atol=2e-3
  )


def test_random_is_uniform_and_differs_by_seed():
  i, j = jnp.meshgrid(jnp.arange(-100.0, 100.0), jnp.arange(-100.0, 100.0))
  a, b = (np.asarray(texture.random(i, j, seed)).ravel() for seed in (0.0, 5.0))
  assert 0 <= a.min() and a.max() < 1
  assert a.mean() == pytest.approx(0.5, abs=0.01) and a.var() == pytest.approx(1 / 12, abs=2e-3)
  assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
  grid = a.reshape(200, 200)
  assert abs(np.corrcoef(grid[:, 1:].ravel(), grid[:, :-1].ravel())[0, 1]) < 0.02
  assert abs(np.corrcoef(grid[1:].ravel(), grid[:-1].ravel())[0, 1]) < 0.02


def test_noise_is_continuous_and_fades_with_the_footprint():
  u = jnp.linspace(-5.0, 5.0, 20001)
  v = jnp.full_like(u, 0.37)
  spread = []
  for footprint in (0.001, 0.1, 0.4, 2.0):
    x = np.asarray(texture.noise(u, v, 1.0, footprint, 3.0))
    spread.append(x.std())
    assert np.abs(np.diff(x)).max() < 0.02
  assert spread[0] > spread[1] > spread[2] > spread[3] == 0


def test_joints_cover_their_share():
  u, v = (
    jnp.asarray(x, jnp.float32)
    for x in np.meshgrid(
      np.linspace(0, 5, 1000, endpoint=False), np.linspace(0, 2, 1000, endpoint=False)
    )
  )
  joint, tone = texture.joints(u, v, 1e-3, 1e-3, 0.5, 0.2, 0.05, 0.5)
  assert np.mean(joint) == pytest.approx(1 - 0.9 * 0.75, abs=0.01)
  assert -1 <= np.min(tone) and np.max(tone) <= 1
  _, far = texture.joints(u, v, 1.0, 1.0, 0.5, 0.2, 0.05, 0.5)
  assert np.abs(far).max() == 0
