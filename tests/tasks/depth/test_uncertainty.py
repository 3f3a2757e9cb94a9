"""AUSE and reliability against closed forms."""

import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.tasks.depth import protocol as protocols
from bicross_jax.tasks.depth import uncertainty


def _errors(n=20_000):
  return np.random.default_rng(0).uniform(0, 1, n)


def test_a_perfect_order_has_no_area_and_any_monotone_scale_will_do():
  error = _errors()
  for seen in (error, np.exp(5 * error), error - 7):
    assert uncertainty.sparsification(error, seen).ause == pytest.approx(0, abs=1e-12)


def test_uniform_errors_in_closed_form():
  """Left out the worst share f, a uniform error has the mean (1 - f) / 2; in random order 1/2."""
  error = _errors()
  found = uncertainty.sparsification(error, np.random.default_rng(1).uniform(size=len(error)))
  np.testing.assert_allclose(found.by_error, (1 - found.fractions) / 2, atol=0.01)
  np.testing.assert_allclose(found.by_uncertainty, 0.5, atol=0.03)
  assert found.ause == pytest.approx(0.95**2 / 2, abs=0.02)  # integral of f over 0..0.95
  assert found.random == pytest.approx(0.95**2 / 2, abs=0.01)
  worst = uncertainty.sparsification(error, -error)
  assert worst.ause > 1.5 * found.random


def test_reliability_of_a_calibrated_and_of_a_too_sure_head():
  rng = np.random.default_rng(2)
  claimed = rng.uniform(0.1, 0.5, 50_000)
  error = claimed * rng.uniform(0, 2, len(claimed))  # right on average
  good = uncertainty.reliability(error, claimed)
  assert good.ece < 0.01 and np.all(np.diff(good.claimed) > 0)
  bad = uncertainty.reliability(2 * error, claimed)
  np.testing.assert_allclose(bad.found, 2 * good.found)
  assert bad.ece == pytest.approx(0.3, abs=0.01)  # the mean of what is claimed


def test_what_makes_no_sense_is_refused():
  with pytest.raises(ValueError, match="errors and"):
    uncertainty.sparsification(np.ones(3), np.ones(4))
  with pytest.raises(ValueError, match="finite"):
    uncertainty.sparsification(np.array([1.0, np.nan]), np.ones(2))
  with pytest.raises(ValueError, match="bins"):
    uncertainty.reliability(np.ones(3), np.ones(3), bins=4)


PROTOCOL = protocols.Protocol(min_depth=1e-3, max_depth=80.0, crop="none")


def test_pixels_are_those_the_protocol_compares_and_the_network_saw():
  truth = np.zeros((6, 8), np.float32)
  truth[2, 3], truth[3, 4], truth[5, 7] = 10, 20, 40
  truth[0, 0] = 5  # outside the view
  truth[4, 4] = 99  # beyond the cap
  depth = np.full((4, 8), 15, np.float32)
  doubt = np.arange(32, dtype=np.float32).reshape(4, 8)
  found = uncertainty.pixels(depth, {"u": doubt}, truth, (2, 0, 4, 8), PROTOCOL)
  np.testing.assert_allclose(found.error, [0.5, 0.25, 25 / 40])
  np.testing.assert_array_equal(found.uncertainty["u"], [3, 8 + 4, 3 * 8 + 7])
  far = uncertainty.pixels(5 * depth, {}, truth, (2, 0, 4, 8), PROTOCOL)
  np.testing.assert_allclose(far.error, [1, 1, 35 / 40])  # 75 m; clipped at 1


def test_pixels_are_drawn_where_there_are_too_many():
  rng = np.random.default_rng(0)
  truth = rng.uniform(1, 70, (30, 40)).astype(np.float32)
  depth, whole = truth * 1.1, (0, 0, 30, 40)
  one, same, other = (
    uncertainty.pixels(depth, {"u": truth}, truth, whole, PROTOCOL, most=100, seed=s)
    for s in (0, 0, 1)
  )
  assert len(one.error) == 100 and len(np.unique(one.uncertainty["u"])) == 100
  np.testing.assert_array_equal(one.uncertainty["u"], same.uncertainty["u"])
  assert not np.array_equal(one.uncertainty["u"], other.uncertainty["u"])


def test_what_is_not_a_number_is_refused():
  truth = np.full((3, 4), 5, np.float32)
  hole = truth.copy()
  hole[1, 1] = np.nan
  for depth, doubt in ((hole, truth), (truth, hole)):
    with pytest.raises(errors.UserError, match="not"):
      uncertainty.pixels(depth, {"u": doubt}, truth, (0, 0, 3, 4), PROTOCOL)
  empty = uncertainty.pixels(truth, {"u": truth}, 0 * truth, (0, 0, 3, 4), PROTOCOL)
  with pytest.raises(errors.UserError, match="nothing to compare"):
    uncertainty.pool([empty])


def _images(n=20):
  """Images whose measure "good" is half the error, and whose "none" says nothing."""
  rng = np.random.default_rng(3)
  images = []
  for size in rng.integers(200, 400, n):
    error = rng.uniform(0, 1, size).astype(np.float32)
    images.append(
      uncertainty.Pixels(
        error, {"good": error / 2, "none": rng.uniform(0, 1, size).astype(np.float32)}
      )
    )
  return images


def test_judging_several_measures():
  images = _images()
  factor = uncertainty.factors(images)
  assert factor["good"] == pytest.approx(2, rel=1e-5)
  found = uncertainty.judge(images, factor)
  good, none = found["good"], found["none"]
  assert good.sparsification.ause == pytest.approx(0, abs=1e-6)
  np.testing.assert_allclose(good.ause, 0, atol=1e-6)
  assert good.surer_half == pytest.approx(0.25, abs=0.01)  # the lower half of a uniform error
  assert good.calibrated == pytest.approx(0, abs=1e-6) and good.reliability.ece > 0.2
  assert none.ause.shape == (20,) and none.ause.mean() == pytest.approx(0.95**2 / 2, abs=0.03)
  assert none.surer_half == pytest.approx(0.5, abs=0.02)
  # Ten bins of a uniform claim that means nothing: mean |k/10 + 1/20 - 1/2| = 1/4.
  assert none.calibrated == pytest.approx(0.25, abs=0.03)


def test_an_image_without_error_or_pixels_has_no_ause_but_counts():
  images = _images(3)
  nothing = np.zeros(0, np.float32)
  images += [
    uncertainty.Pixels(nothing, {"good": nothing, "none": nothing}),
    uncertainty.Pixels(
      np.zeros(50, np.float32), dict.fromkeys(("good", "none"), np.ones(50, np.float32))
    ),
  ]
  found = uncertainty.judge(images, {"good": 1.0, "none": 1.0})
  assert found["good"].ause.shape == (3,)
  assert len(uncertainty.pool(images).error) == sum(len(i.error) for i in images)
  assert uncertainty.factors([images[-1]]) == {"good": 0.0, "none": 0.0}
  negative = uncertainty.Pixels(images[0].error, {"u": -images[0].error})
  assert uncertainty.factors([negative]) == {"u": 0.0}
  with pytest.raises(ValueError, match="positive"):
    uncertainty.sparsification(np.zeros(4), np.ones(4))
