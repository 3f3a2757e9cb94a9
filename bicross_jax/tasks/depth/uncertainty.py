"""Can an uncertainty be trusted? Sparsification (AUSE) and reliability.

Both take per-pixel errors and uncertainties of any number of pixels, flattened together, and any
monotone scale of uncertainty for sparsification. Reliability compares an uncertainty with the
error it claims to predict, so it must be on the error's scale (BiCross's head predicts |d-gt|/gt).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax.tasks.depth import protocol as protocols

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


class Pixels(NamedTuple):
  """What is compared of one image, or of many.

  Attributes:
    error: float32[n], |d - gt| / gt clipped at 1, what BiCross's head is trained to predict.
    uncertainty: {measure: float32[n]}.
  """

  error: np.ndarray
  uncertainty: dict[str, np.ndarray]


class Judgement(NamedTuple):
  """How good one measure of uncertainty is on one set.

  Attributes:
    sparsification, reliability: over all pixels together.
    ause: AUSE of each image, float64[images].
    surer_half: mean error of the half of the pixels that the measure trusts more, which is what
      a filter at the median keeps.
    calibrated: ECE after the measure is multiplied by `factor`.
    factor: mean error over mean uncertainty of the set on which it was fitted.
  """

  sparsification: Sparsification
  reliability: Reliability
  ause: np.ndarray
  surer_half: float
  calibrated: float
  factor: float


def pixels(
  prediction: np.ndarray,
  uncertainty: Mapping[str, np.ndarray],
  truth: np.ndarray,
  view: tuple[int, int, int, int],
  protocol: protocols.Protocol,
  *,
  most: int | None = None,
  seed: int = 0,
) -> Pixels:
  """The pixels of one image that its protocol compares and that the network saw.

  Args:
    prediction: float[h, w] metres.
    uncertainty: {measure: float[h, w]} of the same view; resized as the prediction is.
    truth: float[H, W] metres of the whole frame, 0 = unknown.
    view: top, left, height, width of what the network saw, in pixels of that frame.
    protocol: which pixels count, and how the prediction is scaled and capped.
    most: at most so many pixels, drawn at random; None: all.
    seed: of that draw.

  Raises:
    errors.UserError: a prediction or an uncertainty that is not finite where it counts.
  """
  truth, view = protocols.compared_truth(protocols.known_depth(truth), view, protocol)
  frame, missing, _ = protocols.predicted_frame(prediction, truth, view, protocol)
  top, left, height, width = map(int, view)
  seen = np.zeros(truth.shape, bool)
  seen[top : top + height, left : left + width] = True
  valid = np.flatnonzero(protocols.valid_pixels(truth, protocol) & seen)
  if most is not None and len(valid) > most:
    valid = np.sort(np.random.default_rng(seed).choice(valid, most, replace=False))
  g = truth.ravel()[valid]
  error = np.minimum(np.abs(frame.ravel()[valid] - g) / g, 1)
  found = {
    name: protocols.paste(u, truth.shape, view).ravel()[valid] for name, u in uncertainty.items()
  }
  if missing.ravel()[valid].any():
    raise errors.UserError("the network's depth is not a number in some pixels")
  for name, u in found.items():
    if not np.isfinite(u).all():
      raise errors.UserError(f"the uncertainty measure {name!r} is not finite in some pixels")
  return Pixels(error, found)


def pool(images: list[Pixels]) -> Pixels:
  """The pixels of all images together.

  Raises:
    errors.UserError: there is not one pixel.
  """
  if not sum(len(image.error) for image in images):
    raise errors.UserError(
      f"nothing to compare: none of {len(images)} images has a pixel of known depth"
    )
  names = images[0].uncertainty
  return Pixels(
    np.concatenate([image.error for image in images]),
    {name: np.concatenate([image.uncertainty[name] for image in images]) for name in names},
  )


def factors(images: list[Pixels]) -> dict[str, float]:
  """{measure: mean error / mean uncertainty}: what puts a measure on the scale of the error.

  A measure whose mean is not positive gets 0: no factor makes a prediction of it.
  """
  together = pool(images)
  error = together.error.mean(dtype=np.float64)
  means = {name: u.mean(dtype=np.float64) for name, u in together.uncertainty.items()}
  return {name: float(error / mean) if mean > 0 else 0.0 for name, mean in means.items()}


def judge(
  images: list[Pixels], factor: Mapping[str, float], bins: int = 10
) -> dict[str, Judgement]:
  """Judges every measure on one set of images.

  Args:
    images: from `pixels`.
    factor: {measure: factor}, fitted on other images (`factors`).
    bins: of the reliability curve.

  Returns:
    {measure: Judgement}. Images without a pixel to compare, or without any error, have no AUSE.
  """
  together = pool(images)
  judged = [image for image in images if image.error.sum() > 0]
  half = (len(together.error) + 1) // 2
  out = {}
  for name, u in together.uncertainty.items():
    surest = np.argsort(u, kind="stable")[:half]
    out[name] = Judgement(
      sparsification(together.error, u),
      reliability(together.error, u, min(bins, len(u))),
      np.array([sparsification(i.error, i.uncertainty[name]).ause for i in judged]),
      float(together.error[surest].mean(dtype=np.float64)),
      reliability(together.error, factor[name] * u, min(bins, len(u))).ece,
      factor[name],
    )
  return out


def sparsification(error: np.ndarray, uncertainty: np.ndarray) -> Sparsification:
  """The sparsification curve.

  Args:
    error: float[n], not negative, e.g. |d - gt| / gt; its mean must be positive.
    uncertainty: float[n]; equal values are left out in the order they stand in.

  Raises:
    ValueError: shapes that differ, no pixels, values that are not finite, or no error at all.
  """
  error, uncertainty = _checked(error, uncertainty)
  if not error.mean() > 0:
    raise ValueError("the mean error must be positive")
  by_uncertainty = _remaining(error[np.argsort(uncertainty, kind="stable")])
  by_error = _remaining(np.sort(error))
  scale = error.mean()
  area = lambda curve: float(np.trapezoid((curve - by_error) / scale, FRACTIONS))
  return Sparsification(
    FRACTIONS, by_uncertainty, by_error, area(by_uncertainty), area(np.full(len(FRACTIONS), scale))
  )


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
