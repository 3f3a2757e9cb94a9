"""Stage `pretrain`: one network learns depth and its own uncertainty from labels."""

from collections.abc import Callable
import functools

import jax

from bicross_jax import models
from bicross_jax.models import transfer
from bicross_jax.ops import augment
from bicross_jax.recipes.bicross import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

Augment = Callable[[jax.Array, jax.Array], jax.Array]


def create(config) -> train_state.Recipe:
  """The recipe of a config of stage `pretrain` (docs/systems/bicross.md).

  The network of `config.model` sees RGB or spikes, as `config.input.modality` says, and trains on
  depth + uncertainty loss. Batch fields: that modality and `depth`. It may start from the parent
  `weights`, whole or in part (a backbone).

  RGB frames are augmented with the strength `config.photometric` (0: not), which is not in the
  paper, whose RGB network comes from large and varied sets instead.
  """
  photometric = None
  if config.photometric and config.input.modality == "rgb":
    photometric = functools.partial(augment.photometric, strength=config.photometric)
  networks = {config.model.name: common.network(config)}
  return supervised(config, networks, common.channels(config), photometric)


def supervised(
  config, networks, channels: int, augmentation: Augment | None = None
) -> train_state.Recipe:
  """The recipe of a network that learns from labels alone.

  Args:
    config: as for `create`.
    networks: {name: module} of one network, float32[B, h, w, C] of `common.network_input` ->
      DPTOutput; its batch norms, if any, pool over `AXIS`.
    channels: of the input that it is initialised with.
    augmentation: (key, input) -> input of the same shape, in training alone; None: none.
  """
  (module,) = networks.values()
  transform = common.optimiser(config)

  def init(key, parents):
    shape = (1, config.input.height, config.input.width, channels)
    variables = models.init(module, key, shape)
    if "weights" in parents:
      variables, _ = transfer.adopt(variables, parents["weights"])
    return optim.begin(transform, variables)

  def train_step(state, batch, key):
    batch = common.maybe_flip(config, key, batch)
    x = common.network_input(config, batch)
    x = augmentation(jax.random.fold_in(key, 1), x) if augmentation else x

    def loss_fn(params):
      output, updates = module.apply(
        {"params": params, "batch_stats": state.batch_stats}, x, train=True, mutable=["batch_stats"]
      )
      total, parts = common.supervised_loss(config, output, batch["depth"], AXIS)
      return total, (parts, updates.get("batch_stats", {}))

    return optim.take_step(transform, loss_fn, state)

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module),
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    inputs=(config.input.modality,),
    batch_spec=lambda: train_state.example(config.data, config.input.modality, "depth"),
    networks=networks,
    metric=("abs_rel", "min"),
    on_validation=common.on_validation(config),
    inspect=common.inspector(config, module),
    camera=common.camera(config),
  )
