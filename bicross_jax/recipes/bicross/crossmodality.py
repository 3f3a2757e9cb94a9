"""Stage `crossmodality`: coarse-to-fine knowledge distillation (CFKD) from RGB to spikes."""

import jax
import jax.numpy as jnp

from bicross_jax import errors, models
from bicross_jax.losses import contrastive, distill, masks
from bicross_jax.models import transfer
from bicross_jax.ops import resize
from bicross_jax.recipes.bicross import common
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

STUDENT_INITS = ("rgb", "inflate", "scratch")


def create(config) -> train_state.Recipe:
  """The recipe of a config of stage `crossmodality` (bicross.md section 3).

  A frozen RGB network looks at the same scene as the spike network. The student learns from
  depth + uncertainty loss, and from the teacher in two branches: coarse, the contrastive loss
  between pooled and projected deepest features; fine, the squared distance of the finest shared
  decoder map (path_4), with `distill.uncertainty_filter` only where the teacher is sure and the
  student is not. Batch fields: rgb, spike, depth.

  Params are {"student", "projection_rgb", "projection_spike"}; `frozen` holds the teacher.
  """
  if config.student_init not in STUDENT_INITS:
    raise errors.UserError(
      f"student_init={config.student_init!r}: choose from {', '.join(STUDENT_INITS)}"
    )
  if config.model.uncertainty is False and config.distill.uncertainty_filter:
    raise errors.UserError("distill.uncertainty_filter needs model.uncertainty")
  student, teacher = common.network(config), common.network(config.parent)
  projection = models.create("projection_head", axis_name=AXIS)
  transform = common.optimiser(config)
  size = (config.input.height, config.input.width)

  def init(key, initial=None):
    if initial is None or initial.teacher is None:
      raise errors.UserError("crossmodality starts from an RGB checkpoint; none was given")
    rgb = initial.teacher
    params = _student(config, common.initialise(config, student, key), rgb)["params"]
    features = jax.eval_shape(teacher.apply, rgb, jnp.zeros((2, *size, 3))).features["layer_4"]
    heads = [models.init(projection, jax.random.fold_in(key, i), features.shape) for i in (1, 2)]
    params = {
      "student": params,
      "projection_rgb": heads[0]["params"],
      "projection_spike": heads[1]["params"],
    }
    return train_state.TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      batch_stats={
        "projection_rgb": heads[0]["batch_stats"],
        "projection_spike": heads[1]["batch_stats"],
      },
      opt_state=transform.init(params),
      frozen={"teacher": {"params": rgb["params"]}},
    )

  def project(params, batch_stats, name, features):
    out, updates = projection.apply(
      {"params": params[name], "batch_stats": batch_stats[name]},
      features,
      train=True,
      mutable=["batch_stats"],
    )
    return out, updates["batch_stats"]

  def train_step(state, batch, key):
    batch = common.maybe_flip(config, key, batch)
    looking = teacher.apply(state.frozen["teacher"], common.network_input(config.parent, batch))
    valid = masks.valid(
      batch["depth"],
      min_depth=config.eval.min_depth,
      max_depth=config.eval.max_depth,
      crop=config.loss.crop,
    )

    def loss_fn(params):
      seen = student.apply(
        {"params": params["student"]}, common.network_input(config, batch), train=True
      )
      total, parts = common.supervised_loss(config, seen, batch["depth"], AXIS)
      stats = {}
      a, stats["projection_rgb"] = project(
        params, state.batch_stats, "projection_rgb", looking.features["layer_4"]
      )
      b, stats["projection_spike"] = project(
        params, state.batch_stats, "projection_spike", seen.features["layer_4"]
      )
      parts["coarse_loss"] = contrastive.contrastive(a, b, axis_name=AXIS)
      rgb, spike = looking.features["path_4"], seen.features["path_4"]
      weights = None
      if config.distill.uncertainty_filter:
        weights = distill.cfkd_filter(
          looking.uncertainty, seen.uncertainty, _known(valid, size), rgb.shape[1:3], axis_name=AXIS
        )
      parts["fine_loss"] = distill.feature_mse(spike, rgb, weights, axis_name=AXIS)
      total += config.distill.coarse * parts["coarse_loss"]
      total += config.distill.fine * parts["fine_loss"]
      return total, (parts, stats)

    return common.descend(transform, loss_fn, state)

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, student),
    variables=lambda state: {"params": state.params["student"], "batch_stats": {}},
    on_validation=common.on_validation(config),
    metric=("abs_rel", "min"),
    batch_spec=lambda: common.field_spec(config, ("rgb", "spike", "depth")),
    module=student,
  )


def _student(config, fresh, rgb):
  """The student's first variables, by `config.student_init`."""
  if config.student_init == "scratch":
    return fresh
  if config.student_init == "rgb":
    return transfer.graft(fresh, rgb)[0]
  stem_bins = config.model.stem_bins
  return transfer.graft(
    fresh, transfer.inflate_stem(rgb, common.channels(config), stem_bins), keep=""
  )[0]


def _known(valid, size):
  """Pixels the filter looks at, bool[B, h, w]: the valid ones; all of an image without a label."""
  valid = valid | ~valid.any((1, 2), keepdims=True)
  if valid.shape[1:] == size:
    return valid
  return resize.nearest(valid[..., None].astype(jnp.uint8), size)[..., 0] > 0
