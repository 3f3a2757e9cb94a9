"""Surrogates: spikes are exact, gradients are the derivatives that are written down."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import surrogate

POINTS = np.array([-1.5, -0.75, -0.25, 0.25, 0.75, 1.3])
# What has a primitive, but one that is not smooth there or not what the derivative says it is.
WITHOUT = ("fake_numerical_gradient",)


@pytest.mark.parametrize(
  "name, parameters, values",
  [
    ("atan", {}, {-1.5: 0.043091, -0.25: 0.618486, 0: 1}),
    ("sigmoid", {"alpha": 1.0}, {-1.5: 0.149146, -0.25: 0.246134, 0: 0.25}),
    ("sigmoid", {}, {-1.5: 0.009866, -0.25: 0.786448, 0: 1}),
    ("piecewise_quadratic", {}, {-0.25: 0.75, 0: 1, 2: 0}),
    ("piecewise_exp", {}, {0: 0.5, 1: 0.5 / math.e}),
    ("soft_sign", {}, {0: 1, 0.5: 0.25}),
    ("super_spike", {}, {0: 1, -1: 0.25}),
    ("erf", {}, {0: 2 / math.sqrt(math.pi), 0.5: 2 / math.sqrt(math.pi) / math.e}),
    ("nonzero_sign_log_abs", {}, {0: 1, -1: 0.5}),
    ("piecewise_leaky_relu", {}, {0: 0.5, 2: 0.01, -2: 0.01}),
    ("squarewave_fourier_series", {}, {0: 0.5, 4: -0.5}),
    ("s2nn", {}, {-1.5: 0.009866, 1: 0.5}),
    ("q_pseudo_spike", {}, {0: 1, 1: 1 / 9}),
    ("leaky_k_relu", {"leak": 0.2}, {-1: 0.2, 1: 1}),
    ("fake_numerical_gradient", {}, {0: 0.3, -10: 0.1}),
    ("log_tailed_relu", {}, {-1: 0, 0.5: 1, 4: 0.25}),
    ("rect", {}, {0.4: 1, 0.6: 0}),
    ("deterministic_pass", {}, {-3: 1, 5: 1}),
  ],
)
def test_derivatives_have_the_values_of_their_formulas(name, parameters, values):
  chosen = surrogate.create(name, **parameters)
  x = jnp.array(list(values), jnp.float32)
  np.testing.assert_allclose(surrogate.derivative(chosen, x), list(values.values()), atol=1e-5)
  gradient = jax.grad(lambda x: surrogate.spike(chosen, x).sum())(x)
  np.testing.assert_array_equal(gradient, surrogate.derivative(chosen, x))


@pytest.mark.parametrize("name", [n for n in surrogate.SURROGATES if n not in WITHOUT])
def test_the_derivative_is_that_of_the_primitive(name):
  """By central differences in float64, away from the corners."""
  chosen, h = surrogate.create(name), 1e-6
  with jax.enable_x64(True):
    x = jnp.asarray(POINTS, jnp.float64)
    difference = (surrogate.primitive(chosen, x + h) - surrogate.primitive(chosen, x - h)) / (2 * h)
    np.testing.assert_allclose(difference, surrogate.derivative(chosen, x), atol=1e-6)


@pytest.mark.parametrize("name", surrogate.SURROGATES)
def test_spikes_are_zero_and_one_and_gradients_are_finite_everywhere(name):
  chosen = surrogate.create(name)
  x = jnp.array([-jnp.inf, -1e30, -1e-7, 0.0, 1e-7, 1e30, jnp.inf])
  assert surrogate.spike(chosen, x).tolist() == [0, 0, 0, 1, 1, 1, 1]
  assert surrogate.spike(chosen, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
  if name != "squarewave_fourier_series":  # a cosine of infinity is no number
    assert np.isfinite(surrogate.derivative(chosen, x)).all()


def test_what_is_unknown_is_named():
  with pytest.raises(ValueError, match="no surrogate 'arctan'; choose from atan"):
    surrogate.create("arctan")
  with pytest.raises(ValueError, match="atan has no slope; it has alpha"):
    surrogate.create("atan", slope=2)
  with pytest.raises(ValueError, match="no function in closed form"):
    surrogate.primitive(surrogate.create("fake_numerical_gradient"), jnp.zeros(2))
