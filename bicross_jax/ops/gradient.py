"""Operations that change gradients alone."""

import functools

import jax
import jax.numpy as jnp


def absolute(x: jax.Array) -> jax.Array:
  """|x|; at exactly 0 its gradient is 0, as PyTorch's is, where that of `jnp.abs` is 1."""
  return jnp.maximum(x, -x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def reverse(x: jax.Array, beta: float = 1.0) -> jax.Array:
  """x itself; its gradient is multiplied by -beta (Ganin and Lempitsky 2015).

  What stands behind it learns to lower a loss, what stands before it to raise it.

  Args:
    x: float[...].
    beta: not traced.
  """
  del beta
  return x


def _forward(x, beta):
  del beta
  return x, None


def _backward(beta, _, gradient):
  return (-beta * gradient,)


reverse.defvjp(_forward, _backward)


def scale(x: jax.Array, factor: float) -> jax.Array:
  """x itself; its gradient is multiplied by `factor`, and 0 stops it."""
  return reverse(x, -factor) if factor else jax.lax.stop_gradient(x)
