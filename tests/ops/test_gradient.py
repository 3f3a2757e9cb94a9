import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import gradient


def test_reverse_changes_the_gradient_alone():
  x = jnp.array([1.0, -2.0, 3.0])
  np.testing.assert_array_equal(gradient.reverse(x, 0.5), x)
  f = lambda x: jnp.sum(jnp.square(gradient.reverse(x, 0.5)))
  np.testing.assert_allclose(jax.grad(f)(x), -0.5 * 2 * x)


@pytest.mark.parametrize("factor", [1.0, 0.25, 0.0, -2.0])
def test_scale_changes_the_gradient_alone(factor):
  x = jnp.array([1.0, -2.0, 3.0])
  np.testing.assert_array_equal(gradient.scale(x, factor), x)
  f = lambda x: jnp.sum(jnp.square(gradient.scale(x, factor)))
  np.testing.assert_allclose(jax.grad(f)(x), factor * 2 * x)


def test_scale_0_stops_what_is_not_finite_too():
  f = lambda x: gradient.scale(jnp.sqrt(x), 0.0)
  assert jax.grad(f)(0.0) == 0
