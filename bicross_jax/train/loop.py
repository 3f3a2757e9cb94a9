"""The training loop: one for all recipes.

Steps are counted from 1: step k is the k-th call of train_step, and "at step k" means after it.
At step k, in this order and where due: the log line, validation, the checkpoint. A checkpoint is
due every `checkpoint_every` steps, whenever a validation is the best so far, and at the end.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import math
import os
import pathlib
from typing import Any, Protocol
import zlib

import jax

from bicross_jax import errors
from bicross_jax.train import (
  devices,
  keeping,
  prefetch,
  processes,
  progress,
  runs,
  termination,
  windows,
)
from bicross_jax.train.keeping import DivergedError  # part of this module's interface
from bicross_jax.train.state import Initial, Recipe

__all__ = ("Data", "DivergedError", "Stopped", "run")
_AHEAD = 2  # steps that are handed to the devices before the first of them must be done


class Data(Protocol):
  """What a run learns from."""

  def train(self, start_step: int) -> Iterator[Mapping[str, Any]]:
    """NumPy batches: those that an uninterrupted run would see from `start_step` on."""


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
  validate: Callable[[Callable], Mapping[str, float]],
  workdir: str | os.PathLike,
  initial: Initial | None = None,
) -> dict[str, Any]:
  """Trains, or goes on with, the run of a folder.

  A resumed run is bit for bit the run that was not interrupted: state, batches, log lines (but
  for the speed in them). Several processes (`processes.start`) train one run together: each calls
  this with its own share of the data; process 0 writes.

  Args:
    config: ml_collections ConfigDict or dict with `seed` and `train.{steps, log_every,
      validate_every, checkpoint_every}` (steps); written to config.json and every checkpoint.
    recipe: what is trained.
    data: where batches come from.
    validate: takes predict(batch) -> {name: numpy array}, returns {metric: float}. Called before
      the first step, every `validate_every` steps and after the last.
    workdir: folder of the run.
    initial: variables to start from.

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
  for name in ("steps", "log_every", "validate_every", "checkpoint_every"):
    if config["train"][name] < 1:
      raise errors.UserError(f"train.{name}={config['train'][name]} must be at least 1")
  processes.check_same("config", runs.config_hash(config))
  stored = processes.by_first(lambda: runs.claim(workdir, config))
  if not all(processes.gather((workdir / runs.CONFIG).is_file())):
    raise errors.UserError(
      f"not all processes see {workdir.absolute()}; put runs where all machines see them"
    )
  if stored is not None:
    processes.say(f"{workdir} holds a finished run: {outcome(stored)}")
    return stored
  with contextlib.ExitStack() as stack:
    processes.by_first(lambda: stack.enter_context(runs.held(workdir)))
    stopping = stack.enter_context(termination.Termination())
    keeper = stack.enter_context(keeping.Keeper(config, recipe, workdir))
    training = _Training(config, recipe, validate, workdir, stopping, keeper)
    training.begin(initial)
    shown = stack.enter_context(
      progress.Progress(training.step, config["train"]["steps"], workdir.name)
    )
    return training.run(data, shown)


def outcome(result: Mapping[str, Any]) -> str:
  """One line on a result: the metric before, after, and at its best."""
  name, best = result["metric"], result["best"]
  shown = lambda values: "nan" if values[name] is None else f"{values[name]:.4g}"
  line = f"validation {name} {shown(result['before'])} -> {shown(result['after'])}"
  return f"{line} (best {best['value']:.4g} at step {best['step']})" if best else line


