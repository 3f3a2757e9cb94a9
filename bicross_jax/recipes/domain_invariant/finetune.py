"""Stage `finetune`: the depth network of `ssrl` learns depth from source pictures and their translations."""

import jax
import jax.numpy as jnp

from bicross_jax import errors
from bicross_jax.losses import edge_aware, pooled
from bicross_jax.recipes.domain_invariant import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS, Camera


def create(config) -> train_state.Recipe:
  """The recipe of the last stage (docs/systems/domain_invariant.md, Stages).

  The network is that of the parent `task`, a stage that has one; the generators of the parent `generators` are frozen.
  `freeze_bn`: "always" (norms keep scale, bias and running statistics), "until_first_validation" (scale
  and bias are kept, but from step `train.validate_every` on norms take the batch's statistics, as published) or "never".
  Batches: {"source": {rgb, depth}, "target": {rgb}}.
  """
  module, generators = common.network(config), common.translators(config)
  transform = common.task_optimiser(config)

  def init(key, parents):
    del key
    task = common.task_of(common.parent(config, parents, "task"))
    if set(task["params"]) != {"encoder", "decoder"}:
      raise errors.UserError(f"parents.task has no network {common.TASK}")
    frozen = common.parent(config, parents, "generators", *common.GENERATORS)
    return optim.begin(
      transform, task, frozen={name: common.part(frozen, name) for name in common.GENERATORS}
    )

  def train_step(state, batch, key):
    keys = jax.random.split(key, 3)
    source, target = (
      common.augmented(config, k, batch[name]) for k, name in zip(keys, ("source", "target"))
    )
    views = [common.picture(source), common.picture(target)]
    views += [
      generators[name].apply(state.frozen[name], x).image
      for name, x in zip(common.GENERATORS, views)
    ]

    def look(params, train):
      """(depth of source, target, translated source and translated target, statistics)."""
      output, updates = module.apply(
        {"params": params, "batch_stats": state.batch_stats},
        jnp.concatenate(views),
        train=train,
        drop_connect=True,
        views=(True,) * len(views),
        mutable=["batch_stats"],
        rngs={"drop_connect": keys[2]},
      )
      return common.apart(output.depth, views), {**state.batch_stats, **updates["batch_stats"]}

    def loss_fn(params):
      if config.freeze_bn != "never":
        params = jax.tree_util.tree_map_with_path(_keep_norms, params)
      if config.freeze_bn == "until_first_validation":
        passes = [lambda p, train=train: look(p, train) for train in (True, False)]
        said, stats = jax.lax.cond(state.step >= config.train.validate_every, *passes, params)
      else:
        said, stats = look(params, config.freeze_bn == "never")
      parts = losses(config, said, views, source["depth"])
      return sum(parts.values()), (parts, stats)

    return optim.take_step(transform, loss_fn, state)

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module),
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    inputs=("rgb",),
    batch_spec=lambda: common.pair_spec(config, "rgb", "depth"),
    networks={common.TASK: module},
    metric=("abs_rel", "min" if config.validate[0] == "target" else "last"),
    inspect=common.predictor(config, module, feature=True),
    camera=Camera(whole=True),
    fixed=True,
  )


def losses(config, said, views, depth: jax.Array) -> dict[str, jax.Array]:
  """The parts of the loss, float32[] each; the loss is their sum.

  Args:
    config: its section `loss`.
    said: what the network says of source, target, translated source and translated target, float32[B, H, W] each.
    views: these pictures, float32[B, H, W, 3] in -1..1.
    depth: float32[B, H, W], metres, of the source.
  """
  of_source, of_target, of_translated, of_styled = said
  loss = config.loss
  smooth = lambda d, i: loss.smooth * edge_aware.smoothness(d, views[i], AXIS)
  return {
    "task_translated": common.supervision(config, of_translated, depth),
    "task_source": common.supervision(config, of_source, depth),
    "smooth_target": smooth(of_target, 1),
    "smooth_translated": smooth(of_styled, 3),
    "consistency": loss.consistency * pooled.mean(jnp.abs(of_styled - of_target), AXIS),
  }


def _keep_norms(path, x):
  """Scale and bias of a norm without a gradient."""
  name = jax.tree_util.keystr(path, simple=True, separator="/")
  return jax.lax.stop_gradient(x) if "norm" in name else x
