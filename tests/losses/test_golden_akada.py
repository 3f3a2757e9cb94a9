"""Losses of Akada et al.: values and gradients of the reference, in `golden/akada_losses.npz`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.losses import adversarial, edge_aware, simsiam


@pytest.fixture(scope="module")
def case(golden):
  """Arrays by name; maps with channels last."""
  found = golden.load("akada_losses").outputs
  return {k: jnp.asarray(np.moveaxis(v, 1, -1) if v.ndim == 4 else v) for k, v in found.items()}


def _smoothness(depth, image):
  return edge_aware.smoothness(depth[..., 0], image)


def _simsiam(p_a, z_a, p_b, z_b):
  return simsiam.simsiam((p_a, p_b), (z_a, z_b))


@pytest.mark.parametrize(
  "name, loss, inputs",
  [
    ("smoothness", _smoothness, ("depth", "image")),
    ("simsiam", _simsiam, ("p_a", "z_a", "p_b", "z_b")),
    ("lsgan_generator", adversarial.fool, ("score_fake",)),
    ("lsgan_discriminator", adversarial.tell_apart, ("score_real", "score_fake")),
  ],
)
def test_losses_equal_the_reference(case, name, loss, inputs):
  arguments = [case[i] for i in inputs]
  value, gradients = jax.jit(jax.value_and_grad(loss, range(len(inputs))))(*arguments)
  assert abs(value - case[name]) <= 1e-5 * abs(case[name])
  for argument, got in zip(inputs, gradients, strict=True):
    want = case.get(f"{name}/grad_{argument}", jnp.zeros_like(got))  # z_a, z_b have none
    assert jnp.abs(got - want).max() <= 1e-5 * jnp.abs(want).max(), argument


def test_devices_share_one_mean(case):
  p_a, z_a, p_b, z_b = (case[name] for name in ("p_a", "z_a", "p_b", "z_b"))

  def every(depth, image, p_a, z_a, p_b, z_b, axis=None):
    smooth = edge_aware.smoothness(depth[..., 0], image, axis)
    return smooth, simsiam.simsiam((p_a, p_b), (z_a, z_b), axis)

  arguments = case["depth"], case["image"], p_a, z_a, p_b, z_b
  shared = jax.vmap(lambda *xs: every(*xs, axis="batch"), axis_name="batch")(
    *(x[:, None] for x in arguments)
  )
  for got, name in zip(shared, ("smoothness", "simsiam"), strict=True):
    np.testing.assert_allclose(got, np.full(2, case[name]), rtol=1e-5)


def test_a_vector_without_length_makes_nothing_nan():
  """An untrained predictor may say 0: the cosine is 0 and nothing is NaN."""
  zero, one = jnp.zeros((1, 2, 3)), jnp.ones((1, 2, 3))
  value, gradient = jax.value_and_grad(lambda p: simsiam.simsiam((p, p), (one, one)))(zero)
  assert value == 0 and jnp.isfinite(gradient).all()
