"""What a prediction that never looks at its input scores: the two baselines of every report."""

from collections.abc import Iterable

import numpy as np

from bicross_jax import errors
from bicross_jax.tasks.classes import protocol as protocols


def fit(labels: Iterable[np.ndarray], protocol: protocols.Protocol) -> tuple[int, np.ndarray]:
  """The most frequent class of all, and of each pixel of the view.

  A pixel that is never known gets the most frequent class of all; the lower of two equally
  frequent classes is taken.

  Args:
    labels: uint8[H, W] each, training labels of one shape.
    protocol: number of classes, and the label that does not count.

  Returns:
    (class, uint8[H, W]).

  Raises:
    ValueError: labels of different shapes.
    errors.UserError: there is no known label, or one beyond the classes.
  """
  counts, images = None, 0
  for label in labels:
    images += 1
    if counts is None:
      counts = np.zeros((protocol.classes, *label.shape), np.int32)
    if label.shape != counts.shape[1:]:
      raise ValueError(f"training labels of shapes {counts.shape[1:]} and {label.shape}")
    known = label[label != protocol.ignore]
    if known.size and known.max() >= protocol.classes:
      raise errors.UserError(
        f"class {known.max()} among the training labels: protocol.classes={protocol.classes}"
      )
    rows, columns = np.nonzero(label != protocol.ignore)
    counts[known, rows, columns] += 1
  if counts is None or not counts.any():
    raise errors.UserError(f"baselines: none of {images} training label maps has a known label")
  often = int(counts.sum((1, 2), dtype=np.int64).argmax())
  pixels = np.where(counts.any(0), counts.argmax(0), often)
  return often, pixels.astype(np.uint8)


def predictors(often: int, pixels: np.ndarray) -> dict:
  """{"most frequent class": predict, "pixel mode": predict}, of what `fit` found."""
  constant = np.full_like(pixels, often)
  return {"most frequent class": _predictor(constant), "pixel mode": _predictor(pixels)}


def _predictor(label):
  def predict(batch, carry):
    return {"label": np.broadcast_to(label, (len(batch["mask"]), *label.shape))}, carry

  return predict
