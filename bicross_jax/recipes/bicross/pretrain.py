"""Stage `pretrain`: one network learns depth and its own uncertainty from labels."""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp

from bicross_jax import models
from bicross_jax.models import transfer
from bicross_jax.ops import augment
from bicross_jax.recipes.bicross import common
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

Change = Callable[[jax.Array, jax.Array], jax.Array]


def create(config) -> train_state.Recipe:
  """The recipe of a config of stage `pretrain` (bicross.md section 3).

  The network of `config.model` sees RGB or spikes, as `config.input.modality` says, and trains on
  depth + uncertainty loss. Batch fields: that modality and `depth`.

  RGB frames are augmented with the strength `config.photometric` (0: not), which is not in the
  paper, whose RGB network comes from large and varied sets instead.
  """
  change = None
  if config.photometric and config.input.modality == "rgb":
    change = functools.partial(augment.photometric, strength=config.photometric)
  return supervised(config, common.network(config), common.channels(config), change)


def supervised(config, module, channels: int, change: Change | None = None) -> train_state.Recipe:
  """The recipe of a network that learns from labels alone.

  Args:
    config: as for `create`.
    module: float32[B, h, w, C] of `common.network_input` -> DPTOutput; its batch norms, if any,
      pool over `AXIS`.
    channels: of the input that the module is initialised with.
    change: (key, input) -> input of the same shape, in training alone; None: none.
  """
  transform = common.optimiser(config)

  def init(key, initial=None):
    shape = (1, config.input.height, config.input.width, channels)
    variables = models.init(module, key, shape)
    if initial is not None and initial.init_from is not None:
      variables, _ = transfer.adopt(variables, initial.init_from)
    return train_state.TrainState(
      step=jnp.zeros((), jnp.int32),
      params=variables["params"],
      batch_stats=variables.get("batch_stats", {}),
      opt_state=transform.init(variables["params"]),
    )

  def train_step(state, batch, key):
    batch = common.maybe_flip(config, key, batch)
    x = common.network_input(config, batch)
    x = change(jax.random.fold_in(key, 1), x) if change else x

    def loss_fn(params):
      output, updates = module.apply(
        {"params": params, "batch_stats": state.batch_stats}, x, train=True, mutable=["batch_stats"]
      )
      total, parts = common.supervised_loss(config, output, batch["depth"], AXIS)
      return total, (parts, updates.get("batch_stats", {}))

    return common.descend(transform, loss_fn, state)

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module),
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    on_validation=common.on_validation(config),
    metric=("abs_rel", "min"),
    batch_spec=lambda: common.field_spec(config, (config.input.modality, "depth")),
    module=module,
  )
