"""Every stage of EPCDepth: a network learns depth from rectified stereo pairs, without a label."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bicross_jax.losses import photometric
from bicross_jax.ops import graft, inputs, jitter, warp
from bicross_jax.recipes.epcdepth import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

NOISE = 1e-5  # deviation of what breaks ties of the image as it is
MISSING = 1e3  # error of a hint that is not there


def create(config) -> train_state.Recipe:
  """The recipe of a config of EPCDepth (docs/systems/epcdepth.md).

  The network of `config.model` sees `rgb`; the loss compares it with `rgb_right`, warped by the depth that
  it says. Batch fields: both, `baseline`, with `rig.focal` 0 `intrinsics`, with hints `depth_hint`.
  """
  module = common.network(config)
  transform = optim.single(config.optim, config.train.steps)

  def init(key, parents):
    del parents
    variables = common.initialise(config, module, key)
    return train_state.TrainState(
      step=jnp.zeros((), jnp.int32),
      params=variables["params"],
      batch_stats=variables["batch_stats"],
      opt_state=transform.init(variables["params"]),
    )

  def train_step(state, batch, key):
    keys = jax.random.split(key, 3)
    batch = augmented(config, keys[0], batch)
    seen = common.image(batch["rgb"])
    if config.augment.jitter:
      seen = jitter.jitter(keys[1], seen, share=config.augment.jitter)

    def loss_fn(params):
      variables = {"params": params, "batch_stats": state.batch_stats}
      output, updates = module.apply(variables, seen, train=True, mutable=["batch_stats"])
      parts = losses(config, output.maps, batch, keys[2])
      return sum(parts.values()), (parts, updates["batch_stats"])

    params, opt_state, metrics, stats = optim.step(
      transform, loss_fn, state.params, state.opt_state
    )
    return state.replace(
      step=state.step + 1,
      params=params,
      opt_state=opt_state,
      batch_stats=jax.lax.pmean(stats, AXIS),
    ), metrics

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module),
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    inputs=("rgb",),
    batch_spec=lambda: batch_spec(config),
    networks={config.model.name: module},
    metric=("abs_rel", "min"),
    inspect=common.predictor(config, module, feature=True),
    camera=train_state.Camera(focal=config.rig.focal, baseline=config.rig.baseline, whole=True),
    fixed=True,
  )


def losses(config, maps, batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
  """The parts of the loss, float32[] each, pooled over the devices; the loss is their sum.

  Args:
    config: its sections `loss` and `rig`.
    maps: of the network, all of them.
    batch: a stereo pair as `create` says.
    key: of the noise.
  """
  loss, unit = config.loss, config.rig.unit
  target, partner = common.image(batch["rgb"]), common.image(batch["rgb_right"])
  moments = photometric.moments(target)
  per_metre = common.pixels(config, batch, target.shape[2])[:, None, None]

  def error(inverse):  # of a depth, its reciprocal in 1 / metres
    return photometric.reprojection(warp.warp_by_disparity(partner, per_metre * inverse), moments)

  maps = common.frames(maps, target.shape[1:3])
  inverse = common.scaled(config, maps) / unit
  errors = jax.vmap(error)(inverse)
  identity = hint_error = None
  if loss.automask:
    still = photometric.reprojection(partner, moments)
    identity = still[None] + NOISE * jax.random.normal(key, errors.shape)
  if loss.hints:
    hint = batch["depth_hint"]
    known = hint > 0
    hint_error = error(jnp.where(known, 1 / jnp.where(known, hint, 1), 0)) + MISSING * ~known
  best = photometric.winners(errors, identity, hint_error)
  parts = {"photometric_loss": photometric.masked(errors, best.counts, AXIS)}
  if loss.hints:
    apart = photometric.towards(1 / (unit * inverse), hint / unit)
    parts["hint_loss"] = photometric.masked(apart, best.hint, AXIS)
  if loss.distillation:
    parts["distillation_loss"] = loss.distillation * photometric.distillation(
      maps, errors, groups(len(maps)), AXIS
    )
  if loss.smoothness:
    weights = [loss.smoothness / 2**k for k in levels(len(maps), loss.smoothness_by)]
    parts["smoothness_loss"] = photometric.smoothness(maps, target, weights, AXIS)
  return parts


def groups(count: int) -> list[slice]:
  """Which of so many maps learn from each other: those of the decoder, and those of the encoder."""
  cuts = [0, min(common.DECODED, count), count]
  return [slice(a, b) for a, b in zip(cuts, cuts[1:]) if a < b]


def levels(count: int, by: str) -> list[int]:
  """How often the image was halved for each map, or with "index" the map's number (as published)."""
  return list(range(count)) if by == "index" else [min(k, 2 * DEEPEST - k) for k in range(count)]


DEEPEST = 5  # number, and level, of the coarsest of ten maps


def augmented(config, key: jax.Array, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """The batch, mirrored and grafted as `config.augment` says."""
  keys, batch = jax.random.split(key), dict(batch)
  group = batch["baseline"] > 0
  if config.augment.flip:
    batch = inputs.random_flip(keys[0], batch, share=config.augment.flip)
  if config.augment.graft != "none":
    if config.augment.graft == "sign":
      group = batch["baseline"] > 0
    names = [name for name in batch if name in ("rgb", "rgb_right", "depth_hint")]
    batch |= graft.graft(keys[1], {name: batch[name] for name in names}, group)
  return batch


def batch_spec(config) -> dict[str, jax.ShapeDtypeStruct]:
  """The fields of a training batch, shapes and dtypes of one example."""
  size = (config.data.height, config.data.width)
  picture = jax.ShapeDtypeStruct((*size, 3), jnp.uint8)
  spec = {"rgb": picture, "rgb_right": picture, "baseline": jax.ShapeDtypeStruct((), jnp.float32)}
  if not config.rig.focal:
    spec["intrinsics"] = jax.ShapeDtypeStruct((3, 3), jnp.float32)
  if config.loss.hints:
    spec["depth_hint"] = jax.ShapeDtypeStruct(size, jnp.float32)
  return spec
