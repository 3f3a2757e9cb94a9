"""Stage `student`: a network learns the classes of event images from a teacher of frames."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bicross_jax import models
from bicross_jax.losses import adversarial, pooled, segmentation
from bicross_jax.models import motion_events, transfer
from bicross_jax.ops import collective, gradient
from bicross_jax.recipes.evdistill import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

EVENTS = 2  # channels of an event image


def create(config) -> train_state.Recipe:
  """The recipe of the event student (docs/systems/evdistill.md).

  Source frames have labels, target event images have none (regime `label_free`) or the ones that frames beside
  them gave (`with_event_labels`). The parent `teacher`, a network of frames, looks on; student and teacher
  are alike, and the student starts from its weights or, whole or in part, from the parent `weights`, a network of events. With `bmr.on` two generators translate frames to event images and
  back, so that either network can be shown what the other one sees.
  Without, each is shown the other's modality as it is.

  With `aligned` every event image has the frame of its moment. `distill.mutual` then trains a network of frames
  beside the student, which starts from the teacher too.

  Params are {"student", "frames" (if mutual), "generators": {"to_events", "to_image"}, "discriminators": {"events", "image"}}.
  Batches: {"source": {rgb, label}, "target": {event_image, rgb (aligned), label (with_event_labels)}}.
  """
  module, distill = common.network(config), config.distill
  trained = ("student", *(("frames",) if distill.mutual else ()))
  generators, critics = translators(config)
  steps = config.train.steps
  transforms = {
    **{name: common.optimiser(config.optim, steps, name) for name in trained},
    **({"generators": common.optimiser(config.gan, steps, "generators")} if config.bmr.on else {}),
  }
  networks = optim.apart(transforms)
  judges = common.optimiser(config.gan, steps, "discriminators")

  def init(key, parents):
    teacher = common.teacher(config, module, key, parents)
    start = dict.fromkeys(trained, teacher)
    if "weights" in parents:
      start["student"], _ = transfer.adopt(teacher, parents["weights"])
    params = {name: start[name]["params"] for name in trained}
    if config.bmr.on:
      size = (1, config.data.height, config.data.width)
      made = {
        name: models.init(net, jax.random.fold_in(key, i), (*size, net.in_channels))["params"]
        for i, (name, net) in enumerate({**generators, **critics}.items())
      }
      params["generators"] = {name: made[name] for name in generators}
      params["discriminators"] = {name: made[name] for name in critics}
    opt_state = {"networks": networks.init({name: params[name] for name in transforms})}
    if config.bmr.on:
      opt_state["discriminators"] = judges.init(params["discriminators"])
    return train_state.TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      batch_stats={name: start[name]["batch_stats"] for name in trained},
      opt_state=opt_state,
      frozen={"teacher": teacher},
    )

  def train_step(state, batch, key):
    keys = jax.random.split(key, 3)
    batch = {
      name: common.augmented(config, k, batch[name])
      for name, k in zip(("source", "target"), keys, strict=False)
    }
    params, opt_state = dict(state.params), dict(state.opt_state)

    def loss_fn(learning):
      parts, stats, fakes = losses(
        config, module, generators, critics, {**params, **learning}, state, batch, keys[2]
      )
      return sum(parts.values()), (parts, (stats, fakes))

    learning = {name: params[name] for name in transforms}
    learning, opt_state["networks"], metrics, (stats, fakes) = optim.step(
      networks, loss_fn, learning, opt_state["networks"]
    )
    if config.bmr.on:

      def judge(judging):
        return judgement(config, critics, judging, batch, fakes), ({}, None)

      params["discriminators"], opt_state["discriminators"], more, _ = optim.step(
        judges,
        judge,
        params["discriminators"],
        opt_state["discriminators"],
        prefix="discriminator/",
      )
      metrics |= more
    return state.replace(
      step=state.step + 1,
      params=params | learning,
      opt_state=opt_state,
      batch_stats=collective.mean(stats, AXIS),
    ), metrics

  modality, whose = ("frames", "frames") if config.publish == "frames" else ("events", "student")
  supervised = config.regime == "with_event_labels"
  extra = (*(("rgb",) if config.aligned else ()), *(("label",) if supervised else ()))
  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module, modality),
    variables=lambda state: {
      "params": state.params[whose],
      "batch_stats": state.batch_stats[whose],
    },
    inputs=(common.FIELDS[modality],),
    batch_spec=lambda: {
      "source": train_state.example(config.data, "rgb", "label"),
      "target": train_state.example(config.target, "event_image", *extra),
    },
    networks={config.model.name: module},
    # Labels of events choose a checkpoint only where they are learned from.
    metric=("miou", "max" if supervised else "last"),
    inspect=common.predictor(config, module, modality, feature=True),
  )


def translators(config):
  """({name: generator}, {name: discriminator}) of `config.generator` and `config.discriminator`."""
  frame = 1 if config.input.grey else 3
  between = {"to_events": (frame, EVENTS), "to_image": (EVENTS, frame)}
  judged = {"events": EVENTS, "image": frame}
  make = lambda name, activation, **options: models.create(
    name, norm="instance", activation=activation, **options
  )
  generators = {
    name: make("translator", "relu", in_channels=a, channels=b, skips=True, **config.generator)
    for name, (a, b) in between.items()
  }
  if config.bmr.events == "motion":
    generators["to_events"] = models.create("motion_events", in_channels=frame)
  critics = {
    name: make("patch_discriminator", "leaky_relu", in_channels=channels, **config.discriminator)
    for name, channels in judged.items()
  }
  return generators, critics


def translate(generator, params, x: jax.Array, key: jax.Array) -> jax.Array:
  """A picture in 0..1 in the other modality, float32[B, H, W, C] in 0..1; the key is of a random motion."""
  rngs = {motion_events.RNG: key}
  return (generator.apply({"params": params}, 2 * x - 1, rngs=rngs).image + 1) / 2


def losses(config, module, generators, critics, params, state, batch, key):
  """The parts of the loss of student and generators; the loss is their sum.

  Args:
    config: of the stage.
    module: the segmentation network.
    generators, critics: of `translators`.
    params: of all networks, as in the state.
    state: its batch statistics and the teacher.
    batch: {"source", "target"}, augmented.
    key: of dropout.

  Returns:
    ({name: float32[]}, new batch statistics, {"events", "image"}: what was generated, without a gradient).
  """
  distill, keys = config.distill, jax.random.split(key, 5)
  frames = common.picture(config, batch["source"], "frames")
  events = common.picture(config, batch["target"], "events")
  label = batch["source"]["label"]
  parts, fakes, stats = {}, {}, {}
  as_events, as_frames = frames, events  # without generators
  if config.bmr.on:
    go = lambda name, x, i: translate(
      generators[name], params["generators"][name], x, jax.random.fold_in(keys[4], i)
    )
    as_events, as_frames = go("to_events", frames, 0), go("to_image", events, 1)
    parts |= {
      "adversarial_loss": config.bmr.adversarial
      * sum(
        adversarial.fool(score(critics, params["discriminators"], name, x), axis_name=AXIS)
        for name, x in (("events", as_events), ("image", as_frames))
      ),
      "cycle_loss": config.bmr.cycle
      * (
        pooled.mean(jnp.abs(go("to_image", as_events, 2) - frames), AXIS)
        + pooled.mean(jnp.abs(go("to_events", as_frames, 3) - events), AXIS)
      ),
    }
    fakes = {"events": as_events, "image": as_frames}
  if config.aligned:
    beside = common.picture(config, batch["target"], "frames")
    if config.bmr.on:
      parts["reconstruction_loss"] = config.bmr.reconstruction * pooled.mean(
        jnp.abs(as_frames - beside), AXIS
      )

  student = {"params": params["student"], "batch_stats": state.batch_stats["student"]}
  real, stats["student"] = common.learn(config, module, student, events, keys[0])
  # Norms see one modality at a time; what they remember is of real events.
  shown = gradient.scale(as_events, config.bmr.end_to_end)
  translated, _ = common.learn(config, module, student, shown, keys[1])
  teach = lambda x: module.apply(state.frozen["teacher"], common.seen(config, x))
  of_frames, of_events = jax.lax.stop_gradient((teach(frames), teach(as_frames)))

  parts["label_loss"] = common.supervision(config, translated, label)
  if config.regime == "with_event_labels":
    parts["event_label_loss"] = common.supervision(config, real, batch["target"]["label"])
  pairs = {"source": (translated, of_frames), "target": (real, of_events)}
  for name, (learner, teacher) in pairs.items():
    weight = distill[f"pixelwise_{name}"]
    if weight:
      parts[f"pixelwise_{name}_loss"] = weight * segmentation.pixelwise(
        learner.logits, teacher.logits, axis_name=AXIS
      )
    if distill.affinity:
      parts[f"affinity_{name}_loss"] = distill.affinity * segmentation.affinity(
        learner.features["aspp"], teacher.features["aspp"], axis_name=AXIS
      )
  if distill.consistency:
    parts["consistency_loss"] = distill.consistency * segmentation.divergence(
      of_frames.logits, translated.logits, axis_name=AXIS
    )
  if distill.distribution:
    parts["distribution_loss"] = distill.distribution * segmentation.distribution(
      translated.logits, real.logits, axis_name=AXIS
    )
  if config.model.reconstruction != "none":
    truth = jnp.broadcast_to(2 * beside - 1, real.reconstruction.shape)
    parts["image_loss"] = distill.image * pooled.mean(jnp.abs(real.reconstruction - truth), AXIS)
    parts["image_affinity_loss"] = distill.affinity * segmentation.feature_affinity(
      real.pointwise, real.reconstruction, axis_name=AXIS
    )
  if distill.mutual:
    other = {"params": params["frames"], "batch_stats": state.batch_stats["frames"]}
    partner, stats["frames"] = common.learn(config, module, other, beside, keys[2])
    supervised, _ = common.learn(config, module, other, frames, keys[3])
    parts["mutual_loss"] = distill.mutual * segmentation.mutual(
      real.logits, partner.logits, axis_name=AXIS
    )
    parts["frame_label_loss"] = common.supervision(config, supervised, label)
  return parts, stats, jax.lax.stop_gradient(fakes)


def score(critics, params, name: str, x: jax.Array) -> jax.Array:
  """What a discriminator says of a picture in 0..1: float32[B, h, w], 1 = real."""
  return critics[name].apply({"params": params[name]}, 2 * x - 1).score


def judgement(config, critics, params, batch: Mapping, fakes: Mapping[str, jax.Array]) -> jax.Array:
  """The loss of both discriminators, float32[]."""
  real = {
    "events": common.picture(config, batch["target"], "events"),
    "image": common.picture(config, batch["source"], "frames"),
  }
  return sum(
    adversarial.tell_apart(
      score(critics, params, name, real[name]), score(critics, params, name, x), axis_name=AXIS
    )
    for name, x in fakes.items()
  )
