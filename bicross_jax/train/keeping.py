"""What a run leaves on disk while it trains: checkpoints with their meta, and metrics."""

from collections.abc import Mapping
import contextlib
import dataclasses
import os
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax import errors
from bicross_jax.train import checkpoints, devices, runs, windows, writers
from bicross_jax.train.state import Recipe, TrainState

PHASES = ("start", "compile", "train", "validate", "save")


class DivergedError(errors.TrainingError):
  """A loss, or what was learned, is no longer finite.

  Attributes:
    terms: what was not finite first: names of metrics, or parts of the state.
    step: after which step.
  """

  def __init__(self, terms: list[str], step: int, kept: str):
    super().__init__(f"training diverged: {', '.join(terms)} not finite at step {step}; {kept}")
    self.terms, self.step = terms, step


@dataclasses.dataclass
class Record:
  """What a run knows of itself besides its state; kept in a checkpoint's meta.

  Attributes:
    before: validation metrics at step 0.
    metrics: those of the last validation after that.
    validated: the step of that validation, or -1.
    best: {"step", "value"} of the recipe's metric after at least one step, or None.
    seconds: spent so far, by phase.
    bytes: of metrics.jsonl.
    window: sums since the last log line (`windows.to_json`), or None before the first step.
  """

  before: dict[str, float] | None = None
  metrics: dict[str, float] = dataclasses.field(default_factory=dict)
  validated: int = -1
  best: dict[str, Any] | None = None
  seconds: dict[str, float] = dataclasses.field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
  bytes: int = 0
  window: dict[str, list] | None = None


class Keeper:
  """Keeps one run: its record, its checkpoints, its metrics. A context manager."""

  def __init__(self, config: Mapping[str, Any], recipe: Recipe, workdir: str | os.PathLike):
    """Opens the checkpoints of the folder."""
    self.record = Record()
    self._config, self._recipe, self._workdir = config, recipe, pathlib.Path(workdir)
    self._open = contextlib.ExitStack()
    self._store = self._open.enter_context(checkpoints.Checkpoints(workdir))
    self._writers = []
    self._saved = None  # (step, step of the last validation) of the last save

  def restore(self, state: TrainState) -> tuple[TrainState, int]:
    """The last checkpoint's state and step, and its record; or `state` and 0.

    Opens the files for metrics, which are cut back to that step.

    Args:
      state: the recipe's own first state (`local`: of this process's devices).
    """
    step = self._store.latest()
    if step is not None:
      state = devices.part(self._store.restore(step, devices.whole(state)))
      meta = checkpoints.read_meta(self._store.folder / str(step))
      self.record = Record(**meta["record"])
      self._saved = (step, self.record.validated)
    if jax.process_index() == 0:
      self._lines = writers.JsonLines(self._workdir / runs.METRICS, self.record.bytes)
      first = 0 if step is None else step + 1
      self._writers = [self._lines, writers.TensorBoard(self._workdir, first)]
      for writer in self._writers:
        self._open.callback(writer.close)
    return state, step or 0

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Keeps metrics as of `step`."""
    for writer in self._writers:
      writer.write(step, values)

  def check(self, window: windows.Window | None) -> windows.Window | None:
    """The window in host memory (this waits for the devices).

    Raises:
      DivergedError: something in it is not finite.
    """
    window = jax.device_get(window)
    found = windows.diverged(window) if window is not None else None
    if found:
      raise self.diverged(*found)
    return window

  def diverged(self, terms: list[str], step: int) -> DivergedError:
    """The error that says so, and which checkpoint is left."""
    self._store.wait()
    latest = self._store.latest()
    kept = (
      "there was no checkpoint yet"
      if latest is None
      else (f"the last checkpoint before is {self._store.folder / str(latest)}")
    )
    return DivergedError(terms, step, kept)

  def save(self, step: int, state: TrainState, window: windows.Window | None) -> None:
    """Saves a checkpoint in the background, unless this very one is there already.

    Args:
      step: of the state.
      state: on the devices.
      window: of the metrics since the last log line; None: as it was restored.

    Raises:
      DivergedError: something is not finite; nothing is saved.
      ValueError: `state.step` is not `step`.
    """
    if self._saved == (step, self.record.validated):
      return
    window = self.check(window)
    with self.clock("save"):
      state = devices.gather(state)
      variables = jax.device_get(self._recipe.variables(state))
      if state.step != step:
        raise ValueError(f"state.step is {state.step} after {step} steps (see state.Recipe)")
      bad = not_finite({"state": state.replace(frozen={}), "variables": variables})
      if bad:
        raise self.diverged(bad, step)
      if window is not None:
        self.record.window = windows.to_json(window)
      if self._writers:
        self.record.bytes = self._lines.size
      best = self.record.best and self.record.best["step"]
      self._store.save(step, state, variables, self._meta(step), best)
      self._saved = (step, self.record.validated)

  def wait(self) -> None:
    """Returns when what was saved is on disk."""
    with self.clock("save"):
      self._store.wait()

  @contextlib.contextmanager
  def clock(self, phase: str):
    """Counts the time inside as that of a phase."""
    began = time.perf_counter()
    try:
      yield
    finally:
      self.record.seconds[phase] += time.perf_counter() - began

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self._open.close()

  def _meta(self, step):
    name, mode = self._recipe.metric
    metrics = self.record.metrics if self.record.validated == step else {}
    return {
      "step": step,
      "which": self._recipe.publishes,
      "metric": {"name": name, "mode": mode, "value": metrics.get(name)},
      "metrics": metrics,
      "config": runs.plain(self._config),
      "config_hash": runs.config_hash(self._config),
      "versions": runs.versions(),
      "record": dataclasses.asdict(self.record),
    }


def not_finite(tree: Any) -> list[str]:
  """Paths of the float arrays of a pytree in host memory that are not finite throughout."""
  return [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
    if jnp.issubdtype(x.dtype, jnp.floating) and not np.all(np.isfinite(x))
  ]
