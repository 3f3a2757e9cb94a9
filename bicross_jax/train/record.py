"""What a run knows of itself besides its state: its metrics, the best of them, the time it took."""

from collections.abc import Mapping
import contextlib
import dataclasses
import math
import time
from typing import Any

PHASES = ("start", "compile", "train", "validate", "save")


@dataclasses.dataclass
class Record:
  """The record of one run; kept in a checkpoint's meta.

  Attributes:
    before: validation metrics at step 0.
    metrics: those of the last validation after that.
    validated: the step of that validation, or -1.
    best: {"step", "value"} of the recipe's metric after at least one step, or None.
    seconds: spent so far, by phase.
    bytes: of metrics.jsonl, when it was saved.
    window: sums since the last log line (`windows.to_json`), when it was saved, or None before
      the first step.
  """

  before: dict[str, float] | None = None
  metrics: dict[str, float] = dataclasses.field(default_factory=dict)
  validated: int = -1
  best: dict[str, Any] | None = None
  seconds: dict[str, float] = dataclasses.field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
  bytes: int = 0
  window: dict[str, list] | None = None

  @contextlib.contextmanager
  def clock(self, phase: str):
    """Counts the time inside as that of a phase."""
    began = time.perf_counter()
    try:
      yield
    finally:
      self.seconds[phase] += time.perf_counter() - began

  def judge(self, step: int, values: Mapping[str, float], metric: tuple[str, str]) -> bool:
    """Notes a validation after `step`; whether it is the best so far.

    Args:
      step: at least 1.
      values: validation metrics.
      metric: of the recipe (`state.Recipe`).
    """
    name, mode = metric
    self.metrics, self.validated = dict(values), step
    if not math.isfinite(values[name]):
      return False
    sign = {"min": 1, "max": -1, "last": 0}[mode]
    if sign and self.best and sign * values[name] >= sign * self.best["value"]:
      return False
    self.best = {"step": step, "value": values[name]}
    return True

  def result(self, steps: int, metric: tuple[str, str]) -> dict[str, Any]:
    """What result.json says of a run of `steps` steps that is done."""
    return {
      "metric": metric[0],
      "mode": metric[1],
      "before": self.before,
      "after": self.metrics,
      "best": self.best,
      "steps": steps,
      "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
    }


def from_json(value: Any) -> Record:
  """The record that a checkpoint's meta holds (`dataclasses.asdict` of it).

  Raises:
    ValueError: it is of another form.
  """
  names = {field.name for field in dataclasses.fields(Record)}
  if not isinstance(value, dict) or set(value) != names:
    raise ValueError(f"is no dict of {', '.join(sorted(names))}")
  record = Record(**value)
  numbers = lambda x: isinstance(x, dict) and all(isinstance(v, (int, float)) for v in x.values())
  maybe = lambda x: x is None or isinstance(x, dict)
  metrics = lambda x: all(v is None or isinstance(v, (int, float)) for v in x.values())
  fits = {
    "before": maybe(record.before) and metrics(record.before or {}),
    "metrics": isinstance(record.metrics, dict) and metrics(record.metrics),
    "validated": isinstance(record.validated, int),
    "best": record.best is None or numbers(record.best) and set(record.best) == {"step", "value"},
    "seconds": numbers(record.seconds) and set(record.seconds) == set(PHASES),
    "bytes": isinstance(record.bytes, int) and record.bytes >= 0,
    "window": maybe(record.window),
  }
  wrong = [name for name, good in fits.items() if not good]
  if wrong:
    raise ValueError(f"{wrong[0]} is {value[wrong[0]]!r:.60}")
  return record
