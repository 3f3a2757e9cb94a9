"""Intersection over union and accuracy of a confusion matrix."""

import numpy as np


def iou(confusion: np.ndarray) -> np.ndarray:
  """Intersection over union of each class.

  Args:
    confusion: int[K, K + 1], true by predicted class; the last column: no answer.

  Returns:
    float64[K], NaN for a class that is in neither truth nor prediction.
  """
  hit = np.diagonal(confusion).astype(np.float64)
  union = confusion.sum(1) + confusion[:, :-1].sum(0) - hit
  return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)


def measure(confusion: np.ndarray) -> dict[str, float]:
  """Mean IoU over the classes that are in truth or prediction, and the share of right pixels.

  Args:
    confusion: int[K, K + 1].

  Returns:
    {"miou", "accuracy"}; NaN where no pixel was compared.
  """
  total, each = confusion.sum(), iou(confusion)
  if not total:
    return {"miou": float("nan"), "accuracy": float("nan")}
  return {"miou": float(np.nanmean(each)), "accuracy": float(np.diagonal(confusion).sum() / total)}
