"""Can an uncertainty be trusted? Sparsification (AUSE) and reliability.

Both take per-pixel errors and uncertainties of any number of pixels, flattened together, and any
monotone scale of uncertainty for sparsification. Reliability compares an uncertainty with the
error it claims to predict, so it must be on the error's scale (BiCross's head predicts |d-gt|/gt).
"""

from typing import NamedTuple

import numpy as np

FRACTIONS = np.linspace(0, 0.95, 20)  # of the pixels that are left out


class Sparsification(NamedTuple):
  """Mean error of what is left when the most uncertain pixels are left out.

  Attributes:
    fractions: float64[n], share of pixels left out.
    by_uncertainty: float64[n], the most uncertain pixels left out first.
    by_error: float64[n], the worst pixels left out first: no uncertainty can do better.
    ause: area between the two curves, each divided by the mean error of all pixels (Ilg et al.
      2018); 0 is perfect.
    random: the same area for an uncertainty that says nothing.
  """

  fractions: np.ndarray
  by_uncertainty: np.ndarray
  by_error: np.ndarray
  ause: float
  random: float


class Reliability(NamedTuple):
  """Claimed against found error, in bins of equally many pixels by what was claimed.

  Attributes:
    claimed, found: float64[bins], means over the pixels of a bin.
    ece: mean over all pixels of |claimed - found| of their bins.
  """

  claimed: np.ndarray
  found: np.ndarray
  ece: float


def sparsification(error: np.ndarray, uncertainty: np.ndarray) -> Sparsification:
  """The sparsification curve.

  Args:
    error: float[n], not negative, e.g. |d - gt| / gt; its mean must be positive.
    uncertainty: float[n]; equal values are left out in the order they stand in.

  Raises:
    ValueError: shapes that differ, no pixels, or values that are not finite.
  """
  error, uncertainty = _checked(error, uncertainty)
  by_uncertainty = _remaining(error[np.argsort(uncertainty, kind="stable")])
  by_error = _remaining(np.sort(error))
  scale = error.mean()
  area = lambda curve: float(np.trapezoid((curve - by_error) / scale, FRACTIONS))
  return Sparsification(
      FRACTIONS, by_uncertainty, by_error, area(by_uncertainty), area(np.full(len(FRACTIONS), scale)))


def reliability(error: np.ndarray, uncertainty: np.ndarray, bins: int = 10) -> Reliability:
  """The reliability curve.

  Args:
    error, uncertainty: float[n], on one scale.
    bins: number of bins; at most n.

  Raises:
    ValueError: as `sparsification`, or more bins than pixels.
  """
  error, uncertainty = _checked(error, uncertainty)
  if not 1 <= bins <= len(error):
    raise ValueError(f"{bins} bins for {len(error)} pixels")
  order = np.argsort(uncertainty, kind="stable")
  parts = np.array_split(order, bins)
  claimed = np.array([uncertainty[p].mean() for p in parts])
  found = np.array([error[p].mean() for p in parts])
  weights = np.array([len(p) for p in parts]) / len(order)
  return Reliability(claimed, found, float((weights * np.abs(claimed - found)).sum()))


def _remaining(error):
  """Mean of the first (1 - f) n values, at least one, for every f of FRACTIONS."""
  counts = np.maximum(1, np.round((1 - FRACTIONS) * len(error)).astype(int))
  return np.cumsum(error)[counts - 1] / counts


def _checked(error, uncertainty):
  error = np.asarray(error, np.float64).ravel()
  uncertainty = np.asarray(uncertainty, np.float64).ravel()
  if error.shape != uncertainty.shape or not len(error):
    raise ValueError(f"{error.shape} errors and {uncertainty.shape} uncertainties")
  if not (np.isfinite(error).all() and np.isfinite(uncertainty).all()):
    raise ValueError("errors and uncertainties must be finite")
  return error, uncertainty
