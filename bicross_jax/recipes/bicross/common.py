"""What the stages of BiCross share: networks, supervision, optimiser, prediction.

The equations are those of docs/systems/bicross.md (Liu, Zhang et al., "BiCross").
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bicross_jax import errors, models
from bicross_jax.losses import depth as depth_losses
from bicross_jax.losses import masks
from bicross_jax.losses import uncertainty as uncertainty_losses
from bicross_jax.models import transfer
from bicross_jax.ops import inputs, resize
from bicross_jax.train import optim
from bicross_jax.train import state as train_state

MIN_DEPTH = 1e-3  # metres; predictions are floored here before a loss sees them
FEATURE = "path_1"  # the features that both heads of a DPT see


def channels(config, modality: str = "") -> int:
  """Input channels of the network for a modality, by default that of `config.input`."""
  return {"rgb": 3, "spike": config.data.steps}[modality or config.input.modality]


def network(config, modality: str = ""):
  """The linen module of `config.model` for a modality, by default that of `config.input`.

  `stem_bins` concerns spike stems alone and is left out for RGB.
  """
  modality = modality or config.input.modality
  options = dict(config.model)
  if modality == "rgb":
    options.pop("stem_bins")
  return models.create(options.pop("name"), in_channels=channels(config, modality), **options)


def initialise(config, module, key, modality: str = "") -> dict[str, Any]:
  """Random variables of a network of `config`."""
  size = (config.input.height, config.input.width)
  return models.init(module, key, (1, *size, channels(config, modality)))


def whole(config, parents: Mapping[str, Any], role: str, modality: str) -> dict[str, Any]:
  """The params of a parent that must be a whole network of `config.model`.

  Raises:
    errors.UserError: there is no such parent, or it lacks parts of the network.
  """
  if role not in parents:
    raise errors.UserError(
      f"stage {config.stage} starts from parents.{role}, a {modality} network; none was given"
    )
  module = network(config, modality)
  shapes = jax.eval_shape(lambda key: initialise(config, module, key, modality), jax.random.key(0))
  absent = transfer.adopt(shapes, parents[role])[1]
  if absent:
    raise errors.UserError(
      f"parents.{role} has no {', '.join(absent)}, and stage {config.stage} starts from a whole "
      "network"
    )
  return parents[role]["params"]


def network_input(config, batch, modality: str = "") -> jax.Array:
  """float32[B, h, w, C]: the input of a network from a batch.

  A stem that sums steps into bins gets the bins, which packed bits give more quickly.
  """
  size = (config.input.height, config.input.width)
  return inputs.network_input(
    batch, modality or config.input.modality, size, config.model.stem_bins
  )


def camera(config) -> train_state.Camera:
  """The camera that a network learns with; the scale-invariant loss knows no metres."""
  return train_state.Camera(metric=config.loss.depth != "ssi", whole=True)


def valid_pixels(config, depth: jax.Array) -> jax.Array:
  """bool[B, H, W]: labels, or pseudo labels, that training counts, by `config.loss`."""
  return masks.valid(
    depth, min_depth=config.loss.min_depth, max_depth=config.loss.max_depth, crop=config.loss.crop
  )


def supervised_loss(config, output, depth: jax.Array, axis_name: str | None):
  """Depth and uncertainty loss of one network output.

  Args:
    config: its `loss` section (names of the losses, range, crop).
    output: DPTOutput; maps are resized to the frame of `depth` with torch's bicubic.
    depth: float32[B, H, W], metres, 0 where unknown.
    axis_name: the mapped axis to pool over.

  Returns:
    (total, {"depth_loss": ..., "uncertainty_loss": ...}), scalars.
  """

  def fit(x):
    if x.shape == depth.shape:
      return x
    return resize.bicubic(x[..., None], depth.shape[1:])[..., 0]

  valid = valid_pixels(config, depth)
  prediction = jnp.maximum(fit(output.depth), MIN_DEPTH)
  loss = depth_losses.LOSSES[config.loss.depth]
  total = loss(prediction, depth, valid, axis_name=axis_name)
  parts = {"depth_loss": total}
  if output.uncertainty is not None:
    loss = uncertainty_losses.LOSSES[config.loss.uncertainty]
    parts["uncertainty_loss"] = loss(
      fit(output.uncertainty),
      prediction,
      depth,
      valid,
      detach=config.loss.detach,
      axis_name=axis_name,
    )
    total = total + config.loss.uncertainty_weight * parts["uncertainty_loss"]
  return total, parts


def optimiser(config) -> optax.GradientTransformation:
  """Adam with the rates of `config.optim` for backbone, rest of the network, and extra heads."""
  o = config.optim
  plateau = optim.Plateau(o.plateau_factor, o.plateau_patience) if o.plateau_factor < 1 else None
  return optim.adam(
    [
      optim.Group(o.extra_lr, r"^(projection|domain_head)\w*/", "extra"),
      optim.Group(o.backbone_lr, r"(^|/)(backbone|reassemble\d)/", "backbone"),
      optim.Group(o.head_lr, r"", "head"),
    ],
    schedule=optim.schedule(o.schedule, steps=config.train.steps, warmup=o.warmup),
    plateau=plateau,
    clip_norm=o.clip_norm,
  )


def predictor(config, module) -> Callable:
  """The predict function of a recipe: {"depth", "uncertainty"}, float32[B, h, w], metres."""

  def predict(variables, batch, carry=()):
    output = module.apply(variables, network_input(config, batch))
    return predictions(output), carry

  return predict


def inspector(config, module) -> Callable:
  """As `predictor`, with "feature", the map float32[B, h, w, C] that both heads see."""

  def inspect(variables, batch, carry=()):
    output = module.apply(variables, network_input(config, batch))
    return predictions(output) | {"feature": output.features[FEATURE]}, carry

  return inspect


def predictions(output) -> dict[str, jax.Array]:
  """What of a network's output is predicted: depth and, where there is one, uncertainty."""
  out = {"depth": output.depth}
  if output.uncertainty is not None:
    out["uncertainty"] = output.uncertainty
  return out


def on_validation(config) -> Callable:
  """Feeds the plateau schedule, where there is one, with the validation loss (`sig`)."""

  def update(state, metrics):
    if config.optim.plateau_factor >= 1:
      return state
    return state.replace(opt_state=optim.plateau_update(state.opt_state, metrics["sig"]))

  return update


def maybe_flip(config, key, batch):
  """Random horizontal flips of the whole batch where `config.data.flip` says so."""
  return inputs.random_flip(key, dict(batch)) if config.data.flip else batch
