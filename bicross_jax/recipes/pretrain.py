"""Stage `pretrain`: one network learns depth and its own uncertainty from labels."""

import jax
import jax.numpy as jnp
import optax

from bicross_jax.recipes import depth
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS


def create(config) -> train_state.Recipe:
  """The recipe of a config of stage `pretrain` (bicross.md section 3).

  The network of `config.model` sees RGB or spikes, as `config.input.modality` says, and trains on
  depth + uncertainty loss. Batch fields: that modality and `depth`.
  """
  module = depth.network(config)
  transform = depth.optimiser(config)

  def init(key, initial=None):
    if initial is not None and initial.init_from is not None:
      params = initial.init_from["params"]
    else:
      params = depth.initialise(config, module, key)["params"]
    return train_state.TrainState(
        step=jnp.zeros((), jnp.int32), params=params, batch_stats={},
        opt_state=transform.init(params))

  def train_step(state, batch, key):
    batch = depth.maybe_flip(config, key, batch)

    def loss_fn(params):
      output = module.apply({"params": params}, depth.network_input(config, batch), train=True)
      return depth.supervised_loss(config, output, batch["depth"], AXIS)

    (loss, parts), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    grads = jax.lax.pmean(grads, AXIS)
    norm = optax.tree.norm(grads)
    state = depth.apply_gradients(transform, state, grads)
    return state, depth.means({"loss": loss, **parts, "grad_norm": norm})

  return train_state.Recipe(
      init=init,
      train_step=train_step,
      predict=depth.predictor(config, module),
      variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
      on_validation=depth.on_validation(config),
      metric=("abs_rel", "min"),
      batch_spec=lambda: depth.field_spec(config, (config.input.modality, "depth")),
      module=module,
  )
