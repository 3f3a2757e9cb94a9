"""Stage `translation`: two generators learn to give pictures the style of the other domain, by a depth network beside them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bicross_jax import models
from bicross_jax.losses import adversarial, edge_aware, pooled
from bicross_jax.models import transfer
from bicross_jax.ops import collective, image_pool
from bicross_jax.recipes.domain_invariant import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS, Camera

DISCRIMINATORS = ("target", "source")


def create(config) -> train_state.Recipe:
  """The recipe of style transfer (docs/systems/domain_invariant.md, Stages).

  Params are {"task", "generators": {"to_target", "to_source"}, "discriminators": {"target", "source"}}. All but the
  discriminators are published; the depth network may start from the parent `weights`, whole or in part.
  Each device keeps a pool of translated pictures for either discriminator.
  Batches: {"source": {rgb, depth}, "target": {rgb}}.
  """
  module, generators = common.network(config), common.translators(config)
  critic = models.create("patch_discriminator", axis_name=AXIS, **config.discriminator)
  learners = optim.apart(
    {
      "task": common.task_optimiser(config),
      "generators": common.gan_optimiser(config, "generators"),
    }
  )
  judges = common.gan_optimiser(config, "discriminators")

  def init(key, parents):
    fresh = lambda i, net: common.initialise(config, net, jax.random.fold_in(key, i))
    task = fresh(0, module)
    if "weights" in parents:
      task, _ = transfer.adopt(task, common.task_of(parents["weights"]))
    made = {
      "task": task,
      "generators": {name: fresh(i, net) for i, (name, net) in enumerate(generators.items(), 1)},
      "discriminators": {name: fresh(i, critic) for i, name in enumerate(DISCRIMINATORS, 3)},
    }
    pick = lambda kind: {
      name: tree[kind] if kind in tree else {n: v[kind] for n, v in tree.items()}
      for name, tree in made.items()
    }
    params, devices = pick("params"), jax.local_device_count()
    shape = (config.translate.pool, config.data.height, config.data.width, 3)
    pool = image_pool.Pool(jnp.zeros((devices, *shape)), jnp.zeros(devices, jnp.int32))
    return train_state.TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      batch_stats=pick("batch_stats"),
      opt_state={
        "learners": learners.init({name: params[name] for name in ("task", "generators")}),
        "judges": judges.init(params["discriminators"]),
      },
      local={name: pool._asdict() for name in DISCRIMINATORS},
    )

  def train_step(state, batch, key):
    keys = jax.random.split(key, 5)
    source, target = (
      common.augmented(config, k, batch[name]) for k, name in zip(keys, ("source", "target"))
    )
    scene = Scene(common.picture(source), common.picture(target), source["depth"])
    params, opt_state = dict(state.params), dict(state.opt_state)

    def loss_fn(learning):
      apply = Networks(
        module, generators, critic, {**params, **learning}, state.batch_stats, keys[2]
      )
      parts, fakes = losses(config, apply, scene)
      return sum(parts.values()), (parts, (apply.stats, fakes))

    learning = {name: params[name] for name in ("task", "generators")}
    learning, opt_state["learners"], metrics, (stats, fakes) = optim.step(
      learners, loss_fn, learning, opt_state["learners"]
    )
    shown, local = {}, {}
    for k, name in zip(keys[3:], DISCRIMINATORS):
      pool = image_pool.Pool(**state.local[name])
      shown[name], pool = image_pool.exchange(k, pool, fakes[name])
      local[name] = pool._asdict()
    real = {"target": scene.target, "source": scene.source}

    def judge(judging):
      apply = Networks(module, generators, critic, {"discriminators": judging}, stats, keys[2])
      loss = sum(
        adversarial.tell_apart(
          *apply.score(name, real[name], shown[name], keep=(True, True)), axis_name=AXIS
        )
        for name in DISCRIMINATORS
      )
      return loss, ({}, apply.stats)

    params["discriminators"], opt_state["judges"], more, stats = optim.step(
      judges, judge, params["discriminators"], opt_state["judges"], prefix="discriminator/"
    )
    return state.replace(
      step=state.step + 1,
      params=params | learning,
      opt_state=opt_state,
      batch_stats=collective.mean(stats, AXIS),
      local=local,
    ), metrics | more

  def variables(state):
    flat = lambda tree: {common.TASK: tree["task"], **tree["generators"]}
    return {"params": flat(state.params), "batch_stats": flat(state.batch_stats)}

  shown = common.predictor(config, module, feature=True)

  def inspect(variables, batch, carry=()):
    """Also the picture through either generator, float32[B, H, W, 3] in 0..1: one of them has seen its like."""
    out, carry = shown(variables, batch, carry)
    x = common.picture(batch)
    made = {
      f"as_{name.removeprefix('to_')}": net.apply(common.part(variables, name), x).image / 2 + 0.5
      for name, net in generators.items()
    }
    return out | made, carry

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module),
    variables=variables,
    inputs=("rgb",),
    batch_spec=lambda: common.pair_spec(config, "rgb", "depth"),
    networks={common.TASK: module, **generators},
    metric=("abs_rel", "last"),
    inspect=inspect,
    camera=Camera(whole=True),
    fixed=True,
  )


class Scene(NamedTuple):
  """What a step sees: pictures float32[B, H, W, 3] in -1..1, and the source's depth float32[B, H, W] in metres."""

  source: jax.Array
  target: jax.Array
  depth: jax.Array


