"""Stage `crossmodality`: coarse-to-fine knowledge distillation (CFKD) from RGB to spikes."""

import jax
import jax.numpy as jnp

from bicross_jax import models
from bicross_jax.losses import contrastive, distill
from bicross_jax.models import transfer
from bicross_jax.ops import resize
from bicross_jax.recipes.bicross import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS


def create(config) -> train_state.Recipe:
  """The recipe of a config of stage `crossmodality` (docs/systems/bicross.md).

  A frozen RGB network, the parent `teacher`, looks at the same scene as the spike network. The
  student learns from depth + uncertainty loss, and from the teacher in two branches: coarse, the
  contrastive loss between pooled and projected deepest features; fine, the squared distance of
  the finest shared decoder map (path_4), with `distill.uncertainty_filter` only where the teacher
  is sure and the student is not. Batch fields: rgb, spike, depth.

  Params are {"student", "projection_rgb", "projection_spike"}; `frozen` holds the teacher.
  """
  student, teacher = common.network(config), common.network(config, "rgb")
  projection = models.create("projection_head", axis_name=AXIS)
  transform = common.optimiser(config)
  size = (config.input.height, config.input.width)

  def init(key, parents):
    rgb = common.whole(config, parents, "teacher", "rgb")
    first = initial_student(config, common.initialise(config, student, key), {"params": rgb})
    features = jax.eval_shape(teacher.apply, {"params": rgb}, jnp.zeros((2, *size, 3))).features[
      "layer_4"
    ]
    heads = [models.init(projection, jax.random.fold_in(key, i), features.shape) for i in (1, 2)]
    params = {
      "student": first["params"],
      "projection_rgb": heads[0]["params"],
      "projection_spike": heads[1]["params"],
    }
    stats = {"projection_rgb": heads[0]["batch_stats"], "projection_spike": heads[1]["batch_stats"]}
    variables = {"params": params, "batch_stats": stats}
    return optim.begin(transform, variables, frozen={"teacher": {"params": rgb}})

  def train_step(state, batch, key):
    batch = common.maybe_flip(config, key, batch)
    rgb_output = teacher.apply(state.frozen["teacher"], common.network_input(config, batch, "rgb"))
    valid = common.valid_pixels(config, batch["depth"])

    def loss_fn(params):
      spike_output = student.apply(
        {"params": params["student"]}, common.network_input(config, batch), train=True
      )
      total, parts = common.supervised_loss(config, spike_output, batch["depth"], AXIS)
      parts["coarse_loss"], stats = coarse_loss(
        projection, params, state.batch_stats, rgb_output, spike_output, axis_name=AXIS
      )
      parts["fine_loss"] = fine_loss(
        rgb_output,
        spike_output,
        filtered_pixels(valid, size) if config.distill.uncertainty_filter else None,
        axis_name=AXIS,
      )
      total += config.distill.coarse * parts["coarse_loss"]
      total += config.distill.fine * parts["fine_loss"]
      return total, (parts, stats)

    return optim.take_step(transform, loss_fn, state)

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, student),
    variables=lambda state: {"params": state.params["student"], "batch_stats": {}},
    inputs=(config.input.modality,),
    batch_spec=lambda: train_state.example(config.data, "rgb", "spike", "depth"),
    networks={config.model.name: student},
    metric=("abs_rel", "min"),
    on_validation=common.on_validation(config),
    inspect=common.inspector(config, student),
    camera=common.camera(config),
  )


def initial_student(config, fresh, rgb):
  """The student's first variables, by `config.student_init`.

  Args:
    config: "rgb": the teacher's weights behind a new stem; "inflate": its stem too, inflated to
      spikes; "scratch": none of them.
    fresh: random variables of the student.
    rgb: the teacher's.
  """
  if config.student_init == "scratch":
    return fresh
  if config.student_init == "rgb":
    return transfer.graft(fresh, rgb)[0]
  inflated = transfer.inflate_stem(rgb, common.channels(config), config.model.stem_bins)
  return transfer.graft(fresh, inflated, keep="")[0]


def coarse_loss(projection, params, batch_stats, rgb_output, spike_output, *, axis_name):
  """The contrastive loss between the projected deepest features of both networks.

  Args:
    projection: the head, float[B, h, w, C] -> float32[B, D].
    params, batch_stats: of `projection_rgb` and `projection_spike`, by these names.
    rgb_output, spike_output: DPTOutput of the same scenes.
    axis_name: the mapped axis the batch is split over, or None.

  Returns:
    (float32[], new batch statistics).
  """
  projected, stats = [], {}
  for name, output in (("projection_rgb", rgb_output), ("projection_spike", spike_output)):
    out, updates = projection.apply(
      {"params": params[name], "batch_stats": batch_stats[name]},
      output.features["layer_4"],
      train=True,
      mutable=["batch_stats"],
    )
    projected.append(out)
    stats[name] = updates["batch_stats"]
  return contrastive.contrastive(*projected, axis_name=axis_name), stats


def fine_loss(rgb_output, spike_output, pixels, *, axis_name) -> jax.Array:
  """The squared distance of the finest decoder map that both networks share.

  Args:
    rgb_output, spike_output: DPTOutput of the same scenes.
    pixels: bool[B, h, w] that the uncertainty filter chooses from, or None: no filter.
    axis_name: the mapped axis the batch is split over, or None.
  """
  rgb, spike = rgb_output.features["path_4"], spike_output.features["path_4"]
  weights = None
  if pixels is not None:
    weights = distill.cfkd_filter(
      rgb_output.uncertainty, spike_output.uncertainty, pixels, rgb.shape[1:3], axis_name=axis_name
    )
  return distill.feature_mse(spike, rgb, weights, axis_name=axis_name)


def filtered_pixels(valid: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Pixels the filter looks at, bool[B, h, w]: the valid ones; all of an image without a label."""
  valid = valid | ~valid.any((1, 2), keepdims=True)
  if valid.shape[1:] == size:
    return valid
  return resize.nearest(valid[..., None].astype(jnp.uint8), size)[..., 0] > 0
