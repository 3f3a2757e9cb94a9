"""Tasks: what is predicted, and how it is judged, drawn and written.

`config.task` names a module of this package; other rooms know it only through its `TASK`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import importlib
import pathlib
import pkgutil
from typing import Any, NamedTuple

import numpy as np

from bicross_jax import errors

NAMES = tuple(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg)
Maps = Mapping[str, np.ndarray]  # predictions of one image: {name: [h, w, ...]}
# "key" str, "crop" int32[4], "frame" int32[2]; the fields of `Task.truth`, whole
Truth = Mapping[str, Any]
Row = dict[str, Any]  # what was found of one image
# (batch, carry) -> (predictions [B, ...], carry); the carry is () before the first batch
Predict = Callable[[Mapping[str, Any], Any], tuple[Mapping[str, Any], Any]]


class Task(NamedTuple):
  """What is predicted, and how it is judged, drawn and written.

  Attributes:
    name: of the module.
    truth: fields judged against, kept whole in the native frame.
    judged: predictions that `judge` reads; those of them that a network gives are fetched.
    protocol: NamedTuple class; its fields are what `config.evals.<name>.protocol` sets.
    protocols: published ones by name.
    check: raises errors.UserError for a protocol that makes no sense, naming the field.
    judge: (predictions of one image, truth, protocol) -> Row; "pixels" in it counts what was
      compared. Rows hold numbers, or arrays that `summarise` adds (a confusion matrix).
    summarise: rows -> {metric: mean}; raises errors.UserError where nothing could be compared.
    columns: {metric: "min" or "max"}, in the order of tables, which show those that a summary has;
      the first is the headline.
    titles: {metric: title of its column}, where that is not the metric's name.
    baselines: (training truths cut to the view, protocol) -> {name: predict} of predictors that
      never look at the input.
    predictor: (predict, protocol, fields of the recipe's own) -> predict with what the protocol
      asks of the network when it is tested (mirrored inputs).
    fit: (predictions of one image, (H, W)) -> the same in another frame.
    write: (folder, name, result, protocol) -> paths written; `result` holds the inputs and the
      predictions in the frame of the input.
    scales: (examples, protocol) -> what all pictures of a figure share (colour scales, names).
    cells: (example, scales) -> {(place, title): viz.panels.Cell}, the columns of one row.
    called: (protocol) -> `titles` that the protocol has others for.
    values: (protocol) -> what the numbers in predicted labels are called, in their order.
    plots: (folder, summary, protocol) -> paths of the pictures of a summary that were written.
  """

  name: str
  truth: tuple[str, ...]
  judged: tuple[str, ...]
  protocol: Any
  protocols: Mapping[str, Any]
  check: Callable[[Any], None]
  judge: Callable[[Maps, Truth, Any], Row]
  summarise: Callable[[Sequence[Row]], dict[str, Any]]
  columns: Mapping[str, str]
  titles: Mapping[str, str]
  baselines: Callable[[Iterable[Maps], Any], Mapping[str, Predict]]
  predictor: Callable[[Predict, Any, Mapping[str, Any]], Predict]
  fit: Callable[[Maps, tuple[int, int]], dict[str, np.ndarray]]
  write: Callable[[pathlib.Path, str, Maps, Any], list[pathlib.Path]]
  scales: Callable[[Sequence[Mapping[str, Any]], Any], Any]
  cells: Callable[[Mapping[str, Any], Any], Mapping[tuple[int, str], Any]]
  called: Callable[[Any], Mapping[str, str]] = lambda protocol: {}
  values: Callable[[Any], Sequence[str]] = lambda protocol: ()
  plots: Callable[[pathlib.Path, Mapping[str, Any], Any], list[pathlib.Path]] = (
    lambda folder, summary, protocol: []
  )


def create(name: str) -> Task:
  """The task of `config.task`.

  Raises:
    errors.UserError: no such task.
  """
  if name not in NAMES:
    raise errors.UserError(f"config.task={name!r}: choose from {', '.join(NAMES)}")
  return importlib.import_module(f"bicross_jax.tasks.{name}").TASK


def late(module: str, name: str) -> Callable[..., Any]:
  """A function of a module that is imported when it is called, so that a task loads quickly."""
  return lambda *args: getattr(importlib.import_module(module), name)(*args)
