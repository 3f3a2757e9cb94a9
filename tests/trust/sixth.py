"""A sixth system, whole: mean depth from how often pixels spike. A config and a recipe, no more."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.config import grammar, sections
from bicross_jax.ops import spikes
from bicross_jax.train import optim
from bicross_jax.train import state as train_state

STAGES, SCENARIOS = ("rates",), ("smoke",)


def get_config(arg=""):
  config, data = sections.base("sixth", "depth"), sections.world()
  config.stage, config.scenario, overrides = grammar.split_arg(arg, STAGES, SCENARIOS)
  data.update(height=32, width=64, train=8, validation=3, test=3, batch_size=4)
  evals = dict(source=sections.evaluation("depth", crop="none"))
  config.update(dict(recipe="tests.trust.sixth:create", rate=0.03, data=data, evals=evals))
  config.train.update(steps="20", log_every="1", validate_every="10", checkpoint_every="10")
  for item in overrides:
    grammar.override(config, item)
  return config


def create(config):
  module = nn.Sequential([nn.Conv(8, (5, 5)), nn.relu, nn.Conv(1, (5, 5))])
  adam = optim.adam([optim.Group(config.rate)])
  size, steps = (config.data.height, config.data.width), config.data.steps

  def predict(variables, batch, carry=()):
    rate = spikes.bin_counts(batch["spike"], 1) / steps
    return {"depth": jnp.exp(module.apply({"params": variables["params"]}, rate)[..., 0])}, carry

  def init(key, parents):
    params = module.init(key, jnp.zeros((1, *size, 1)))["params"]
    return train_state.TrainState(jnp.zeros((), jnp.int32), params, {}, adam.init(params))

  def train_step(state, batch, key):
    def loss(params):
      depth, known = predict({"params": params}, batch, ())[0]["depth"], batch["depth"] > 0
      error = jnp.abs(jnp.log(depth / jnp.where(known, batch["depth"], 1)))
      return jnp.where(known, error, 0).mean(), ({}, ())

    params, opt_state, metrics, _ = optim.step(adam, loss, state.params, state.opt_state)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), metrics

  shapes = {"spike": ((*size, steps // 8), jnp.uint8), "depth": (size, jnp.float32)}
  return train_state.Recipe(
    init,
    train_step,
    predict,
    variables=lambda state: {"params": state.params, "batch_stats": {}},
    inputs=("spike",),
    batch_spec=lambda: {name: jax.ShapeDtypeStruct(*spec) for name, spec in shapes.items()},
    networks={"network": module},
    metric=("abs_rel", "min"),
  )
