"""Spikes and their surrogate gradients (docs/systems/stereospike.md).

A neuron fires where its potential reaches the threshold: spike(x) = 1 where x >= 0, else 0. That has
no useful derivative, so in the backward pass another one stands in, the derivative of a surrogate:
Neftci et al. 2019; the names are those of SpikingJelly (Fang et al. 2023, `surrogate.py`).
"""

from collections.abc import Callable
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Surrogate(NamedTuple):
  """A surrogate with its parameters, static and hashable; made by `create`.

  Attributes:
    name: of `SURROGATES`.
    parameters: (name, value) of each, in the order of its definition.
  """

  name: str
  parameters: tuple[tuple[str, float], ...]


class Definition(NamedTuple):
  """What a surrogate is.

  Attributes:
    defaults: its parameters.
    derivative: (x, **parameters) -> what stands in for the derivative of a spike, of the same shape.
    primitive: (x, **parameters) -> the function that has this derivative, 1/2 at 0 where it is
      odd around that; None where there is no closed form or no function.
  """

  defaults: dict[str, float]
  derivative: Callable[..., jax.Array]
  primitive: Callable[..., jax.Array] | None = None


def _sigmoid(x, alpha):
  s = jax.nn.sigmoid(alpha * x)
  return alpha * s * (1 - s)


def _atan(x, alpha):
  return alpha / 2 / (1 + jnp.square(math.pi / 2 * alpha * x))


def _piecewise_quadratic(x, alpha):
  inside = 0.5 + alpha * x * (1 - 0.5 * alpha * jnp.abs(x))
  return jnp.where(jnp.abs(x) * alpha < 1, inside, (x > 0).astype(x.dtype))


def _piecewise_exp(x, alpha):
  half = 0.5 * jnp.exp(-alpha * jnp.abs(x))
  return jnp.where(x < 0, half, 1 - half)


def _fourier(x, n, period):
  odd = [2 * i - 1 for i in range(1, int(n))]
  return 4 / period * sum(jnp.cos(k * 2 * math.pi / period * x) for k in odd)


def _fourier_primitive(x, n, period):
  odd = [2 * i - 1 for i in range(1, int(n))]
  return 0.5 + 2 / math.pi * sum(jnp.sin(k * 2 * math.pi / period * x) / k for k in odd)


def _leaky_relu(x, w, c):
  return jnp.where(jnp.abs(x) < w, 1 / (2 * w), c)


def _leaky_relu_primitive(x, w, c):
  return jnp.where(
    jnp.abs(x) < w, x / (2 * w) + 0.5, jnp.where(x < 0, c * x + c * w, c * x - c * w + 1)
  )


def _s2nn(x, alpha, beta):
  return jnp.where(x < 0, _sigmoid(x, alpha), beta / (jnp.abs(x) + 1))


def _s2nn_primitive(x, alpha, beta):
  return jnp.where(x < 0, jax.nn.sigmoid(alpha * x), beta * jnp.log1p(jnp.abs(x)) + 0.5)


def _q_pseudo_spike(x, alpha):
  return (1 + 2 / (alpha - 1) * jnp.abs(x)) ** -alpha


def _q_primitive(x, alpha):
  half = 0.5 * (1 + 2 / (alpha - 1) * jnp.abs(x)) ** (1 - alpha)
  return jnp.where(x < 0, half, 1 - half)


def _log_tailed_relu(x, alpha):
  return jnp.where(x <= 0, alpha, jnp.where(x <= 1, 1.0, 1 / jnp.maximum(x, 1)))


def _log_tailed_relu_primitive(x, alpha):
  return jnp.where(x <= 0, alpha * x, jnp.where(x <= 1, x, jnp.log(jnp.maximum(x, 1)) + 1))


