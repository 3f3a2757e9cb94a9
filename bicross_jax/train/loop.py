"""The training loop: one for all recipes.

Steps are counted from 1: step k is the k-th call of train_step, and "at step k" means after it.
At step k, in this order and where due: the log line, validation, the checkpoint. A checkpoint is
due every `checkpoint_every` steps, whenever a validation is the best so far, and at the end.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
import contextlib
import math
import os
import pathlib
import time
from typing import Any, Protocol

import jax

from bicross_jax import errors, files
from bicross_jax.ops import keys
from bicross_jax.train import (
  devices,
  prefetch,
  processes,
  progress,
  runs,
  saving,
  termination,
  windows,
)
from bicross_jax.train.saving import DivergedError  # part of this module's interface
from bicross_jax.train.state import Batch, Carry, Metrics, Predictions, Recipe, Variables

__all__ = ("DURATIONS", "Data", "DivergedError", "Predict", "Score", "Stopped", "outcome", "run")
DURATIONS = ("steps", "log_every", "validate_every", "checkpoint_every")
_AHEAD = 2  # steps that are handed to the devices before the first of them must be done


class Data(Protocol):
  """What a run learns from."""

  def train(self, start_step: int) -> Iterator[Mapping[str, Any]]:
    """NumPy batches: those that an uninterrupted run would see from `start_step` on."""


class Predict(Protocol):
  """The network as it is now; results stay on the devices, and nothing waits for them."""

  def __call__(self, batch: Batch, carry: Carry = ()) -> tuple[Predictions, Carry]:
    """Predictions, and what to pass with the batch that follows; see `state.Recipe`."""


class Score(Protocol):
  """The recipe's own score of the network as it is now; nothing waits for it."""

  def __call__(self, batch: Batch) -> Metrics:
    """{name: (sum, count)} over the rows whose `mask` is True; see `state.Recipe`."""


class Stopped(SystemExit):
  """The run was asked to end (SIGTERM) and has saved itself; exit status 0.

  Attributes:
    step: the step at which the same command goes on.
  """

  def __init__(self, step: int):
    super().__init__(0)
    self.step = step


class _StopRequested(Exception):
  """SIGTERM has come."""


