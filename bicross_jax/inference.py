"""A trained network, restored from a run: config, module, variables, predict."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import ml_collections
import numpy as np

from bicross_jax import errors, recipes
from bicross_jax.train import checkpoints


@dataclasses.dataclass(frozen=True)
class Trained:
  """What a checkpoint publishes, ready to use.

  Attributes:
    config: the config it was trained with.
    module: the linen module; `module.apply(variables, x)` takes network input.
    variables: {"params", "batch_stats"}, NumPy arrays.
    meta: versions, step and validation metrics of the checkpoint.
  """

  config: ml_collections.ConfigDict
  module: Any
  variables: Mapping[str, Any]
  meta: Mapping[str, Any]
  _predict: Any = dataclasses.field(repr=False)

  def predict(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Predictions for a batch with the fields the network needs (`rgb` or `spike`, [B, H, W, ...]).

    Returns:
      {"depth": float32[B, h, w] metres, "uncertainty": float32[B, h, w], ...} at the network's
      resolution.
    """
    return jax.device_get(self._predict(self.variables, dict(batch)))


def load(path, which: str = "best") -> Trained:
  """Restores a checkpoint.

  Args:
    path: a run's folder, or the folder of one checkpoint in it.
    which: "best" or "last", where `path` is a run's folder.

  Raises:
    errors.UserError: nothing there, not a whole checkpoint of this package, or one of a part of a
      network.
  """
  folder = checkpoints.find(path, which)
  variables, meta = checkpoints.restore_variables(folder)
  if meta.get("part", "params") != "params":
    raise errors.UserError(
      f"{folder} holds {meta['part'].removeprefix('params/')} alone, which a stage can start "
      "from with --config.init_from"
    )
  config = ml_collections.ConfigDict(meta["config"])
  try:
    recipe = recipes.create(config)
  except AttributeError as error:  # a ConfigDict says so which field it lacks
    raise errors.UserError(
      f"{folder} is of bicross_jax {meta['versions']['bicross_jax']} or older; its config does not "
      f"fit this version ({error})"
    ) from error
  return Trained(config, recipe.module, variables, meta, jax.jit(recipe.predict))
