"""Evaluates predictors on batches, image by image, while the device works on the next batch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bicross_jax import errors, fields, tasks

Batches = Iterable[tuple[Mapping[str, Any], Sequence[tasks.Truth]]]


class Report(NamedTuple):
  """What an evaluation found.

  Attributes:
    rows: one dict an image: "key", and what the task found of it.
    summary: what the task makes of all rows.
  """

  rows: list[tasks.Row]
  summary: dict[str, Any]

  def values(self, metric: str) -> np.ndarray:
    """float64[images]: one metric of the images that have ground truth, in order."""
    return np.array([row[metric] for row in self.rows if row["pixels"]], np.float64)


def evaluate(
  task: tasks.Task,
  predict: tasks.Predict,
  batches: Batches,
  protocol: Any,
  own: Mapping[str, fields.Field] | None = None,
) -> Report:
  """What a task finds of a predictor on batches; see `evaluate_all`."""
  return evaluate_all(task, {"": predict}, batches, protocol, own)[""]


def evaluate_all(
  task: tasks.Task,
  predictors: Mapping[str, tasks.Predict],
  batches: Batches,
  protocol: Any,
  own: Mapping[str, fields.Field] | None = None,
  also: Callable[[str, tasks.Maps, tasks.Truth], None] | None = None,
) -> dict[str, Report]:
  """What a task finds of several predictors in one pass over the batches, image by image.

  The next batch is handed to them before the results of the last are fetched, so that a device
  that works asynchronously computes while the host judges. Only what the task judges is fetched.

  Args:
    task: which.
    predictors: {name: (batch, carry) -> ({prediction: array [B, ...]}, carry)}. The carry is ()
      before the first batch and is handed from batch to batch.
    batches: of (batch, truths): the batch has `mask` bool[B], False for rows that only pad;
      truths has one entry a real row, in order (`tasks.Truth`).
    protocol: of the task; what is compared, and how.
    own: fields that the recipe declares.
    also: called with a predictor's name, what is judged of an image and its truth, image by image.

  Returns:
    {name: Report}.

  Raises:
    errors.UserError: a field of the protocol that makes no sense, a network that predicts nothing
      the task judges, or nothing that could be compared.
    ValueError: truths, mask and predictions do not fit each other.
  """
  task.check(protocol)
  predictors = {
    name: task.predictor(predict, protocol, own or {}) for name, predict in predictors.items()
  }
  carries: dict[str, Any] = dict.fromkeys(predictors, ())
  rows: dict[str, list[tasks.Row]] = {name: [] for name in predictors}
  pending = None
  for batch, truths in batches:
    found = {}
    for name, predict in predictors.items():
      predictions, carries[name] = predict(batch, carries[name])
      found[name] = _judged(task, predictions)
    if pending is not None:
      _judge(task, *pending, protocol, rows, also)
    pending = found, np.asarray(batch["mask"]), truths
  if pending is not None:
    _judge(task, *pending, protocol, rows, also)
  return {name: Report(found, task.summarise(found)) for name, found in rows.items()}


def score(score: Callable[[Any], Mapping[str, tuple]], batches: Batches) -> dict[str, Any]:
  """The mean of metrics that need no truth, over the real rows of all batches.

  Args:
    score: batch -> {metric: (sum, count)} over the rows whose `mask` is True; it need not be
      fetched.
    batches: of (batch, truths); truths are not looked at.

  Returns:
    {metric: sum / count}, NaN where nothing was counted.

  Raises:
    errors.UserError: there is no batch.
  """
  totals: dict[str, list] = {}
  pending: Mapping[str, tuple] = {}
  for batch, _ in batches:
    found = score(batch)
    _add(totals, pending)
    pending = found
  _add(totals, pending)
  if not totals:
    raise errors.UserError("nothing to score: there is no example")
  with np.errstate(invalid="ignore", divide="ignore"):
    means = {name: total / count for name, (total, count) in totals.items()}
  return {name: x if np.ndim(x) else float(x) for name, x in means.items()}


def _add(totals, pairs):
  """Adds (sum, count) pairs to totals, in float64."""
  for name, pair in pairs.items():
    before = totals.get(name, [0.0, 0.0])
    totals[name] = [b + np.asarray(x, np.float64) for b, x in zip(before, pair, strict=True)]


def _judged(task, predictions):
  """The predictions that the task judges, as they are."""
  found = {name: predictions[name] for name in task.judged if name in predictions}
  if not found:
    raise errors.UserError(
      f"the network predicts {', '.join(predictions) or 'nothing'}; task {task.name} judges "
      f"{' or '.join(task.judged)}"
    )
  return found


def _judge(task, found, mask, truths, protocol, rows, also):
  """Appends to rows what the task finds of the real rows of a batch."""
  for name, predictions in found.items():
    maps = {key: np.asarray(x) for key, x in predictions.items()}
    shapes = {key: x.shape for key, x in maps.items()}
    if any(s[:1] != mask.shape for s in shapes.values()) or mask.sum() != len(truths):
      raise ValueError(
        f"predictions {shapes}, mask {mask.shape} with {mask.sum()} real rows, {len(truths)} truths"
      )
    for i, truth in zip(np.flatnonzero(mask), truths, strict=True):
      one = {key: x[i] for key, x in maps.items()}
      if also is not None:
        also(name, one, truth)
      row = task.judge(one, truth, protocol)
      rows[name].append({"key": truth["key"]} | row)
