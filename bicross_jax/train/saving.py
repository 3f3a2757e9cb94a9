"""What a run leaves on disk while it trains: checkpoints with their meta, and metrics."""

from collections.abc import Mapping
import contextlib
import dataclasses
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax import errors
from bicross_jax.train import checkpoints, devices, metadata, runs, windows, writers
from bicross_jax.train import record as records
from bicross_jax.train.state import Recipe, TrainState


class DivergedError(errors.TrainingError):
  """A loss, or what was learned, is no longer finite.

  Attributes:
    terms: what was not finite first: names of metrics, or parts of the state.
    step: after which step.
  """

  def __init__(self, terms: list[str], step: int, kept: str):
    super().__init__(f"training diverged: {', '.join(terms)} not finite at step {step}; {kept}")
    self.terms, self.step = terms, step


class Saver:
  """Writes one run's checkpoints and metrics. A context manager."""

  def __init__(
    self,
    workdir: str | os.PathLike,
    recipe: Recipe,
    config: Mapping[str, Any],
    examples: int,
    about: Mapping[str, Any] | None = None,
  ):
    """Opens the checkpoints of the folder.

    Args:
      workdir: of the run.
      recipe: what is trained.
      config: as written; kept in every checkpoint's meta.
      examples: how many training examples there are; likewise.
      about: what else the meta says.
    """
    self._workdir, self._recipe = pathlib.Path(workdir), recipe
    self._config, self._examples, self._about = config, examples, dict(about or {})
    self._open = contextlib.ExitStack()
    self._store = self._open.enter_context(checkpoints.Checkpoints(workdir))
    self._writers = []
    self._saved = None  # (step, step of the last validation) of the last save

  def restore(self, state: TrainState) -> tuple[TrainState, int, records.Record]:
    """The last checkpoint's state, step and record; or `state`, 0 and an empty one.

    Opens the files for metrics, which are cut back to that step.

    Args:
      state: the recipe's own first state (`local`: of this process's devices).

    Raises:
      errors.UserError: the checkpoint is damaged, is not of such a state, or was trained on
        another number of examples.
    """
    step, record = self._store.latest(), records.Record()
    if step is not None:
      folder = self._store.folder / str(step)
      meta = metadata.read(folder)
      if meta.get("examples") != self._examples:
        raise errors.UserError(
          f"{folder} was trained on {meta.get('examples')} examples and there are "
          f"{self._examples} now; choose another --workdir, or delete that folder"
        )
      try:
        record = records.from_json(meta.get("record"))
      except ValueError as error:
        raise errors.BadFileError(folder / "meta", f"its record {error}") from error
      state = devices.part(self._store.restore(step, devices.whole(state)))
      self._saved = (step, record.validated)
    if jax.process_index() == 0:
      self._lines = writers.JsonLines(self._workdir / runs.METRICS, record.bytes)
      first = 0 if step is None else step + 1
      self._writers = [self._lines, writers.TensorBoard(self._workdir, first)]
      for writer in self._writers:
        self._open.callback(writer.close)
    return state, step or 0, record

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Keeps metrics as of `step`."""
    for writer in self._writers:
      writer.write(step, values)

  def save(
    self, step: int, state: TrainState, record: records.Record, window: windows.Window | None
  ) -> None:
    """Saves a checkpoint in the background, unless this very one is there already.

    Args:
      step: of the state.
      state: on the devices.
      record: of the run.
      window: of the metrics since the last log line, in host memory; None: as it was restored.

    Raises:
      DivergedError: something is not finite; nothing is saved.
      ValueError: `state.step` is not `step`.
    """
    if self._saved == (step, record.validated):
      return
    state = devices.gather(state)
    variables = jax.device_get(self._recipe.variables(state))
    if state.step != step:
      raise ValueError(f"state.step is {state.step} after {step} steps (see state.Recipe)")
    bad = not_finite({"state": state.replace(frozen={}), "variables": variables})
    if bad:
      raise self.diverged(bad, step)
    record = dataclasses.replace(
      record,
      bytes=self._lines.size if self._writers else 0,
      window=record.window if window is None else windows.to_json(window),
    )
    best = record.best and record.best["step"]
    self._store.save(step, state, variables, self._meta(step, record), best)
    self._saved = (step, record.validated)

  def wait(self) -> None:
    """Returns when what was saved is on disk."""
    self._store.wait()

  def diverged(self, terms: list[str], step: int) -> DivergedError:
    """The error that says what is not finite, and which checkpoint is left."""
    self._store.wait()
    latest = self._store.latest()
    kept = "there was no checkpoint yet"
    if latest is not None:
      kept = f"the last checkpoint before is {self._store.folder / str(latest)}"
    return DivergedError(terms, step, kept)

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self._open.close()

  def _meta(self, step, record):
    name, mode = self._recipe.metric
    metrics = record.metrics if record.validated == step else {}
    return {
      **self._about,
      "step": step,
      "which": self._recipe.publishes,
      "metric": {"name": name, "mode": mode, "value": metrics.get(name)},
      "metrics": metrics,
      "examples": self._examples,
      "config": runs.plain(self._config),
      "config_hash": runs.config_hash(self._config),
      "versions": runs.versions(),
      "record": dataclasses.asdict(record),
    }


def not_finite(tree: Any) -> list[str]:
  """Paths of the float arrays of a pytree in host memory that are not finite throughout."""
  return [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
    if jnp.issubdtype(x.dtype, jnp.floating) and not np.all(np.isfinite(x))
  ]
