"""Speed and memory of training steps and predictions, several configs side by side in one run."""

from collections.abc import Mapping
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from bicross_jax import recipes
from bicross_jax.config import grammar
from bicross_jax.train import devices
from bicross_jax.train import state as train_state

EPOCH = 1000  # training examples that durations in epochs refer to


class Measured(NamedTuple):
  """What was measured of one config.

  Attributes:
    train, predict: images a second, the best round.
    compile_train, compile_predict: seconds, without the compile cache.
    memory: bytes the compiled training step needs at its peak on one device: arguments, results
      and temporaries that XLA planned.
  """

  train: float
  predict: float
  compile_train: float
  compile_predict: float
  memory: int


class _Case:
  """One config, compiled and ready to be timed."""

  def __init__(self, config):
    rng = np.random.default_rng(0)
    recipe = recipes.create(config)
    batch = random_batch(rng, recipe.batch_spec(), config.data.batch_size)
    key = jax.random.key(config.seed)
    state = devices.place(recipe.init(key, _random_parent(config, key)))
    self.variables = jax.device_get(recipe.variables(devices.gather(state)))
    self.rows, self.batch, self.key = (
      config.data.batch_size,
      devices.shard(batch),
      devices.replicate(key),
    )
    self.state = state
    self.step, self.compile_train = _timed(
      lambda: devices.pmap_step(recipe.train_step).lower(state, self.batch, self.key).compile()
    )
    self.one = jax.device_put(batch.get("source", batch))
    self.variables = jax.device_put(self.variables)
    self.predict, self.compile_predict = _timed(
      lambda: jax.jit(recipe.predict).lower(self.variables, self.one).compile()
    )
    plan = self.step.memory_analysis()
    self.memory = (
      plan.argument_size_in_bytes
      + plan.output_size_in_bytes
      + plan.temp_size_in_bytes
      - plan.alias_size_in_bytes
    )

  def train(self):
    self.state, metrics = self.step(self.state, self.batch, self.key)
    return metrics


def measure(
  configs: Mapping[str, Any], *, rounds: int = 5, seconds: float = 2.0
) -> dict[str, Measured]:
  """Times all configs in turns, so that what else the machine does falls on all of them.

  Args:
    configs: label -> config; batches are random numbers of the recipe's
      shapes, a stage that starts from another starts from random weights.
    rounds: how often each is timed; the best counts.
    seconds: length of one timing.

  Returns:
    {label: Measured}.
  """
  cases = {
    label: _Case(grammar.resolve_durations(config, EPOCH)) for label, config in configs.items()
  }
  best = {label: [0.0, 0.0] for label in cases}
  for _ in range(rounds):
    for label, case in cases.items():
      speeds = (
        case.rows * _rate(case.train, seconds),
        case.rows * _rate(lambda c=case: c.predict(c.variables, c.one), seconds),
      )
      best[label] = [max(a, b) for a, b in zip(best[label], speeds, strict=True)]
  return {
    label: Measured(*best[label], case.compile_train, case.compile_predict, case.memory)
    for label, case in cases.items()
  }


def random_batch(rng, spec, rows: int) -> dict[str, Any]:
  """A batch of random numbers: uint8 fields uniform, float fields (depth) 2 to 50.

  Args:
    rng: NumPy's.
    spec: a recipe's batch_spec, of one stream or of several.
    rows: of each stream.
  """
  if not hasattr(next(iter(spec.values())), "dtype"):
    return {stream: random_batch(rng, fields, rows) for stream, fields in spec.items()}
  return {
    name: rng.integers(0, 256, (rows, *s.shape), np.uint8)
    if s.dtype == np.uint8
    else rng.uniform(2, 50, (rows, *s.shape)).astype(s.dtype)
    for name, s in spec.items()
  }


def _random_parent(config, key):
  """Variables of a randomly initialised parent stage, where the config has one."""
  if "parent" not in config:
    return None
  config = grammar.resolve_durations(config.parent, EPOCH)
  parent = recipes.create(config)
  variables = parent.variables(parent.init(key, _random_parent(config, key)))
  return train_state.Initial(init_from=variables, teacher=variables)


def _timed(function):
  began = time.perf_counter()
  out = function()
  return out, time.perf_counter() - began


def _rate(call, seconds):
  """Calls a second."""
  jax.block_until_ready(call())
  began, count = time.perf_counter(), 0
  while time.perf_counter() - began < seconds:
    jax.block_until_ready(call())
    count += 1
  return count / (time.perf_counter() - began)
