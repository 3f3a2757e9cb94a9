"""What a prediction that never looks at its input scores: the two baselines of every report."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax.tasks.depth import protocol as protocols

BINS = 1 << 16


class Baselines(NamedTuple):
  """Learned from training depths alone.

  Attributes:
    constant: metres; the constant with the least AbsRel on the training depths.
    median: float32[H, W] metres; the median training depth of each pixel of the network's view.
  """

  constant: float
  median: np.ndarray

  def predictors(self) -> dict:
    """{"best constant": predict, "pixel median": predict}, for `evaluation.run.evaluate`."""
    constant = np.full_like(self.median, self.constant)
    return {"best constant": _predictor(constant), "pixel median": _predictor(self.median)}


def fit(
  depths: Iterable[np.ndarray],
  protocol: protocols.Protocol,
  *,
  budget: int = 256 << 20,
  seed: int = 0,
) -> Baselines:
  """Both baselines from one pass over training depth maps, in bounded memory.

  The constant minimises the mean over images of AbsRel over the pixels that the protocol counts
  (its crop taken of the maps). That is a weighted median of all depths, weights 1 / depth / pixels
  of the image; it is read from a histogram of 65536 logarithmic bins, so its relative error is
  below half a bin: 1e-4 for 1e-3..80 m.

  The median of each pixel, over the maps where its depth is known and in range (inside and
  outside the crop), is exact for as many maps as fit into `budget` bytes (4,400 of 96x160); of
  more, a uniform sample of that many is used. A pixel that is never known gets the constant.

  Args:
    depths: float[H, W] each, metres, 0, NaN and infinities = unknown, all of one shape.
    protocol: depth range and crop.
    budget: bytes for the maps that are kept.
    seed: of the sample.

  Raises:
    ValueError: maps of different shapes.
    errors.UserError: there is no known depth.
  """
  rng = np.random.default_rng(seed)
  low, bin_width = (
    np.log(protocol.min_depth),
    np.log(protocol.max_depth / protocol.min_depth) / BINS,
  )
  weights, count = np.zeros(BINS), 0
  kept: list[np.ndarray] = []
  for count, depth in enumerate(depths, 1):
    depth = protocols.known_depth(depth)
    if kept and kept[0].shape != depth.shape:
      raise ValueError(f"training depths of shapes {kept[0].shape} and {depth.shape}")
    counted = depth[protocols.valid_pixels(depth, protocol)].astype(np.float64)
    if counted.size:
      place = np.clip((np.log(counted) - low) / bin_width, 0, BINS - 1).astype(np.int64)
      weights += np.bincount(place, 1 / (counted * counted.size), BINS)
    if len(kept) < max(budget // depth.nbytes, 1):
      kept.append(depth)
    elif (slot := int(rng.integers(count))) < len(kept):  # reservoir sampling
      kept[slot] = depth
  if not weights.any():
    raise errors.UserError(f"baselines: none of {count} training depth maps has a known depth")
  half = int(np.searchsorted(np.cumsum(weights), weights.sum() / 2))
  constant = float(np.exp(low + (half + 0.5) * bin_width))
  whole = protocol._replace(crop="none")
  rows = (np.stack(row) for row in zip(*kept, strict=True))  # [maps, W] for each row
  median = np.stack([_known_median(row, protocols.valid_pixels(row, whole)) for row in rows])
  return Baselines(constant, np.where(np.isnan(median), constant, median).astype(np.float32))


def _known_median(x, known):
  """Median over axis 0 of the known values, NaN where there is none."""
  ordered = np.sort(np.where(known, x, np.inf), axis=0)
  n = known.sum(0)
  low, high = (
    np.take_along_axis(ordered, np.maximum(k, 0)[None], 0)[0] for k in ((n - 1) // 2, n // 2)
  )
  with np.errstate(invalid="ignore"):  # inf - inf where nothing is known, or all are
    return np.where(n > 0, low + 0.5 * (high - low), np.nan)


def _predictor(depth):
  def predict(batch, carry):
    return {"depth": np.broadcast_to(depth, (len(batch["mask"]), *depth.shape))}, carry

  return predict
