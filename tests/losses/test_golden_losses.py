"""Values and gradients of the reference's losses, in `golden/bicross_losses.npz`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.losses import contrastive, depth, uncertainty


@pytest.fixture(scope="module")
def case(golden):
  return {k: jnp.asarray(v) for k, v in golden.load("bicross_losses").outputs.items()}


def check(function, argument, value, gradient, tolerance=1e-5):
  got_value, got_gradient = jax.jit(jax.value_and_grad(function))(argument)
  assert abs(got_value - value) <= 1e-5 * abs(value)
  assert jnp.abs(got_gradient - gradient).max() <= tolerance * jnp.abs(gradient).max()


@pytest.mark.parametrize("name,tolerance", [("sig", 1e-5), ("ssi", 1e-4)])
def test_depth_losses_equal_the_reference(case, name, tolerance):
  loss = functools.partial(depth.LOSSES[name], target=case["gt"], mask=case["gt"] > 0)
  check(loss, case["pred"], case[name], case[f"{name}_grad"], tolerance)


@pytest.mark.parametrize("name", ["l1", "l2"])
@pytest.mark.parametrize("detach", [True, False])
def test_uncertainty_losses_equal_the_reference(case, name, detach):
  def loss(u):
    return uncertainty.LOSSES[name](u, case["pred"], case["gt"], case["gt"] > 0, detach=detach)

  prefix = f"uncertainty_{name}"
  check(loss, case["uncertainty"], case[prefix], case[f"{prefix}_grad"])


def test_l1log_equals_the_reference(case):
  def loss(u):
    mask = case["gt"] > 0
    return uncertainty.l1log(u + 0.05, case["pred"], case["gt"], mask, softplus=False)

  want = case["uncertainty_l1log"], case["uncertainty_l1log_grad"]
  check(loss, case["uncertainty"], *want)


def test_contrastive_equals_the_reference(case):
  loss = functools.partial(contrastive.contrastive, case["feature_rgb"])
  check(loss, case["feature_spike"], case["contrastive"], case["contrastive_grad"])


def test_feature_gradients_of_contrastive_by_differences(case):
  rng = np.random.default_rng(0)
  a, b, step = (rng.normal(size=(5, 7)).astype(np.float32) for _ in range(3))
  gradient = jax.grad(contrastive.contrastive)(a, b)
  h = 1e-2
  ends = [contrastive.contrastive(a + s * h * step, b) for s in (1, -1)]
  np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), jnp.sum(gradient * step), rtol=2e-3)
