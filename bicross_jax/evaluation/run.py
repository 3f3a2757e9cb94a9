"""Evaluates a predict function on batches, image by image."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax.tasks.depth import metrics
from bicross_jax.tasks.depth import protocol as protocols

Batch = Mapping[str, np.ndarray]
Truth = Mapping[str, Any]  # {"key": str, "depth": float32[H, W], "crop": top, left, height, width}
Predict = Callable[[Batch], Mapping[str, Any]]


class Report(NamedTuple):
  """What an evaluation found.

  Attributes:
    rows: one dict an image: "key", the metrics, "pixels", "nan_pixels".
    summary: the mean of each metric over the images that have ground truth, "images" (how many),
      "images_without_truth", and "nan_pixels" (their sum).
  """

  rows: list[dict[str, Any]]
  summary: dict[str, float]

  def values(self, metric: str) -> np.ndarray:
    """float64[images]: one metric of the images that have ground truth, in order."""
    return np.array([row[metric] for row in self.rows if row["pixels"]], np.float64)


def evaluate(
  predict: Predict, batches: Iterable[tuple[Batch, list[Truth]]], protocol: protocols.Protocol
) -> Report:
  """Metrics of every image, averaged image by image (BiCross section 4).

  The next batch is handed to `predict` before the results of the last are read, so that a device
  that works asynchronously computes while the host measures.

  Args:
    predict: batch -> {"depth": float32[B, h, w] metres, ...}, of what the network saw.
    batches: of (batch, truths): the batch has `mask` bool[B], False for rows that only pad;
      truths has one entry a real row, in order, with the image's "key", its "depth" in the
      whole frame (0, NaN, infinite = unknown) and "crop", the place of the network's view in it.
    protocol: what is compared, and how.

  Raises:
    ValueError: truths, mask and prediction do not fit each other, or a field of the protocol
      makes no sense.
    errors.UserError: there is no image with a pixel to compare.
  """
  protocols.check(protocol)
  rows, pending = [], None
  for batch, truths in batches:
    result = predict(batch)["depth"]
    if pending is not None:
      rows += _measure_batch(*pending, protocol)
    pending = result, np.asarray(batch["mask"]), truths
  if pending is not None:
    rows += _measure_batch(*pending, protocol)
  return Report(rows, summarise(rows))


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
  """Means over the images that have ground truth; see `Report.summary`.

  Raises:
    errors.UserError: there is none.
  """
  counted = [row for row in rows if row["pixels"]]
  if not counted:
    raise errors.UserError(
      f"nothing to compare: none of {len(rows)} images has a pixel of known depth in range and crop"
    )
  summary = {
    name: float(np.mean([row[name] for row in counted])) for name in (*metrics.METRICS, "sig")
  }
  return summary | {
    "images": len(counted),
    "images_without_truth": len(rows) - len(counted),
    "nan_pixels": sum(row["nan_pixels"] for row in counted),
  }


def _measure_batch(depth, mask, truths, protocol):
  depth = np.asarray(depth, np.float32)
  if depth.ndim != 3 or mask.shape != depth.shape[:1] or mask.sum() != len(truths):
    raise ValueError(
      f"predicted depth {depth.shape}, mask {mask.shape} with {mask.sum()} real rows,"
      f" {len(truths)} truths"
    )
  return [
    {"key": truth["key"]} | protocols.measure(row, truth["depth"], truth["crop"], protocol)
    for row, truth in zip(depth[mask], truths, strict=True)
  ]
