import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.ops import gradient


def test_reverse_changes_the_gradient_alone():
  x = jnp.array([1.0, -2.0, 3.0])
  np.testing.assert_array_equal(gradient.reverse(x, 0.5), x)
  f = lambda x: jnp.sum(jnp.square(gradient.reverse(x, 0.5)))
  np.testing.assert_allclose(jax.grad(f)(x), -0.5 * 2 * x)
