"""Schedules against closed forms and torch's."""

import jax
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.train import schedules


def values(factor, steps):
  return np.asarray(jax.jit(jax.vmap(factor))(np.asarray(steps)))


def test_cosine_and_constant():
  cosine = schedules.schedule("cosine", 110, warmup=10)
  got = values(cosine, (0, 4, 9, 10, 35, 60, 110, 200))
  np.testing.assert_allclose(
    got, [1 / 11, 5 / 11, 10 / 11, 1, (1 + np.cos(np.pi / 4)) / 2, 0.5, 0, 0], atol=1e-6
  )
  flat = schedules.schedule("constant", 100, warmup=1)
  np.testing.assert_allclose(values(flat, (0, 1, 99)), [0.5, 1, 1])
  short = schedules.schedule("cosine", 5, warmup=9)
  np.testing.assert_allclose(values(short, range(5)), np.arange(1, 6) / 10, rtol=1e-6)


def test_step_equals_torch():
  torch = pytest.importorskip("torch")
  sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
  theirs = torch.optim.lr_scheduler.MultiStepLR(sgd, [8, 42, 60], gamma=0.5)
  expected = []
  for _ in range(70):
    expected.append(sgd.param_groups[0]["lr"])
    sgd.step()
    theirs.step()
  ours = schedules.schedule("step", 70, milestones=(8, 42, 60), gamma=0.5)
  np.testing.assert_allclose(values(ours, range(70)), expected, rtol=1e-6)


def test_poly():
  """(1 - t) ** 0.9 after the warm-up; warm-up from 5e-6 to 1e-3 in 1000 steps, geometrically."""
  poly = schedules.schedule("poly", 40_000, warmup=1000, start=5e-6 / 1e-3)
  at = np.array([0, 1, 500, 1000, 1001, 20_500, 39_999, 40_000])
  expected = np.where(
    at <= 1000,
    5e-6 * (1e-3 / 5e-6) ** (at / 1000),
    1e-3 * np.maximum(0, 1 - (at - 1000) / 39_000) ** 0.9,
  )
  np.testing.assert_allclose(1e-3 * values(poly, at), expected, rtol=2e-4, atol=1e-12)
  linear = schedules.schedule("poly", 12, warmup=2, power=2.0)
  np.testing.assert_allclose(
    values(linear, (0, 1, 2, 7, 12)), [1 / 3, 2 / 3, 1, 0.25, 0], rtol=1e-6
  )
  plain = schedules.schedule("poly", 10, start=0.1)  # without a warm-up there is nothing to start
  np.testing.assert_allclose(values(plain, (0, 5)), [1, 0.5**0.9], rtol=1e-6)


def test_linear_is_that_of_cyclegan():
  """Its lambda_rule: 1 - max(0, epoch - n) / (n_decay + 1), epochs from 1 on."""
  n, decay, size = 10, 10, 7
  linear = schedules.schedule("linear", (n + decay) * size, begin=n * size, every=size)
  epochs = np.arange((n + decay) * size) // size + 1
  expected = 1 - np.maximum(0, epochs - n) / (decay + 1)
  np.testing.assert_allclose(values(linear, range(len(epochs))), expected, rtol=1e-5)
  np.testing.assert_allclose(expected[-1], 0.0909, atol=1e-4)
  each = schedules.schedule("linear", 5, begin=2)
  np.testing.assert_allclose(values(each, range(5)), [1, 1, 0.75, 0.5, 0.25], rtol=1e-6)


@pytest.mark.parametrize(
  "arguments, options, words",
  [
    (("exponential", 10), {}, "'exponential'.*constant, cosine, step, poly, linear"),
    (("cosine", 10), {"power": 2.0}, "cosine has no option power: it has no options"),
    (("poly", 10), {"gamma": 2.0}, "poly has no option gamma: its options are power, start"),
    (("poly", 10), {"power": -1.0}, "power=-1.0 must be positive"),
    (("poly", 10), {"start": 2.0}, "start=2.0 between 0 and 1"),
    (("step", 10), {"gamma": 0.0}, "gamma=0.0 must be positive"),
    (("step", 10), {"milestones": (-1,)}, "not negative"),
    (("linear", 10), {"begin": 11}, "begin=11 must be 0 to 10"),
    (("linear", 10), {"every": 0}, "every=0 at least 1"),
  ],
)
def test_bad_schedules(arguments, options, words):
  with pytest.raises(errors.UserError, match=words):
    schedules.schedule(*arguments, **options)
