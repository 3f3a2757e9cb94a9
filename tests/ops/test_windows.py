"""Means over 3x3 windows against NumPy, and their gradient against the plain formulation's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import windows

RNG = np.random.default_rng(0)


def _plain(x):
  wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1)), mode="reflect")
  h, w = x.shape[1:]
  return sum(wide[:, i : i + h, j : j + w] for i in range(3) for j in range(3)) / 9


@pytest.mark.parametrize("size", [(2, 2), (3, 4), (7, 9)])
def test_means_and_their_gradient(size):
  x = jnp.asarray(RNG.random((2, *size)), jnp.float32)
  np.testing.assert_allclose(windows.mean(x), _plain(x), atol=1e-6)
  weight = jnp.asarray(RNG.random(x.shape), jnp.float32)
  gradient = lambda f: jax.grad(lambda x: (weight * f(x)).sum())(x)
  np.testing.assert_allclose(gradient(windows.mean), gradient(_plain), atol=1e-6)


def test_a_batch_in_front_and_in_vmap():
  x = jnp.asarray(RNG.random((3, 2, 5, 6)), jnp.float32)
  want = jnp.stack([_plain(one) for one in x])
  np.testing.assert_allclose(windows.mean(x), want, atol=1e-6)
  np.testing.assert_allclose(jax.vmap(windows.mean)(x), want, atol=1e-6)