def run(
  config: Mapping[str, Any],
  recipe: Recipe,
  data: Data,
  validate: Callable[[Predict, Score | None], Mapping[str, float]],
  workdir: str | os.PathLike,
  parents: Mapping[str, Variables],
  *,
  durations: Mapping[str, int],
  examples: int,
  about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Trains, or goes on with, the run of a folder.

  A resumed run is bit for bit the run that was not interrupted: state, batches, log lines (but
  for the speed in them). Several processes (`processes.start`) train one run together: each calls
  this with its own share of the data; process 0 writes.

  Args:
    config: ml_collections ConfigDict or dict with `seed`; as written it goes to config.json and
      every checkpoint, and tells this run from others (`runs.config_hash`).
    recipe: what is trained.
    data: where batches come from.
    validate: (predict, score) -> {metric: float}, with the recipe's metric among them; `score` is
      None where the recipe has none. Called before the first step, every `validate_every` steps
      and after the last.
    workdir: folder of the run.
    parents: {role: variables} to start from; {}: none.
    durations: {"steps", "log_every", "validate_every", "checkpoint_every"}, in steps.
    examples: how many training examples there are; kept in every checkpoint. A run goes on only
      with as many.
    about: what else the meta of every checkpoint says.

  Returns:
    {"metric", "mode", "before", "after" (validation metrics), "best" {"step", "value"}, "steps",
    "seconds" {phase: s}}, which is also in result.json. A finished run does nothing and returns
    the result that it stored.

  Raises:
    errors.UserError: the folder holds another run, or another process trains in it; config, data
      and recipe do not fit.
    DivergedError: training diverged; the last checkpoint before that is kept.
    Stopped: SIGTERM; the run is saved.
  """
  workdir = pathlib.Path(workdir)
  durations = {name: int(durations[name]) for name in DURATIONS}
  for name, value in durations.items():
    if value < 1:
      raise errors.UserError(f"train.{name}={value} must be at least 1")
  processes.check_same("config", [runs.config_hash(config), durations, examples])
  stored = processes.by_first(lambda: runs.stored(workdir, config))
  if stored is not None:
    processes.say(f"{workdir} holds a finished run: {outcome(stored)}")
    return stored
  began = time.perf_counter()
  root = jax.random.key(config["seed"])
  first = recipe.init(keys.named_key(root, "init"), dict(parents))  # before anything is written
  processes.by_first(lambda: runs.claim(workdir, config))
  if not all(processes.gather((workdir / runs.CONFIG).is_file())):
    raise errors.UserError(
      f"not all processes see {workdir.absolute()}; put runs where all machines see them"
    )
  with contextlib.ExitStack() as stack:
    processes.by_first(lambda: stack.enter_context(runs.locked(workdir)))
    stopping = stack.enter_context(termination.Termination())
    saver = stack.enter_context(saving.Saver(workdir, recipe, config, examples, about))
    training = _Training(recipe, validate, durations, workdir, stopping, saver)
    training.begin(first, keys.named_key(root, "train"), time.perf_counter() - began)
    shown = stack.enter_context(progress.Progress(training.step, durations["steps"], workdir.name))
    return training.run(data, shown)


def outcome(result: Mapping[str, Any]) -> str:
  """One line on a result: the metric before, after, and at its best."""
  name, best = result["metric"], result["best"]
  shown = lambda values: "nan" if values[name] is None else f"{values[name]:.4g}"
  line = f"validation {name} {shown(result['before'])} -> {shown(result['after'])}"
  return f"{line} (best {best['value']:.4g} at step {best['step']})" if best else line


class _Training:
  """One run in progress: what is due when.

  `record` says what happened and how long it took, `saver` keeps it.
  """

  def __init__(self, recipe, validate, durations, workdir, stopping, saver):
    self.recipe, self.durations, self.workdir = recipe, durations, workdir
    self.stopping, self.saver = stopping, saver
    self.validate = validate
    self.predict = devices.jit_predict(recipe.predict, recipe.inputs)
    self.score = recipe.score and jax.jit(recipe.score)
    self.add = jax.jit(windows.add, donate_argnums=(0,))
    self.step, self.steps = 0, durations["steps"]
    self.window = None

  def begin(self, first, key, spent):
    """Restores the last checkpoint, or begins with the recipe's first state.

    `key` is that of all steps; `spent` the seconds that the first state took.
    """
    began = time.perf_counter()
    state, self.step, self.record = self.saver.restore(first)
    processes.check_same("last checkpoint", self.step)
    self.state = devices.place(devices.of_first(state))
    self.key = devices.replicate(key)
    self.record.seconds["start"] += spent + time.perf_counter() - began

  def run(self, data, shown):
    """From where `begin` left it to the end."""
    self.shown = shown
    size = sum(x.size for x in jax.tree.leaves(self.state.params))
    shown.message(
      f"{self.workdir} {f'goes on at step {self.step} of' if self.step else 'starts:'} "
      f"{self.steps} steps, {size / 1e6:.2f} M parameters, {jax.device_count()} x "
      f"{jax.devices()[0].device_kind}, jax {jax.__version__}"
    )
    try:
      with contextlib.ExitStack() as stack:
        if self.step < self.steps:
          ahead = prefetch.Prefetcher(data.train(self.step), devices.shard)
          batches = stack.enter_context(ahead)
          batch = self._next(batches)
          compiling = self._compile(batch, stack.enter_context(futures.ThreadPoolExecutor(1)))
        if self.record.before is None:
          self.record.before = self._measure()
        if self.step and self._due("validate_every") and self.record.validated != self.step:
          self._validate()  # it was stopped between this step and its validation
          self._save()
        if self.step < self.steps:
          self._train(self._compiled(*compiling), batch, batches)
    except _StopRequested:
      self._stop()
    self._wait()
    result = files.jsonable(self.record.result(self.steps, self.recipe.metric))
    result = processes.by_first(
      lambda: files.write_json(self.workdir / runs.RESULT, result) or result
    )
    shown.close()
    shown.message(f"{self.workdir} is done: {outcome(result)}")
    spent = ", ".join(f"{k} {v:.1f} s" for k, v in result["seconds"].items())
    shown.message(f"time: {spent}")
    return result

  def _train(self, train_step, batch, batches):
    """All steps that are left."""
    running = []
    rows = math.prod(jax.tree.leaves(batch)[0].shape[:2])
    self.shown.begin()
    seconds = self.record.seconds
    since = self.step, seconds["train"]
    while True:
      with self.record.clock("train"):
        self.state, metrics = train_step(self.state, batch, self.key)
        self.window = self.add(self.window, metrics, _watched(self.state), self.state.step)
        running.append(metrics)
        if len(running) > _AHEAD:
          jax.block_until_ready(running.pop(0))
      self.step += 1
      self.shown.advance()
      if self._due("log_every"):
        values = self._log(metrics)
        each = (seconds["train"] - since[1]) / (self.step - since[0])
        self.saver.write(
          self.step,
          {**{f"train/{k}": v for k, v in values.items()}, "time/images_per_second": rows / each},
        )
        self.shown.log(self.step, values, rows / each, each)
        since = self.step, seconds["train"]
      self._maybe_stop()
      best = self._due("validate_every") and self._validate()
      if best or self._due("checkpoint_every"):
        self._save()
      if self.step == self.steps:
        return
      self._maybe_stop()
      with self.record.clock("train"):
        batch = self._next(batches)

  def _next(self, batches):
    batch = next(batches, None)
    if batch is None:
      raise errors.UserError(f"the training data ended after {self.step} of {self.steps} steps")
    return batch

  def _compile(self, batch, thread):
    """Begins to compile the step in a thread: (future, the window that it starts with)."""
    with self.record.clock("compile"):
      lowered = devices.parallel_step(self.recipe.train_step).lower(self.state, batch, self.key)
    window = windows.empty(lowered.out_info[1], _watched(self.state))
    if self.record.window is not None:
      window = windows.from_json(self.record.window, window)
    return thread.submit(lowered.compile, devices.compiler_options()), window

  def _compiled(self, compiling, window):
    """The step, when all processes have compiled it."""
    with self.record.clock("compile"):
      compiled = compiling.result()
      processes.meet()
    self.window = devices.replicate(window)
    self.shown.message(f"compiled the step in {self.record.seconds['compile']:.1f} s")
    return compiled

  def _log(self, metrics):
    """The means of the window, which starts anew."""
    with self.record.clock("train"):
      values = windows.means(self._fetch().metrics)
      self.window = devices.replicate(windows.empty(metrics, _watched(self.state)))
    return values

  def _fetch(self):
    """The window in host memory, None before the first step; waits for the devices.

    Raises:
      DivergedError: something in it is not finite.
    """
    window = jax.device_get(self.window)
    found = windows.diverged(window) if window is not None else None
    if found:
      raise self.saver.diverged(*found)
    return window

  def _save(self):
    window = self._fetch()
    with self.record.clock("save"):
      self.saver.save(self.step, self.state, self.record, window)

  def _wait(self):
    with self.record.clock("save"):
      self.saver.wait()

  def _due(self, every):
    return self.step == self.steps or self.step % self.durations[every] == 0

  def _measure(self):
    """Validates, and writes what comes out."""
    with self.record.clock("train"):
      self._fetch()  # waits for the steps, so that the time below is validation's
    name = self.recipe.metric[0]

    def predict(batch, carry=()):
      self._maybe_stop()
      return self.predict(variables, batch, carry)

    def score(batch):
      self._maybe_stop()
      return self.score(variables, dict(batch))

    with self.record.clock("validate"):
      variables = devices.single(self.recipe.variables(self.state))
      values = self.validate(predict, score if self.score else None)
      values = {k: float(v) for k, v in values.items()}
      values = processes.gather(values)[0]  # all computed the same, but perhaps for the last bits
    if name not in values:
      raise ValueError(f"validation gave no {name}, only {sorted(values)}")
    self.saver.write(self.step, {f"validation/{k}": v for k, v in values.items()})
    self.shown.message(f"step {self.step}: validation {name} {values[name]:.4g}")
    return values

  def _validate(self):
    """Validates, tells the recipe, and returns whether it is the best so far."""
    values = self._measure()
    told = self.recipe.on_validation(self.state, values)
    if told is not self.state:
      self.state = devices.place(told)
    return self.record.judge(self.step, values, self.recipe.metric)

  def _maybe_stop(self):
    if self.stopping.agreed():
      raise _StopRequested

  def _stop(self):
    if self.step:
      self._save()
      self._wait()
    self.shown.close()
    self.shown.message(
      f"asked to stop: saved at step {self.step}; the same command goes on from there"
      if self.step
      else "asked to stop: nothing was trained yet"
    )
    raise Stopped(self.step)


def _watched(state):
  """What must stay finite besides the metrics."""
  return {"state.params": state.params, "state.batch_stats": state.batch_stats}
