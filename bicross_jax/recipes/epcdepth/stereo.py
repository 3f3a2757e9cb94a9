"""Every stage of EPCDepth: a network learns depth from rectified stereo pairs, without a label."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bicross_jax.losses import photometric
from bicross_jax.models import transfer
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
  it says. It may start from the parent `weights`, whole or in part (an encoder). Batch fields: both, `baseline`, with `rig.focal` 0 or hints `intrinsics`, with hints `depth_hint`.
  """
  module = common.network(config)
  transform = optim.single(config.optim, config.train.steps)

  def init(key, parents):
    variables = common.initialise(config, module, key)
    if "weights" in parents:
      variables, _ = transfer.adopt(variables, parents["weights"])
    return optim.begin(transform, variables)

  def train_step(state, batch, key):
    keys = jax.random.split(key, 3)
    if config.loss.hints:  # before rows of examples are mixed, whose rigs may differ
      hints = common.hints(config, batch, batch["rgb"].shape[2])
      batch = {**batch, "depth_hint": hints}
    batch = augmented(config, keys[0], batch)
    seen = common.image(batch["rgb"])
    if config.augment.jitter:
      seen = jitter.jitter(keys[1], seen, share=config.augment.jitter)

    def loss_fn(params):
      variables = {"params": params, "batch_stats": state.batch_stats}
      output, updates = module.apply(variables, seen, train=True, mutable=["batch_stats"])
      parts = losses(config, output.maps, batch, keys[2])
      return sum(parts.values()), (parts, updates["batch_stats"])

    return optim.take_step(transform, loss_fn, state)

  by_depth = config.judge == "depth"
  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module),
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    inputs=("rgb",),
    batch_spec=lambda: batch_spec(config),
    networks={config.model.name: module},
    metric=("abs_rel" if by_depth else "photometric", "min"),
    score=None if by_depth else lambda variables, batch: score(config, module, variables, batch),
    inspect=common.predictor(config, module, feature=True),
    camera=train_state.Camera(focal=config.rig.focal, baseline=config.rig.baseline, whole=True),
    fixed=True,
  )


class Pair:
  """A batch of stereo pairs, by which depths of the target view are judged.

  Attributes:
    target: moments of the target images.
    partner: float32[B, H, W, 3] in 0..1.
    per_metre: float32[B], pixels of disparity for every metre of 1 / depth.
  """

  def __init__(self, config, batch: Mapping[str, jax.Array]):
    """Takes `rgb`, `rgb_right` and what `common.pixels` needs from a batch."""
    self.target = photometric.moments(common.image(batch["rgb"]))
    self.partner = common.image(batch["rgb_right"])
    self.per_metre = common.pixels(config, batch, self.partner.shape[2])

  def error(self, inverse: jax.Array) -> jax.Array:
    """The reprojection error of 1 / depth, float32[B, H, W] in 1 / metres: float32[B, H, W]."""
    disparity = self.per_metre[:, None, None] * inverse
    warped = warp.warp_by_disparity(self.partner, disparity)
    return photometric.reprojection(warped, self.target)


def losses(config, maps, batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
  """The parts of the loss, float32[] each, pooled over the devices; the loss is their sum.

  Args:
    config: its sections `loss` and `rig`.
    maps: of the network, all of them.
    batch: a stereo pair as `create` says; `depth_hint` as `common.hints` gives it.
    key: of the noise.
  """
  loss, unit, pair = config.loss, config.rig.unit, Pair(config, batch)
  maps = common.frames(maps, pair.partner.shape[1:3])
  inverse = common.scaled(config, maps) / unit
  errors = jax.vmap(pair.error)(inverse)
  identity = hint_error = None
  if loss.automask:
    still = photometric.reprojection(pair.partner, pair.target)
    identity = still[None] + NOISE * jax.random.normal(key, errors.shape)
  if loss.hints:
    hint = batch["depth_hint"]
    known = hint > 0
    hint_error = pair.error(jnp.where(known, 1 / jnp.where(known, hint, 1), 0)) + MISSING * ~known
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
    parts["smoothness_loss"] = photometric.smoothness(
      maps, common.image(batch["rgb"]), weights, AXIS
    )
  return parts


def score(config, module, variables, batch: Mapping[str, jax.Array]) -> train_state.Metrics:
  """{"photometric"}: the mean reprojection error of the predicted depth, as (sum, count) over rows."""
  pair, maps = Pair(config, batch), module.apply(variables, common.image(batch["rgb"])).maps
  error = pair.error(common.scaled(config, maps[0]) / config.rig.unit)
  rows = batch["mask"].astype(jnp.float32)
  return {"photometric": (error.mean((1, 2)) @ rows, rows.sum())}


def groups(count: int) -> list[slice]:
  """Which of so many maps learn from each other: those of the decoder, and those of the encoder."""
  cuts = [0, min(common.DECODED, count), count]
  return [slice(a, b) for a, b in zip(cuts, cuts[1:]) if a < b]


def levels(count: int, by: str) -> list[int]:
  """How often the image was halved for each map, or with "index" the map's number (as published)."""
  deepest = common.DECODED  # the number, and the level, of the coarsest of ten maps
  return list(range(count)) if by == "index" else [min(k, 2 * deepest - k) for k in range(count)]


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
  names = ["rgb", "rgb_right", "baseline"]
  names += ["intrinsics"] if not config.rig.focal or config.loss.hints else []
  names += ["depth_hint"] if config.loss.hints else []
  return train_state.example(config.data, *names)
