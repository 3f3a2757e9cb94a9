"""Stage `source`: the depth network learns from labelled pictures of one domain."""

import jax

from bicross_jax.models import transfer
from bicross_jax.recipes.domain_invariant import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import Camera


def create(config) -> train_state.Recipe:
  """The recipe of a network without adaptation: the row to compare with (docs/systems/domain_invariant.md).

  It may start from the parent `weights`, whole or in part (an encoder). Batch fields: `rgb`, `depth`.
  """
  module = common.network(config)
  transform = common.task_optimiser(config)

  def init(key, parents):
    variables = common.initialise(config, module, key)
    if "weights" in parents:
      variables, _ = transfer.adopt(variables, parents["weights"])
    return optim.begin(transform, variables)

  def train_step(state, batch, key):
    keys = jax.random.split(key)
    batch = common.augmented(config, keys[0], batch)

    def loss_fn(params):
      output, updates = module.apply(
        {"params": params, "batch_stats": state.batch_stats},
        common.picture(batch),
        train=True,
        mutable=["batch_stats"],
        rngs={"drop_connect": keys[1]},
      )
      loss = common.supervision(config, output.depth, batch["depth"])
      return loss, ({}, updates["batch_stats"])

    return optim.take_step(transform, loss_fn, state)

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module),
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    inputs=("rgb",),
    batch_spec=lambda: train_state.example(config.data, "rgb", "depth"),
    networks={common.TASK: module},
    metric=("abs_rel", "min"),
    inspect=common.predictor(config, module, feature=True),
    camera=Camera(whole=True),
    fixed=True,
  )
