"""A sixth system, whole: mean depth from how often pixels spike. A config and a recipe, no more."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import optax

from bicross_jax.config import grammar
from bicross_jax.ops import spikes
from bicross_jax.train import state as train_state


def get_config(arg=""):
  stage, scenario, overrides = grammar.split_arg(arg, ("rates",), ("synthetic",))
  config = ml_collections.ConfigDict(
    dict(
      system="sixth",
      stage=stage,
      scenario=scenario,
      recipe="tests.trust.sixth:create",
      seed=0,
      rate=0.03,
      data=dict(
        name="spike_world",
        domain="clear",
        data_dir="",
        height=32,
        width=64,
        steps=128,
        train=8,
        validation=3,
        test=3,
        limit=0,
        labelled=0,
        batch_size=4,
      ),
      train=dict(steps="20", log_every="1", validate_every="10", checkpoint_every="10"),
      eval=dict(min_depth=1e-3, max_depth=80.0, crop="none"),
    )
  )
  for item in overrides:
    grammar.override(config, item)
  return config


def create(config):
  module = nn.Sequential([nn.Conv(8, (5, 5)), nn.relu, nn.Conv(1, (5, 5))])
  adam = optax.adam(config.rate)
  size, steps = (config.data.height, config.data.width), config.data.steps

  def predict(variables, batch):
    rate = spikes.bin_counts(batch["spike"], 1) / steps
    return {"depth": jnp.exp(module.apply({"params": variables["params"]}, rate)[..., 0])}

  def init(key, initial=None):
    params = module.init(key, jnp.zeros((1, *size, 1)))["params"]
    return train_state.TrainState(jnp.zeros((), jnp.int32), params, {}, adam.init(params))

  def train_step(state, batch, key):
    def loss(params):
      known = batch["depth"] > 0
      error = jnp.log(
        predict({"params": params}, batch)["depth"] / jnp.where(known, batch["depth"], 1)
      )
      return jnp.where(known, jnp.abs(error), 0).mean()

    value, grads = jax.lax.pmean(jax.value_and_grad(loss)(state.params), train_state.AXIS)
    updates, opt_state = adam.update(grads, state.opt_state)
    params = optax.apply_updates(state.params, updates)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), {
      "loss": (value, 1)
    }

  shapes = {"spike": ((*size, steps // 8), jnp.uint8), "depth": (size, jnp.float32)}
  return train_state.Recipe(
    init,
    train_step,
    predict,
    lambda state: {"params": state.params, "batch_stats": {}},
    lambda state, metrics: state,
    ("abs_rel", "min"),
    lambda: {name: jax.ShapeDtypeStruct(*spec) for name, spec in shapes.items()},
    module,
  )
