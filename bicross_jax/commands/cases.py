"""A config with random weights and a random batch, compiled and ready to be timed. It needs no data."""

from collections.abc import Callable, Mapping
import time
from typing import Any

from bicross_jax import fields
from bicross_jax.config import grammar

EPOCH = 1000  # training examples that durations in epochs refer to


class Case:
  """Training steps and predictions of one config; a stage that starts from others starts from random weights.

  Attributes:
    recipe: of the config.
    rows: of a batch.
  """

  def __init__(self, config: Any):
    import jax
    import numpy as np

    from bicross_jax import inference, recipes
    from bicross_jax.train import devices

    config, rng = grammar.resolve_durations(config, EPOCH), np.random.default_rng(0)
    self.recipe = recipes.create(config, grammar.trusted(config))
    self.rows, own = config.data.batch_size, self.recipe.fields
    batch = random_batch(rng, self.recipe.batch_spec(), self.rows, own)
    key = jax.random.key(config.seed)
    self._state = devices.place(self.recipe.init(key, inference.random_parents(config, key)))
    variables = jax.device_get(self.recipe.variables(devices.gather(self._state)))
    self._batch, self._key = devices.shard(batch), devices.replicate(key)
    one = random_batch(rng, inference.input_spec(self.recipe), self.rows, own)
    self._one, self._variables = jax.device_put((one, variables))

  def compile_train(self) -> tuple[Callable[[], Any], float, int]:
    """(a function that takes a step, seconds, bytes that the step needs at its peak on one device)."""
    from bicross_jax.train import devices

    step, seconds = _timed(
      lambda: (
        devices.parallel_step(self.recipe.train_step)
        .lower(self._state, self._batch, self._key)
        .compile(devices.compiler_options())
      )
    )

    def train():
      self._state, metrics = step(self._state, self._batch, self._key)
      return metrics

    plan = step.memory_analysis()
    held = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
    return train, seconds, held - plan.alias_size_in_bytes

  def compile_predict(self) -> tuple[Callable[[], Any], float]:
    """(a function that predicts, seconds)."""
    import jax

    predict, seconds = _timed(
      lambda: jax.jit(self.recipe.predict).lower(self._variables, self._one, ()).compile()
    )
    return lambda: predict(self._variables, self._one, ()), seconds

  def flops(self, train: bool) -> float:
    """FLOP of a step or a prediction, as convolutions and products have them (`ops.exact`)."""
    import jax

    from bicross_jax.train import devices

    shapes = lambda tree: jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
    host = jax.local_devices(backend="cpu")[0]  # plugins of other backends count no operations
    with jax.default_device(host), jax.default_matmul_precision("highest"):
      if train:
        run = devices.parallel_step(self.recipe.train_step)
        lowered = run.lower(*shapes((self._state, self._batch, self._key)))
      else:
        lowered = jax.jit(self.recipe.predict).lower(*shapes((self._variables, self._one)), ())
      return lowered.cost_analysis()["flops"]


def random_batch(rng: Any, spec: Any, rows: int, own: Mapping[str, fields.Field]) -> dict[str, Any]:
  """A batch of random numbers that its fields may hold (`fields.random`).

  Args:
    rng: NumPy's.
    spec: a recipe's batch_spec, of one stream or of several.
    rows: of each stream.
    own: fields of the recipe's own.
  """
  from bicross_jax.train import state

  batch = {
    stream: {
      name: fields.random(rng, fields.get(name, own), (rows, *s.shape), s.dtype)
      for name, s in specs.items()
    }
    for stream, specs in state.streams(spec).items()
  }
  return batch.get("", batch)


def _timed(function):
  began = time.perf_counter()
  out = function()
  return out, time.perf_counter() - began