class _Training:
  """One run in progress."""

  def __init__(self, config, recipe, validate, workdir, stopping, keeper):
    self.config, self.recipe, self.workdir = config, recipe, workdir
    self.stopping, self.keeper = stopping, keeper
    self.validate, self.predict = validate, devices.jit_predict(recipe.predict)
    self.add = jax.jit(windows.add, donate_argnums=(0,))
    self.step, self.steps = 0, config["train"]["steps"]
    self.window = None

  def begin(self, initial):
    """Builds the state, or restores it."""
    root = jax.random.key(self.config["seed"])
    with self.keeper.clock("start"):
      state, self.step = self.keeper.restore(self.recipe.init(_named(root, "init"), initial))
      processes.check_same("last checkpoint", self.step)
      self.state = devices.place(devices.of_first(state))
      self.key = devices.replicate(_named(root, "train"))

  def run(self, data, shown):
    """From where `begin` left it to the end."""
    self.shown, record = shown, self.keeper.record
    size = sum(x.size for x in jax.tree.leaves(self.state.params))
    shown.message(
      f"{self.workdir} {f'goes on at step {self.step} of' if self.step else 'starts:'} "
      f"{self.steps} steps, {size / 1e6:.2f} M parameters, {jax.device_count()} x "
      f"{jax.devices()[0].device_kind}, jax {jax.__version__}"
    )
    try:
      if record.before is None:
        record.before = self._measure()
      if self.step and self._due("validate_every") and record.validated != self.step:
        self._validate()  # it was stopped between this step and its validation
        self.keeper.save(self.step, self.state, self.window)
      if self.step < self.steps:
        with prefetch.Prefetcher(data.train(self.step), devices.shard) as batches:
          self._train(batches)
    except _StopRequested:
      self._stop()
    self.keeper.wait()
    name, mode = self.recipe.metric
    result = runs.jsonable(
      {
        "metric": name,
        "mode": mode,
        "before": record.before,
        "after": record.metrics,
        "best": record.best,
        "steps": self.steps,
        "seconds": {k: round(v, 2) for k, v in record.seconds.items()},
      }
    )
    result = processes.by_first(
      lambda: runs.write_json(self.workdir / runs.RESULT, result) or result
    )
    shown.close()
    shown.message(f"{self.workdir} is done: {outcome(result)}")
    spent = ", ".join(f"{k} {v:.1f} s" for k, v in result["seconds"].items())
    shown.message(f"time: {spent}")
    return result

  def _train(self, batches):
    """All steps that are left."""
    batch = self._next(batches)
    train_step, running = self._compile(batch), []
    rows = math.prod(jax.tree.leaves(batch)[0].shape[:2])
    self.shown.begin()
    seconds = self.keeper.record.seconds
    since = self.step, seconds["train"]
    while True:
      with self.keeper.clock("train"):
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
        self.keeper.write(
          self.step,
          {**{f"train/{k}": v for k, v in values.items()}, "time/images_per_second": rows / each},
        )
        self.shown.log(self.step, values, rows / each, each)
        since = self.step, seconds["train"]
      self._maybe_stop()
      best = self._due("validate_every") and self._validate()
      if best or self._due("checkpoint_every"):
        self.keeper.save(self.step, self.state, self.window)
      if self.step == self.steps:
        return
      self._maybe_stop()
      with self.keeper.clock("train"):
        batch = self._next(batches)

  def _next(self, batches):
    batch = next(batches, None)
    if batch is None:
      raise errors.UserError(f"the training data ended after {self.step} of {self.steps} steps")
    return batch

  def _compile(self, batch):
    """The compiled step; also the window, that of the checkpoint when resuming."""
    with self.keeper.clock("compile"):
      lowered = devices.pmap_step(self.recipe.train_step).lower(self.state, batch, self.key)
      compiled = lowered.compile()
      processes.meet()
    window = windows.empty(lowered.out_info[1], _watched(self.state))
    if self.keeper.record.window is not None:
      window = windows.from_json(self.keeper.record.window, window)
    self.window = devices.replicate(window)
    self.shown.message(f"compiled the step in {self.keeper.record.seconds['compile']:.1f} s")
    return compiled

  def _log(self, metrics):
    """The means of the window, which starts anew."""
    with self.keeper.clock("train"):
      values = windows.means(self.keeper.check(self.window))
      self.window = devices.replicate(windows.empty(metrics, _watched(self.state)))
    return values

  def _due(self, every):
    return self.step == self.steps or self.step % self.config["train"][every] == 0

  def _measure(self):
    """Validates, and writes what comes out."""
    with self.keeper.clock("train"):
      self.keeper.check(self.window)  # waits for the steps, so that the time below is validation's
    name = self.recipe.metric[0]

    def predict(batch):
      self._maybe_stop()
      return self.predict(variables, batch)

    with self.keeper.clock("validate"):
      variables = devices.single(self.recipe.variables(self.state))
      values = {k: float(v) for k, v in self.validate(predict).items()}
      values = processes.gather(values)[0]  # all computed the same, but perhaps for the last bits
    if name not in values:
      raise ValueError(f"validation gave no {name}, only {sorted(values)}")
    self.keeper.write(self.step, {f"validation/{k}": v for k, v in values.items()})
    self.shown.message(f"step {self.step}: validation {name} {values[name]:.4g}")
    return values

  def _validate(self):
    """Validates, tells the recipe, and returns whether it is the best so far."""
    record, (name, mode) = self.keeper.record, self.recipe.metric
    values = self._measure()
    told = self.recipe.on_validation(self.state, values)
    if told is not self.state:
      self.state = devices.place(told)
    record.metrics, record.validated = values, self.step
    if not math.isfinite(values[name]):
      return False
    sign = {"min": 1, "max": -1, "last": 0}[mode]
    if sign and record.best and sign * values[name] >= sign * record.best["value"]:
      return False
    record.best = {"step": self.step, "value": values[name]}
    return True

  def _maybe_stop(self):
    if self.stopping.agreed():
      raise _StopRequested

  def _stop(self):
    if self.step:
      self.keeper.save(self.step, self.state, self.window)
      self.keeper.wait()
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


def _named(key, name):
  return jax.random.fold_in(key, zlib.crc32(name.encode()))
