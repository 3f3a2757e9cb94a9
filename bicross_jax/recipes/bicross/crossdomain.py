"""Stage `crossdomain`: a spike network moves to a domain that has no labels (SCTS)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from bicross_jax import models
from bicross_jax.losses import depth as depth_losses
from bicross_jax.losses import pooled, pseudo
from bicross_jax.ops import augment, gradient, rates, resize
from bicross_jax.recipes.bicross import common, uncertainty
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

HEADS = {"shared": ("domain_head",), "legacy": ("domain_head_source", "domain_head_target")}
HIDDEN = 256  # channels inside a domain head
WARMUP_WEIGHT = 0.1  # of source supervision while nothing is adapted yet
_STREAMS = ("source", "target")


class PseudoLabel(NamedTuple):
  """What the teacher says of target streams.

  Attributes:
    depth: float32[B, h, w], metres.
    uncertainty: float32[B, h, w], what a filter goes by, or None where it is not known yet.
    valid: bool[B, h, w], where the depth is in range and crop.
  """

  depth: jax.Array
  uncertainty: jax.Array | None
  valid: jax.Array


def create(config) -> train_state.Recipe:
  """The recipe of a config of stage `crossdomain` (docs/systems/bicross.md).

  The student starts from the parent `student`, a spike network. Methods (`adapt.method`):
    scts: source supervision, pseudo labels of an EMA teacher on the target (SCP, weight
      `adapt.scp`), and adversarial alignment of layer_4 (SCA, weight `adapt.sca`), in one step.
    adversarial: without pseudo labels; there is no teacher.
    meanteacher: pseudo labels alone, after the warm-up.
  The first `adapt.warmup` steps see the source alone, with a tenth of its weight, as published.
  Pseudo labels count where the teacher's depth is in range and crop and where `adapt.filter`
  trusts it: "head" (the teacher's uncertainty head), "disagreement" (of teacher and student) or
  "variance" (of the teacher over a mirrored and a strongly augmented view) is below its median.

  A teacher that sees what its student sees can only repeat its own bias. Ours (`adapt.match`) sees
  the target with the source's firing rates (`ops.rates`), on which source supervision keeps it
  right, and (`adapt.mirror`) says the mean of the stream and its mirror image. The student and
  what is published (`adapt.publish`: the teacher, or its student) see the target as it is. Neither
  is in the paper.

  Batches: {"source": {spike, depth}, "target": {spike}}. Params are {"student"} and the domain
  heads; `teacher` is the moving average of the student.
  """
  a = config.adapt
  aligns = a.method != "meanteacher"  # that method does not see the source after the warm-up
  teaches = a.method != "adversarial"
  matches = teaches and a.match
  module = common.network(config)
  head = models.create("projection_head", hidden=HIDDEN, features=2, axis_name=AXIS)
  names = HEADS[a.heads] if aligns else ()
  transform = common.optimiser(config)
  size = (config.input.height, config.input.width)

  def init(key, parents):
    student = common.whole(config, parents, "student", "spike")
    features = jax.eval_shape(
      module.apply, {"params": student}, jnp.zeros((2, *size, common.channels(config)))
    ).features
    heads = {
      name: models.init(head, jax.random.fold_in(key, i), features["layer_4"].shape)
      for i, name in enumerate(names)
    }
    params = {"student": student, **{name: v["params"] for name, v in heads.items()}}
    stats = {"heads": {name: v["batch_stats"] for name, v in heads.items()}}
    if matches:
      stats["rates"] = {name: rates.none_yet(size)._asdict() for name in _STREAMS}
    variables = {"params": params, "batch_stats": stats}
    return optim.begin(transform, variables, teacher={"params": student} if teaches else {})

  def train_step(state, batch, key):
    keys = {name: jax.random.fold_in(key, i) for i, name in enumerate((*_STREAMS, "strong"))}
    source, target = (common.maybe_flip(config, keys[name], batch[name]) for name in _STREAMS)
    strong = None
    if a.augment or a.filter == "variance":
      strong = augment.strong(keys["strong"], target["spike"])
    student_view = {"spike": strong if a.augment else target["spike"]}
    student_input = jnp.concatenate(
      [common.network_input(config, source), common.network_input(config, student_view)]
    )
    rows = len(source["spike"])
    adapting = state.step >= a.warmup
    label_weight = jnp.where(adapting, float(aligns), WARMUP_WEIGHT)
    moments = {}
    if matches:
      streams = {"source": source["spike"], "target": target["spike"]}
      moments = running_moments(state.batch_stats["rates"], streams, size, state.step)
    label = None
    if teaches:
      label = pseudo_label(config, module, state.teacher, target["spike"], strong, moments)

    def loss_fn(params):
      out = module.apply({"params": params["student"]}, student_input, train=True)
      labelled, unlabelled = (
        jax.tree.map(lambda x, part=part: x[part], out)
        for part in (slice(None, rows), slice(rows, None))
      )
      supervised, parts = common.supervised_loss(config, labelled, source["depth"], AXIS)
      total, stats = label_weight * supervised, state.batch_stats["heads"]
      if aligns:
        parts["sca_loss"], parts["domain_accuracy"], stats = alignment_loss(
          head,
          params,
          stats,
          labelled.features["layer_4"],
          unlabelled.features["layer_4"],
          a.reverse,
          axis_name=AXIS,
        )
        total += adapting * a.sca * parts["sca_loss"]
      if teaches:
        parts["scp_loss"], parts["trusted"] = pseudo_label_loss(
          unlabelled.depth, label, loss=config.loss.depth, selection=a.filter, axis_name=AXIS
        )
        total += adapting * a.scp * parts["scp_loss"]
      stats = {"heads": stats}
      if matches:
        stats["rates"] = {name: found._asdict() for name, found in moments.items()}
      return total, (parts, stats)

    state, metrics = optim.take_step(transform, loss_fn, state)
    if teaches:
      student = {"params": state.params["student"]}
      state = state.replace(teacher=optim.ema(state.teacher, student, a.alpha))
    return state, metrics

  published = a.publish if teaches else "student"

  def variables(state):
    params = state.teacher["params"] if published == "teacher" else state.params["student"]
    return {"params": params, "batch_stats": {}}

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module),
    variables=variables,
    inputs=("spike",),
    batch_spec=lambda: {
      "source": train_state.example(config.data, "spike", "depth"),
      "target": train_state.example(config.target, "spike"),
    },
    networks={config.model.name: module},
    # Labels of the target choose a checkpoint only where the config says so.
    metric=("abs_rel", "min" if config.validate[0] == "target" else "last"),
    on_validation=common.on_validation(config),
    publishes=published,
    inspect=common.inspector(config, module),
    camera=common.camera(config),
    uncertainty=uncertainty.measures(config, module),
  )


def running_moments(before, streams, size, step) -> dict[str, rates.Moments]:
  """The running moments of the firing rates of both domains, by name.

  Args:
    before: {domain: the moments before, as a dict}.
    streams: {domain: uint8[B, H, W, T/8]}.
    size: (h, w) of the network's input.
    step: int32[], number of steps taken.
  """
  return {
    name: rates.running(
      rates.Moments(**before[name]),
      rates.moments(resize.nearest(spike, size), axis_name=AXIS),
      step,
    )
    for name, spike in streams.items()
  }


def pseudo_label(config, module, teacher, spike, strong, moments) -> PseudoLabel:
  """What a teacher says of target streams.

  Args:
    config: its `adapt` and `loss` sections.
    module: the network.
    teacher: its variables.
    spike: uint8[B, H, W, T/8].
    strong: the same, strongly augmented, where the filter needs it.
    moments: of the firing rates of source and target, where they are matched; else {}.
  """

  def teach(spike):
    """(depth, uncertainty) of streams."""
    x = common.network_input(config, {"spike": spike})
    x = rates.match(x, moments["target"], moments["source"]) if moments else x
    if not config.adapt.mirror:
      out = module.apply(teacher, x)
      return jnp.maximum(out.depth, common.MIN_DEPTH), out.uncertainty
    return mirrored_mean(module.apply(teacher, jnp.concatenate([x, x[:, :, ::-1]])))

  depth, doubt = teach(spike)
  if config.adapt.filter == "variance":
    doubt = pseudo.view_spread(lambda x: teach(x)[0], spike, strong, depth)
  return PseudoLabel(depth, doubt, common.valid_pixels(config, depth))


def pseudo_label_loss(student_depth, label: PseudoLabel, *, loss: str, selection: str, axis_name):
  """The depth loss of a student against trusted pseudo labels (SCP).

  Args:
    student_depth: float32[B, h, w], metres.
    label: of the same views.
    loss: a key of `losses.depth.LOSSES`.
    selection: which labels are trusted: "none" (all that are valid), "head", "variance" or
      "disagreement".
    axis_name: the mapped axis the batch is split over, or None.

  Returns:
    (float32[], share of the pixels that are trusted, float32[]).
  """
  student_depth = jnp.maximum(student_depth, common.MIN_DEPTH)
  trusted = label.valid
  if selection != "none":
    measure = label.uncertainty
    if selection == "disagreement":
      measure = pseudo.disagreement(label.depth, student_depth)
    trusted = pseudo.trusted(measure, label.valid, axis_name=axis_name)
  value = depth_losses.LOSSES[loss](student_depth, label.depth, trusted, axis_name=axis_name)
  return value, pooled.masked_mean(trusted, jnp.ones_like(trusted), axis_name)


def mirrored_mean(output):
  """The mean of what a network says of inputs and, behind them in the batch, of their mirror images.

  Args:
    output: DPTOutput of float32[2 B, h, w].

  Returns:
    (depth, the geometric mean; uncertainty, None where there is none), float32[B, h, w] each.
  """

  def mean(x):
    plain, mirrored = jnp.split(x, 2)
    return (plain + mirrored[:, :, ::-1]) / 2

  depth = jnp.exp(mean(jnp.log(jnp.maximum(output.depth, common.MIN_DEPTH))))
  return depth, None if output.uncertainty is None else mean(output.uncertainty)


def alignment_loss(
  head, params, batch_stats, source, target, beta: float, *, axis_name: str | None
):
  """The domain loss of two sets of features (SCA); its gradient into them is reversed.

  Args:
    head: the domain head, float[B, h, w, C] -> logits float32[B, 2].
    params, batch_stats: {name: its variables}, of one head that sees both domains together, or
      of two that see one domain each (the published way, in which a bias satisfies each).
    source, target: float[B, h, w, C].
    beta: what the reversed gradient is multiplied by.
    axis_name: the mapped axis the batch is split over, or None.

  Returns:
    (NLL of source + NLL of target, mean accuracy over both domains, new batch statistics).
  """

  def classify(name, x):
    logits, updates = head.apply(
      {"params": params[name], "batch_stats": batch_stats[name]},
      gradient.reverse(x, beta),
      train=True,
      mutable=["batch_stats"],
    )
    return jax.nn.log_softmax(logits), updates["batch_stats"]

  if len(batch_stats) == 1:
    (name,) = batch_stats
    both, stats = classify(name, jnp.concatenate([source, target]))
    scores, stats = jnp.split(both, [len(source)]), {name: stats}
  else:
    found = {
      name: classify(name, x) for name, x in zip(HEADS["legacy"], (source, target), strict=True)
    }
    scores = [logs for logs, _ in found.values()]
    stats = {name: s for name, (_, s) in found.items()}
  loss, accuracy = 0.0, 0.0
  for domain, logs in enumerate(scores):
    rows = jnp.ones(logs.shape[:1], bool)
    loss -= pooled.masked_mean(logs[:, domain], rows, axis_name)
    accuracy += 0.5 * pooled.masked_mean(logs.argmax(1) == domain, rows, axis_name)
  return loss, accuracy, stats