SURROGATES: dict[str, Definition] = {
  "atan": Definition(
    {"alpha": 2.0}, _atan, lambda x, alpha: jnp.arctan(math.pi / 2 * alpha * x) / math.pi + 0.5
  ),
  "sigmoid": Definition({"alpha": 4.0}, _sigmoid, lambda x, alpha: jax.nn.sigmoid(alpha * x)),
  "piecewise_quadratic": Definition(
    {"alpha": 1.0},
    lambda x, alpha: jnp.maximum(0, alpha - alpha**2 * jnp.abs(x)),
    _piecewise_quadratic,
  ),
  "piecewise_exp": Definition(
    {"alpha": 1.0}, lambda x, alpha: alpha / 2 * jnp.exp(-alpha * jnp.abs(x)), _piecewise_exp
  ),
  "soft_sign": Definition(
    {"alpha": 2.0},
    lambda x, alpha: 1 / (2 * alpha * jnp.square(1 / alpha + jnp.abs(x))),
    lambda x, alpha: 0.5 * (alpha * x / (1 + alpha * jnp.abs(x)) + 1),
  ),
  "super_spike": Definition(
    {"alpha": 1.0},
    lambda x, alpha: alpha / jnp.square(1 + jnp.abs(x)),
    lambda x, alpha: alpha * x / (1 + jnp.abs(x)) + 0.5,
  ),
  "erf": Definition(
    {"alpha": 2.0},
    lambda x, alpha: alpha / math.sqrt(math.pi) * jnp.exp(-jnp.square(alpha * x)),
    lambda x, alpha: 0.5 * (1 + jax.scipy.special.erf(alpha * x)),
  ),
  "nonzero_sign_log_abs": Definition(
    {"alpha": 1.0},
    lambda x, alpha: 1 / (1 / alpha + jnp.abs(x)),
    lambda x, alpha: jnp.where(x < 0, -1, 1) * jnp.log(jnp.abs(alpha * x) + 1),
  ),
  "piecewise_leaky_relu": Definition({"w": 1.0, "c": 0.01}, _leaky_relu, _leaky_relu_primitive),
  "squarewave_fourier_series": Definition({"n": 2, "period": 8.0}, _fourier, _fourier_primitive),
  "s2nn": Definition({"alpha": 4.0, "beta": 1.0}, _s2nn, _s2nn_primitive),
  "q_pseudo_spike": Definition({"alpha": 2.0}, _q_pseudo_spike, _q_primitive),
  "leaky_k_relu": Definition(
    {"leak": 0.0, "k": 1.0},
    lambda x, leak, k: jnp.where(x >= 0, k, leak),
    lambda x, leak, k: jnp.where(x >= 0, k * x, leak * x),
  ),
  "fake_numerical_gradient": Definition(
    {"alpha": 0.3}, lambda x, alpha: jnp.minimum(1 / jnp.maximum(jnp.abs(x), 1e-30), alpha)
  ),
  "log_tailed_relu": Definition({"alpha": 0.0}, _log_tailed_relu, _log_tailed_relu_primitive),
  "rect": Definition(
    {"alpha": 1.0},
    lambda x, alpha: jnp.where(jnp.abs(x) < 0.5 / alpha, alpha, 0.0),
    lambda x, alpha: jnp.clip(alpha * x + 0.5, 0, 1),
  ),
  "deterministic_pass": Definition({}, jnp.ones_like, lambda x: x),
}


def create(name: str, **parameters: float) -> Surrogate:
  """A surrogate of `SURROGATES`; parameters that are not given have their defaults.

  The default alpha of "sigmoid" is 4, as in SpikingJelly since 0.0.0.0.10; before it was 1.

  Raises:
    ValueError: no such surrogate or parameter.
  """
  if name not in SURROGATES:
    raise ValueError(f"no surrogate {name!r}; choose from {', '.join(SURROGATES)}")
  defaults = SURROGATES[name].defaults
  unknown = sorted(set(parameters) - set(defaults))
  if unknown:
    raise ValueError(f"surrogate {name} has no {', '.join(unknown)}; it has {', '.join(defaults)}")
  return Surrogate(name, tuple({**defaults, **parameters}.items()))


def derivative(surrogate: Surrogate, x: jax.Array) -> jax.Array:
  """What stands in for the derivative of `spike` at x: float[...] -> the same shape and type."""
  given = SURROGATES[surrogate.name].derivative(x, **dict(surrogate.parameters))
  return given.astype(x.dtype)


def primitive(surrogate: Surrogate, x: jax.Array) -> jax.Array:
  """The smooth function whose derivative is `derivative`: float[...] -> the same shape and type.

  Raises:
    ValueError: the surrogate has none.
  """
  known = SURROGATES[surrogate.name].primitive
  if known is None:
    raise ValueError(f"surrogate {surrogate.name} is the derivative of no function in closed form")
  return known(x, **dict(surrogate.parameters)).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def spike(surrogate: Surrogate, x: jax.Array) -> jax.Array:
  """1 where x >= 0, else 0, with the surrogate's gradient: float[...] -> the same shape and type."""
  del surrogate
  return (x >= 0).astype(x.dtype)


def _spike_forward(surrogate, x):
  return spike(surrogate, x), x


def _spike_backward(surrogate, x, gradient):
  return (gradient * derivative(surrogate, x),)


spike.defvjp(_spike_forward, _spike_backward)
