"""AUSE and reliability against closed forms."""

import numpy as np
import pytest

from bicross_jax.evaluation import uncertainty


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