class Networks:
  """The networks of the stage in training; running statistics go on from pass to pass.

  A pass has several pictures, each normalised by its own statistics, which cost one copy of the network in the
  compiled step. `keep`: for each of them, whether the running statistics go on with it.

  Attributes:
    stats: batch statistics, as in the state, after the passes so far.
  """

  def __init__(self, module, generators, critic, params: Mapping, stats: Mapping, key: jax.Array):
    """Takes the modules, their params and statistics as in the state, and the key of drop-connect."""
    self._modules = {"task": module, **generators}
    self._critic, self._params, self._key = critic, params, key
    self.stats = {name: dict(tree) for name, tree in stats.items()}

  def translate(self, name: str, *pictures: jax.Array, keep: Sequence[bool]) -> list[jax.Array]:
    """Pictures through a generator."""
    net, stats = self._modules[name], self.stats["generators"]
    output, stats[name] = _train(net, self._params["generators"][name], stats[name], pictures, keep)
    return common.apart(output.image, pictures)

  def depth(self, *pictures: jax.Array, keep: Sequence[bool]) -> list[jax.Array]:
    """What the depth network says; other blocks drop out for every example."""
    output, self.stats["task"] = _train(
      self._modules["task"],
      self._params["task"],
      self.stats["task"],
      pictures,
      keep,
      rngs={"drop_connect": self._key},
    )
    return common.apart(output.depth, pictures)

  def score(self, name: str, *pictures: jax.Array, keep: Sequence[bool]) -> list[jax.Array]:
    """What a discriminator says."""
    stats = self.stats["discriminators"]
    output, stats[name] = _train(
      self._critic, self._params["discriminators"][name], stats[name], pictures, keep
    )
    return common.apart(output.score, pictures)


def _train(net, params, stats, pictures, keep, rngs=None):
  """(output, statistics) of one pass in training."""
  output, updates = net.apply(
    {"params": params, "batch_stats": stats},
    jnp.concatenate(pictures),
    train=True,
    views=tuple(keep),
    mutable=["batch_stats"],
    rngs=rngs,
  )
  return output, updates["batch_stats"]


def losses(config, apply: Networks, scene: Scene):
  """The eleven losses of generators and depth network, weighted; each reaches the networks that the paper's table says.

  Args:
    config: its sections `loss` and `translate`.
    apply: the networks.
    scene: of the step.

  Returns:
    ({name: float32[]}, {"target", "source"}: translated pictures, without a gradient).
  """
  weights, loss = config.translate, config.loss
  absolute = lambda a, b: pooled.mean(jnp.abs(a - b), AXIS)
  smooth = lambda depth, image: loss.smooth * edge_aware.smoothness(depth, image, AXIS)
  # Norms see one domain at a time; what they remember is of their own input, or of what was made of it.
  as_target, same_target = apply.translate(
    "to_target", scene.source, scene.target, keep=(True, False)
  )
  as_source, same_source = apply.translate(
    "to_source", scene.target, scene.source, keep=(True, False)
  )
  (back_at_source,) = apply.translate("to_source", as_target, keep=(True,))
  (back_at_target,) = apply.translate("to_target", as_source, keep=(True,))
  # The last is the third again: the generator learns by consistency alone.
  of_translated, of_target, of_styled, of_source, of_styled_only = apply.depth(
    as_target,
    scene.target,
    as_source,
    scene.source,
    jax.lax.stop_gradient(as_source),
    keep=(True, True, True, True, False),
  )

  def fool(name, x):
    (score,) = apply.score(name, x, keep=(False,))
    return weights.adversarial * adversarial.fool(score, axis_name=AXIS)

  parts = {
    "g_target": fool("target", as_target),
    "identity_target": weights.identity * absolute(same_target, scene.target),
    "cycle_source": weights.cycle * absolute(back_at_source, scene.source),
    "task_translated": common.supervision(config, of_translated, scene.depth),
    "smooth_target": smooth(of_target, scene.target),
    "g_source": fool("source", as_source),
    "identity_source": weights.identity * absolute(same_source, scene.source),
    "cycle_target": weights.cycle * absolute(back_at_target, scene.target),
    "smooth_translated": smooth(of_styled_only, jax.lax.stop_gradient(as_source)),
    "task_source": common.supervision(config, of_source, scene.depth),
    "consistency": loss.consistency * absolute(of_styled, of_target),
  }
  return parts, jax.lax.stop_gradient({"target": as_target, "source": as_source})
