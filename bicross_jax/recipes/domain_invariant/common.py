"""What the stages of Akada et al. share: networks, pictures, supervision, optimisers, prediction.

The equations are those of docs/systems/domain_invariant.md (Akada et al., WACV 2022).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bicross_jax import errors, models
from bicross_jax.losses import pooled
from bicross_jax.ops import inputs, rotate
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

MIN_DEPTH = 1e-3  # metres; predictions are not below
TASK = "task"  # the depth network, among published ones
GENERATORS = ("to_target", "to_source")
ENCODER = (  # groups of its parameters, from the image on
  ("encoder_early", r"^encoder/(stem|stage[1-3])"),
  ("encoder_middle", r"^encoder/stage[45]"),
  ("encoder_late", r"^encoder/"),
)
_TASK_BETAS, _GAN_BETAS = (0.95, 0.999), (0.5, 0.9)


def network(config):
  """The depth network of `config.model`."""
  options = dict(config.model)
  return models.create(options.pop("name"), axis_name=AXIS, **options)


def translators(config) -> dict[str, Any]:
  """The two generators of `config.generator`, by name."""
  return {
    name: models.create("translator", axis_name=AXIS, **config.generator) for name in GENERATORS
  }


def initialise(config, module, key: jax.Array) -> dict[str, Any]:
  """Random variables of a network that sees pictures of `config.data`."""
  return models.init(module, key, (1, config.data.height, config.data.width, 3))


def picture(batch: Mapping[str, jax.Array]) -> jax.Array:
  """What networks see of `rgb`, float32[B, H, W, 3] in -1..1."""
  return inputs.rgb_input(batch["rgb"], batch["rgb"].shape[1:3])


def apart(together: jax.Array, views: Sequence[jax.Array]) -> list[jax.Array]:
  """What a pass gave of views that passed it together, equally many rows of each: one array a view."""
  return jnp.split(together, len(views))


def augmented(config, key: jax.Array, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """A batch of maps, mirrored and turned as `config.augment` says."""
  keys, augment, batch = jax.random.split(key), config.augment, dict(batch)
  if augment.flip:
    batch = inputs.random_flip(keys[0], batch, share=augment.flip)
  if augment.rotate:
    batch = rotate.random_rotation(keys[1], batch, share=augment.rotate, labels=augment.labels)
  return batch


def supervision(config, said: jax.Array, depth: jax.Array) -> jax.Array:
  """The weighted mean absolute error of what a network says, float32[].

  Args:
    config: its section `loss`.
    said: float32[B, H, W], depth over `loss.max_depth`.
    depth: float32[B, H, W], metres, 0 = unknown; what is farther than `loss.max_depth` counts as that far.
  """
  loss = config.loss
  label = jnp.minimum(depth, loss.max_depth) / loss.max_depth
  known = (depth > 0) | (not loss.mask)
  return loss.task * pooled.masked_mean(jnp.abs(said - label), known, AXIS)


def task_optimiser(config, name: str = "decoder"):
  """Adam for the depth network, whose encoder learns more slowly by `optim.encoder`."""
  o = config.optim
  groups = [
    optim.Group(o.lr * factor, pattern, group)
    for factor, (group, pattern) in zip(o.encoder, ENCODER, strict=True)
  ]
  b1, b2 = _TASK_BETAS
  return optim.adam([*groups, optim.Group(o.lr, "", name)], falling(config), b1=b1, b2=b2)


def gan_optimiser(config, name: str):
  """Adam for generators, or for discriminators."""
  b1, b2 = _GAN_BETAS
  return optim.adam([optim.Group(config.optim.gan_lr, "", name)], falling(config), b1=b1, b2=b2)


def falling(config):
  """The schedule: constant for `optim.constant` of the training, then linear, in `optim.epochs` equal steps."""
  steps, o = config.train.steps, config.optim
  every = max(1, steps // o.epochs) if o.epochs else 1
  begin = min(steps, round(o.constant * steps / every) * every)
  return optim.schedule("linear", steps=steps, begin=begin, every=every)


def part(variables: Mapping[str, Any], name: str) -> dict[str, Any]:
  """One network's variables among those of several: {"params", "batch_stats"}."""
  return {kind: tree[name] for kind, tree in variables.items()}


def task_of(variables: Mapping[str, Any]) -> Mapping[str, Any]:
  """A depth network's variables, alone or among those of a stage."""
  return part(variables, TASK) if TASK in variables["params"] else variables


def parent(config, parents: Mapping[str, Any], role: str, *names: str) -> Mapping[str, Any]:
  """The variables of a parent that must have some networks.

  Raises:
    errors.UserError: there is no such parent, or it lacks one of them.
  """
  if role not in parents:
    raise errors.UserError(f"stage {config.stage} starts from parents.{role}; none was given")
  lacking = [name for name in names if name not in parents[role]["params"]]
  if lacking:
    raise errors.UserError(f"parents.{role} has no network {', '.join(lacking)}")
  return parents[role]


def pair_spec(config, *source: str) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
  """Shapes and dtypes of a training batch: some fields of the source, and the target without labels."""
  return {
    "source": train_state.example(config.data, *source),
    "target": train_state.example(config.target, "rgb"),
  }


def metres(config, said: jax.Array) -> jax.Array:
  """What a depth network says, in metres, at least `MIN_DEPTH`."""
  return jnp.maximum(config.loss.max_depth * said, MIN_DEPTH)


def predictor(config, module, *, feature: bool = False):
  """The predict function of a recipe that publishes a depth network, alone or as `TASK`: {"depth": float32[B, H, W]}, metres."""

  def predict(variables, batch, carry=()):
    output = module.apply(task_of(variables), picture(batch))
    out = {"depth": metres(config, output.depth)}
    return (out | {"feature": output.features[-1]} if feature else out), carry

  return predict
