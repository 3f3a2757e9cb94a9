"""Stages `teacher` and `supervised`: a network learns classes from labelled frames, or event images."""

from collections.abc import Mapping

import jax

from bicross_jax.models import transfer
from bicross_jax.recipes.evdistill import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state


def create(config) -> train_state.Recipe:
  """The recipe of a network that sees `config.input.modality` (docs/systems/evdistill.md).

  It may start from the parent `weights`, whole or in part (a backbone). Batch fields: `rgb` or
  `event_image`, and `label`.
  """
  module, modality = common.network(config), config.input.modality
  transform = common.optimiser(config.optim, config.train.steps)

  def init(key, parents: Mapping[str, train_state.Variables]):
    variables = common.initialise(config, module, key)
    if "weights" in parents:
      variables, _ = transfer.adopt(variables, parents["weights"])
    return optim.begin(transform, variables)

  def train_step(state, batch, key):
    keys = jax.random.split(key)
    batch = common.augmented(config, keys[0], batch)
    x = common.picture(config, batch, modality)

    def loss_fn(params):
      variables = {"params": params, "batch_stats": state.batch_stats}
      output, stats = common.learn(config, module, variables, x, keys[1])
      loss = common.supervision(config, output, batch["label"])
      return loss, ({}, stats)

    return optim.take_step(transform, loss_fn, state)

  field = common.FIELDS[modality]
  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module, modality),
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    inputs=(field,),
    batch_spec=lambda: train_state.example(config.data, field, "label"),
    networks={config.model.name: module},
    metric=("miou", "max"),
    inspect=common.predictor(config, module, modality, feature=True),
  )
