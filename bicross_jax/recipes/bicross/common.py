"""What all depth recipes share: supervision, optimiser, prediction.

Section numbers are those of the BiCross specification (bicross.md).
"""

import jax
import jax.numpy as jnp
import optax

from bicross_jax import models
from bicross_jax.losses import depth as depth_losses
from bicross_jax.losses import masks
from bicross_jax.losses import uncertainty as uncertainty_losses
from bicross_jax.ops import inputs, resize
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

MIN_DEPTH = 1e-3  # metres; predictions are floored here before a loss sees them


def channels(config) -> int:
  """Input channels of the network that `config.input.modality` names."""
  return {"rgb": 3, "spike": config.data.steps}[config.input.modality]


def network(config):
  """The linen module of `config.model` for the modality of `config.input`.

  `stem_bins` concerns spike stems alone and is left out for RGB.
  """
  options = dict(config.model)
  if config.input.modality == "rgb":
    options.pop("stem_bins")
  return models.create(options.pop("name"), in_channels=channels(config), **options)


def initialise(config, module, key):
  """Random variables of a network of `config`."""
  shape = (1, config.input.height, config.input.width, channels(config))
  return models.init(module, key, shape)


def network_input(config, batch) -> jax.Array:
  """float32[B, h, w, C]: the input of `config.input.modality` from a batch.

  A stem that sums steps into bins gets the bins, which packed bits give more quickly.
  """
  size = (config.input.height, config.input.width)
  return inputs.network_input(batch, config.input.modality, size, config.model.stem_bins)


def supervised_loss(config, output, depth: jax.Array, axis_name: str | None):
  """Depth and uncertainty loss of one network output (section 3).

  Args:
    config: its `loss` and `eval` sections (names of the losses, caps, crop).
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

  valid = masks.valid(
    depth, min_depth=config.eval.min_depth, max_depth=config.eval.max_depth, crop=config.loss.crop
  )
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


def descend(transform, loss_fn, state) -> tuple[train_state.TrainState, train_state.Metrics]:
  """One optimiser step on gradients and batch statistics that are averaged over the devices.

  Args:
    transform: from `optimiser`.
    loss_fn: params -> (loss, (parts, batch_stats)): a scalar, the scalars it is made of by name
      (all pooled over the devices), and the new batch statistics of the state.
    state: before the step.

  Returns:
    (state after it, metrics: `loss`, the parts, `grad_norm` and the learning rates).
  """
  params, opt_state, metrics, stats = optim.step(transform, loss_fn, state.params, state.opt_state)
  state = state.replace(
    step=state.step + 1, params=params, opt_state=opt_state, batch_stats=jax.lax.pmean(stats, AXIS)
  )
  return state, metrics


def predictor(config, module):
  """The predict function of a recipe: (variables, batch) -> {"depth", "uncertainty"}.

  Depth is in metres at the network's resolution, float32[B, h, w].
  """

  def predict(variables, batch):
    output = module.apply(variables, network_input(config, batch))
    out = {"depth": output.depth}
    if output.uncertainty is not None:
      out["uncertainty"] = output.uncertainty
    return out

  return predict


def on_validation(config):
  """Feeds the plateau schedule, where there is one, with the validation loss (`sig`)."""

  def update(state, metrics):
    if config.optim.plateau_factor >= 1:
      return state
    return state.replace(opt_state=optim.plateau_update(state.opt_state, metrics["sig"]))

  return update


def field_spec(config, fields, section: str = "data") -> dict:
  """Shapes and dtypes of one example of `fields` in the frame that the pipeline yields.

  Frames of a source (`section` "data") and of a target ("target") may differ in size.
  """
  h, w = config[section].height, config[section].width
  known = {
    "rgb": ((h, w, 3), jnp.uint8),
    "spike": ((h, w, config.data.steps // 8), jnp.uint8),
    "depth": ((h, w), jnp.float32),
  }
  return {name: jax.ShapeDtypeStruct(*known[name]) for name in fields}


def maybe_flip(config, key, batch):
  """Random horizontal flips of the whole batch where `config.data.flip` says so."""
  return inputs.random_flip(key, dict(batch)) if config.data.flip else batch
