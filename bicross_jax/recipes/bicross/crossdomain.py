"""Stage `crossdomain`: a spike network moves to a domain that has no labels."""

import jax
import jax.numpy as jnp

from bicross_jax import errors, models
from bicross_jax.losses import depth as depth_losses
from bicross_jax.losses import masks, pooled, pseudo
from bicross_jax.ops import augment, gradient, rates, resize
from bicross_jax.recipes.bicross import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

METHODS = ("scts", "adversarial", "meanteacher")
FILTERS = ("none", "head", "disagreement", "variance")
PUBLISHED = ("teacher", "student")
HEADS = {"shared": ("domain_head",), "legacy": ("domain_head_source", "domain_head_target")}
HIDDEN = 256  # channels inside a domain head
WARMUP_WEIGHT = 0.1  # of source supervision while nothing is adapted yet


def create(config) -> train_state.Recipe:
  """The recipe of a config of stage `crossdomain` (bicross.md section 3).

  The student starts from the network of the stage before. Methods (`adapt.method`):
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
  for name, choices in (
    ("method", METHODS),
    ("filter", FILTERS),
    ("heads", tuple(HEADS)),
    ("publish", PUBLISHED),
  ):
    if a[name] not in choices:
      raise errors.UserError(f"adapt.{name}={a[name]!r}: choose from {', '.join(choices)}")
  if a.filter == "head" and not config.model.uncertainty:
    raise errors.UserError("adapt.filter=head needs model.uncertainty")
  aligns = a.method != "meanteacher"  # that method does not see the source after the warm-up
  teaches = a.method != "adversarial"
  matches = teaches and a.match
  module = common.network(config)
  head = models.create("projection_head", hidden=HIDDEN, features=2, axis_name=AXIS)
  names = HEADS[a.heads] if aligns else ()
  transform = common.optimiser(config)
  size = (config.input.height, config.input.width)

  def init(key, initial=None):
    if initial is None or initial.init_from is None:
      raise errors.UserError("crossdomain starts from a spike network; none was given")
    student = initial.init_from["params"]
    features = jax.eval_shape(
      module.apply, initial.init_from, jnp.zeros((2, *size, common.channels(config)))
    ).features
    heads = {
      name: models.init(head, jax.random.fold_in(key, i), features["layer_4"].shape)
      for i, name in enumerate(names)
    }
    params = {"student": student, **{name: v["params"] for name, v in heads.items()}}
    stats = {"heads": {name: v["batch_stats"] for name, v in heads.items()}}
    if matches:
      stats["rates"] = {name: rates.none_yet(size)._asdict() for name in ("source", "target")}
    return train_state.TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      batch_stats=stats,
      opt_state=transform.init(params),
      teacher={"params": student} if teaches else {},
    )

  def measured(state, streams):
    """The running moments of both domains, by name."""
    return {
      name: rates.running(
        rates.Moments(**state.batch_stats["rates"][name]),
        rates.moments(resize.nearest(spike, size), axis_name=AXIS),
        state.step,
      )
      for name, spike in streams.items()
    }

  def train_step(state, batch, key):
    keys = {
      name: jax.random.fold_in(key, i) for i, name in enumerate(("source", "target", "strong"))
    }
    source = common.maybe_flip(config, keys["source"], batch["source"])
    target = common.maybe_flip(config, keys["target"], batch["target"])
    student_view = target["spike"]
    if a.augment or a.filter == "variance":
      strong = augment.strong(keys["strong"], target["spike"])
      student_view = strong if a.augment else student_view
    seen_by_student = jnp.concatenate(
      [common.network_input(config, source), common.network_input(config, {"spike": student_view})]
    )
    rows = len(source["spike"])
    adapting = state.step >= a.warmup
    label_weight = jnp.where(adapting, float(aligns), WARMUP_WEIGHT)
    found = (
      measured(state, {"source": source["spike"], "target": target["spike"]}) if matches else {}
    )

    def look(spike):
      """(depth, uncertainty) that the teacher says of target streams."""
      x = common.network_input(config, {"spike": spike})
      x = rates.match(x, found["target"], found["source"]) if matches else x
      if not a.mirror:
        out = module.apply(state.teacher, x)
        return jnp.maximum(out.depth, common.MIN_DEPTH), out.uncertainty
      return mirrored_mean(module.apply(state.teacher, jnp.concatenate([x, x[:, :, ::-1]])))

    if teaches:
      taught, doubt = look(target["spike"])
      valid = masks.valid(
        taught,
        min_depth=config.eval.min_depth,
        max_depth=config.eval.max_depth,
        crop=config.loss.crop,
      )
      if a.filter == "variance":
        doubt = pseudo.view_spread(lambda x: look(x)[0], target["spike"], strong, taught)

    def loss_fn(params):
      out = module.apply({"params": params["student"]}, seen_by_student, train=True)
      labelled, unlabelled = (
        jax.tree.map(lambda x, part=part: x[part], out)
        for part in (slice(None, rows), slice(rows, None))
      )
      supervised, parts = common.supervised_loss(config, labelled, source["depth"], AXIS)
      total, stats = label_weight * supervised, state.batch_stats["heads"]
      if aligns:
        parts["sca_loss"], parts["domain_accuracy"], stats = align(
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
        learnt = jnp.maximum(unlabelled.depth, common.MIN_DEPTH)
        measure = pseudo.disagreement(taught, learnt) if a.filter == "disagreement" else doubt
        trusted = valid
        if a.filter != "none":
          trusted = pseudo.trusted(measure, valid, axis_name=AXIS)
        loss = depth_losses.LOSSES[config.loss.depth]
        parts["scp_loss"] = loss(learnt, taught, trusted, axis_name=AXIS)
        parts["trusted"] = pooled.masked_mean(trusted, jnp.ones_like(trusted), AXIS)
        total += adapting * a.scp * parts["scp_loss"]
      stats = {"heads": stats}
      if matches:
        stats["rates"] = {name: moments._asdict() for name, moments in found.items()}
      return total, (parts, stats)

    state, metrics = common.descend(transform, loss_fn, state)
    if teaches:
      state = state.replace(
        teacher=optim.ema(state.teacher, {"params": state.params["student"]}, a.alpha)
      )
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
    on_validation=common.on_validation(config),
    metric=("abs_rel", "min" if config.oracle else "last"),
    batch_spec=lambda: {
      "source": common.field_spec(config, ("spike", "depth")),
      "target": common.field_spec(config, ("spike",), "target"),
    },
    module=module,
    publishes=published,
  )


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

  taught = jnp.exp(mean(jnp.log(jnp.maximum(output.depth, common.MIN_DEPTH))))
  return taught, None if output.uncertainty is None else mean(output.uncertainty)


def align(head, params, batch_stats, source, target, beta: float, *, axis_name: str | None):
  """The domain loss of two sets of features; its gradient into them is reversed.

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

  def look(name, x):
    logits, updates = head.apply(
      {"params": params[name], "batch_stats": batch_stats[name]},
      gradient.reverse(x, beta),
      train=True,
      mutable=["batch_stats"],
    )
    return jax.nn.log_softmax(logits), updates["batch_stats"]

  if len(batch_stats) == 1:
    (name,) = batch_stats
    both, stats = look(name, jnp.concatenate([source, target]))
    told, stats = jnp.split(both, [len(source)]), {name: stats}
  else:
    looks = {name: look(name, x) for name, x in zip(HEADS["legacy"], (source, target), strict=True)}
    told = [logs for logs, _ in looks.values()]
    stats = {name: s for name, (_, s) in looks.items()}
  loss, accuracy = 0.0, 0.0
  for domain, logs in enumerate(told):
    rows = jnp.ones(logs.shape[:1], bool)
    loss -= pooled.masked_mean(logs[:, domain], rows, axis_name)
    accuracy += 0.5 * pooled.masked_mean(logs.argmax(1) == domain, rows, axis_name)
  return loss, accuracy, stats
