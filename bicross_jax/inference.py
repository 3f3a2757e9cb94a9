"""A trained network, restored from a run: config, networks, variables, predict."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

import flax
import jax
import ml_collections
import numpy as np

from bicross_jax import cameras, errors, fields, recipes
from bicross_jax.config import check as checks
from bicross_jax.config import grammar
from bicross_jax.train import checkpoints, devices, metadata, state

Spec = dict[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class Model:
  """What a checkpoint publishes, ready to use.

  Attributes:
    config: the config it was trained with, durations in steps.
    recipe: what trained it.
    variables: {"params", "batch_stats"}, NumPy arrays.
    meta: versions, step and validation metrics of the checkpoint.
  """

  config: ml_collections.ConfigDict
  recipe: state.Recipe
  variables: Mapping[str, Any]
  meta: Mapping[str, Any]

  @functools.cached_property
  def _placed(self):
    """The variables on the device, put there once."""
    return jax.device_put(self.variables)

  @functools.cached_property
  def _predict(self):
    return devices.jit_predict(self.recipe.predict, self.recipe.inputs)

  @functools.cached_property
  def _inspect(self):
    return devices.jit_predict(self.recipe.inspect or self.recipe.predict, self.recipe.inputs)

  @functools.cached_property
  def camera(self) -> state.Camera | None:
    """The camera that a network of depth has learned metres of; None where nobody says.

    `metric` says whether its depth is in metres; `focal` (share of the width) and `baseline` (metres)
    are 0 where nobody knows them. `cameras.rescaling` says what its depth is for another camera.
    """
    return cameras.of_checkpoint(self.meta, self.config, self.recipe)

  @property
  def networks(self) -> Mapping[str, Any]:
    """{name: linen module}; with one, `module.apply(model.variables, x)` takes network input."""
    return self.recipe.networks

  @property
  def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
    """{field: shape and dtype of one example} of what `predict` reads, as in training."""
    return input_spec(self.recipe)

  def predict(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Predictions for a batch with the fields the network reads (`inputs`), [B, ...] each.

    A network with memory begins anew.

    Returns:
      By the task: {"depth": float32[B, h, w] metres, "uncertainty": float32[B, h, w]} of depth
      networks, at the network's resolution.
    """
    return dict(jax.device_get(self.step(batch)[0]))

  def step(self, batch: Mapping[str, Any], carry: state.Carry = ()) -> tuple[dict, state.Carry]:
    """As `predict`, on the device and with memory: (predictions, carry for the next batch)."""
    return self._predict(self._placed, batch, carry)

  def compile(self, rows: int, section: Mapping[str, Any] | None = None) -> None:
    """Compiles `step` for batches of so many rows, of the maps of a data section (`input_spec`)."""
    spec = input_spec(self.recipe, section)
    self.step({name: np.zeros((rows, *s.shape), s.dtype) for name, s in spec.items()})

  def inspect(self, batch: Mapping[str, Any], carry: state.Carry = ()) -> tuple[dict, state.Carry]:
    """As `step`, with what pictures show besides ("feature")."""
    return self._inspect(self._placed, batch, carry)


def input_spec(recipe: state.Recipe, section: Mapping[str, Any] | None = None) -> Spec:
  """{field: shape and dtype of one example} of what a recipe's `predict` reads.

  Args:
    recipe: which.
    section: of a config, whose `height` and `width` maps have; None: as in training.
  """
  streams = state.streams(recipe.batch_spec()).values()
  out = {}
  for name in recipe.inputs:
    spec = next(stream[name] for stream in streams if name in stream)
    if section is not None and fields.get(name, recipe.fields).kind == "map":
      shape = (section["height"], section["width"], *spec.shape[2:])
      spec = jax.ShapeDtypeStruct(shape, spec.dtype)
    out[name] = spec
  return out


def load(
  path, which: str = "best", plugins: Sequence[str] = (), changes: Sequence[str] = ()
) -> Model:
  """Restores a checkpoint.

  Args:
    path: a run's folder, or the folder of one checkpoint in it.
    which: "best" or "last", where `path` is a run's folder.
    plugins: modules outside this package whose recipes the checkpoint may name; their code runs.
    changes: "key=value" of fields of its config that are to be others, for example which of its
      outputs is predicted; the variables stay as they are.

  Raises:
    errors.UserError: an unknown field or value, nothing there, not a whole checkpoint of this package, one of a part of a
      network, a config that cannot be run, or arrays that do not fit it.
  """
  folder = checkpoints.find(path, which)
  meta = metadata.read(folder)
  if meta.get("part"):
    raise errors.UserError(
      f"{folder} holds {meta['part']} alone, which a stage can start "
      "from with --config.parents.weights.checkpoint"
    )
  config = read_config(folder, meta, plugins, changes)
  if changes:
    meta = {name: value for name, value in meta.items() if name != "camera"}  # it may be another
  recipe = recipes.create(config, plugins)
  variables, _ = checkpoints.restore_variables(folder)
  model = Model(config, recipe, variables, meta)
  rows = config.data.batch_size  # of the batches to come: JAX need not trace it again
  batch = {
    name: jax.ShapeDtypeStruct((rows, *spec.shape), spec.dtype)
    for name, spec in model.inputs.items()
  }
  try:
    jax.eval_shape(lambda batch: model._predict(variables, batch), batch)
  except (flax.errors.FlaxError, KeyError, TypeError, ValueError) as error:
    told = " ".join(str(error).split())[:300]
    raise errors.BadFileError(
      folder / "variables", f"does not fit the network of its config: {told}"
    ) from error
  return model


def read_config(
  folder, meta: Mapping[str, Any], plugins: Sequence[str] = (), changes: Sequence[str] = ()
):
  """The config of a checkpoint, checked, with durations in steps.

  Args:
    folder, meta: of the checkpoint.
    plugins, changes: as for `load`.

  Raises:
    errors.BadFileError: it cannot be run by this version.
    errors.UserError: a change that cannot be.
  """
  try:
    config = checks.check(grammar.from_plain(meta["config"]), plugins)
  except (errors.UserError, TypeError, ValueError, AttributeError, KeyError) as error:
    version = meta.get("versions", {}).get("bicross_jax", "unknown")
    told = " ".join(str(error).split())
    raise errors.BadFileError(
      folder, f"its config (of bicross_jax {version}) does not fit this version: {told}"
    ) from error
  for item in changes:
    grammar.override(config, item)
  if changes:
    checks.check(config, plugins)
  return grammar.resolve_durations(config, meta.get("examples") or config.data.batch_size)


def random_parents(config, key: jax.Array) -> dict[str, Any]:
  """{role: random variables} of the stages that a config starts from, for shapes and speed.

  Args:
    config: from a config file, checked.
    key: PRNG key.
  """
  out = {}
  for role in config.get("parents", {}):
    parent = grammar.parent(config, role)
    if parent is not None:
      parent = grammar.resolve_durations(parent, parent.data.batch_size)
      recipe = recipes.create(parent, grammar.trusted(parent))
      out[role] = recipe.variables(recipe.init(key, random_parents(parent, key)))
  return out
