"""StereoSpike's losses against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from bicross_jax.losses import residual

SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float64)
LOSSES = (residual.variance, residual.gradient_matching, residual.absolute)


def _case(seed=0, shape=(2, 7, 9)):
  rng = np.random.default_rng(seed)
  prediction, target = rng.normal(size=(2, *shape)).astype(np.float32)
  return prediction, target, rng.random(shape) < 0.7


def _by_hand(prediction, target, mask):
  """(variance, gradient matching, mean absolute error)."""
  r = prediction.astype(np.float64) - target
  n = mask.sum()
  gradient = 0.0
  for one, known in zip(np.where(mask, r, 0), mask, strict=True):
    for kernel in (SOBEL, SOBEL.T):
      gradient += np.abs(signal.correlate2d(one, kernel, mode="same"))[known].sum()
  r = r[mask]
  return (r**2).sum() / n - r.sum() ** 2 / n**2, gradient / n, np.abs(r).mean()


def test_values_are_those_of_the_definition():
  case = _case()
  for loss, want in zip(LOSSES, _by_hand(*case), strict=True):
    assert float(loss(*case)) == pytest.approx(want, rel=1e-5)


def test_a_constant_costs_only_where_something_ends():
  """`variance` does not see it, `gradient_matching` at the border of the frame alone."""
  _, target, _ = _case(shape=(1, 6, 8))
  everywhere = np.ones(target.shape, bool)
  moved = target + np.float32(3)
  assert float(residual.variance(moved, target, everywhere)) == pytest.approx(0, abs=1e-6)
  inner = np.zeros((6, 8))
  inner[1:-1, 1:-1] = 1
  border = sum(
    np.abs(signal.correlate2d(np.full((6, 8), 3.0), k, mode="same")) for k in (SOBEL, SOBEL.T)
  )
  assert (border * inner).sum() == 0
  found = float(residual.gradient_matching(moved, target, everywhere))
  assert found == pytest.approx(border.sum() / 48, rel=1e-5)
  assert float(residual.absolute(moved, target, everywhere)) == pytest.approx(3, rel=1e-6)


def test_a_residual_without_edges_is_left_alone():
  _, target, mask = _case()
  gradient = jax.grad(residual.gradient_matching)(target, target, mask)
  assert not np.asarray(gradient).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_unknown_pixels_do_not_count(loss):
  prediction, target, mask = _case(1)
  spoiled = np.where(mask, prediction, np.nan), np.where(mask, target, np.inf)
  want = jax.value_and_grad(loss)(prediction, target, mask)
  got = jax.value_and_grad(loss)(*spoiled, mask)
  np.testing.assert_array_equal(got[0], want[0])
  np.testing.assert_array_equal(got[1], want[1])
  assert not np.asarray(want[1])[~mask].any()
  nothing = jax.value_and_grad(loss)(prediction, target, np.zeros_like(mask))
  assert nothing[0] == 0 and not np.asarray(nothing[1]).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_shards_equal_the_batch(loss):
  """Values on every device, and gradients averaged over the devices."""
  prediction, target, mask = _case(2, (4, 5, 6))
  value, gradient = jax.value_and_grad(loss)(prediction, target, mask)
  split = lambda x: jnp.asarray(x).reshape(2, 2, 5, 6)

  def one(p, t, m):
    value, gradient = jax.value_and_grad(lambda p: loss(p, t, m, axis_name="batch"))(p)
    return value, gradient / 2  # the mean over devices of gradients that are 0 elsewhere

  values, gradients = jax.vmap(one, axis_name="batch")(*map(split, (prediction, target, mask)))
  np.testing.assert_allclose(values, np.full(2, value), rtol=1e-5)
  np.testing.assert_allclose(gradients.reshape(gradient.shape), gradient, atol=1e-6)


def test_the_parts_of_the_loss_add_up():
  prediction, target, mask = _case(3)
  other = _case(4)[0]
  weights = (1.0, 0.25)
  parts = residual.several(
    [prediction, other], target, mask, weights=weights, gradient=0.5, constant=2.0
  )
  first, second = (_by_hand(x, target, mask) for x in (prediction, other))
  for (name, got), scale, a, b in zip(parts.items(), (1, 0.5, 2), first, second, strict=True):
    assert float(got) == pytest.approx(scale * (a + 0.25 * b), rel=1e-5), name
  assert set(residual.several([other], target, mask, weights=(1.0,))) == {"variance", "gradient"}


def test_the_penalty_of_activity():
  rng = np.random.default_rng(5)
  tensors = {"a": rng.integers(0, 3, (2, 3, 4, 5)), "b": rng.integers(0, 2, (2, 3))}
  want = sum((x.astype(np.float64) ** 2).sum() / (2 * x.size) for x in tensors.values())
  assert float(residual.activity(tensors)) == pytest.approx(want, rel=1e-6)
  assert float(residual.activity({})) == 0
