"""Optimisers by parameter group, one optimiser step, and the teacher's moving average."""

from collections.abc import Callable, Mapping, Sequence
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bicross_jax import errors
from bicross_jax.ops import collective
from bicross_jax.train import packing
from bicross_jax.train.schedules import Schedule, constant, schedule
from bicross_jax.train.state import AXIS, Metrics, TrainState, Variables

__all__ = (
  "Group",
  "Plateau",
  "adam",
  "adamw",
  "apart",
  "assign",
  "begin",
  "ema",
  "learning_rates",
  "plateau_update",
  "schedule",  # so that a recipe finds all of an optimiser here
  "sgd",
  "single",
  "step",
  "take_step",
)
_NO_VALUE = float(jnp.finfo(jnp.float32).max)  # "no validation value yet"; finite, see TrainState


class Group(NamedTuple):
  """Parameters that share a learning rate.

  A parameter belongs to the first group whose pattern is found (`re.search`) in its path,
  "encoder/block_0/kernel"; one that belongs to none is an error.

  Attributes:
    rate: learning rate; 0 freezes: no update, no moments.
    pattern: regular expression; "" is found in every path.
    name: of the group; its learning rate is the metric "lr/<name>", or "lr" for the default.
    weight_decay: what the optimiser's decay of weights is multiplied by.
  """

  rate: float
  pattern: str = ""
  name: str = "lr"
  weight_decay: float = 0.0


class Plateau(NamedTuple):
  """When to cut the learning rates: torch's ReduceLROnPlateau(factor, patience), mode "min".

  Attributes:
    factor: what the rates are multiplied by.
    patience: number of validations in a row without improvement that are borne; the next cuts.
    threshold: by what fraction of the best value a value must undercut it to be an improvement.
  """

  factor: float
  patience: int
  threshold: float = 1e-4


class PlateauState(NamedTuple):
  """Plateau's settings and memory, arrays (part of the optimiser's state).

  Attributes:
    factor, patience, threshold: as in `Plateau`.
    best: float32[], lowest value so far.
    bad: int32[], validations without improvement since the last one or since the last cut.
    scale: float32[], what all learning rates are multiplied by now.
  """

  factor: jax.Array
  patience: jax.Array
  threshold: jax.Array
  best: jax.Array
  bad: jax.Array
  scale: jax.Array


class RateState(NamedTuple):
  """State of the learning rates.

  Attributes:
    count: int32[], number of updates made.
    rates: {name of a group: float32[]}, the learning rate of the last update, schedule and plateau
      included (0 before the first), of every group that trains a parameter.
    plateau: PlateauState, or () without one.
  """

  count: jax.Array
  rates: dict[str, jax.Array]
  plateau: Any


def adam(
  groups: Sequence[Group],
  schedule: Schedule = constant,
  plateau: Plateau | None = None,
  clip_norm: float = 0.0,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
) -> optax.GradientTransformation:
  """Adam (Kingma and Ba, 2015); weight decay is an L2 term of the gradient, as in torch's Adam.

  Args:
    groups: what is trained, and how fast.
    schedule: step (updates made so far) -> factor on all rates.
    plateau: cuts all rates when validation stands still; `plateau_update` must be called.
    clip_norm: largest global norm of the gradients of all parameters that are not frozen, without
      the decay of weights; 0: not limited.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the root of the second moment.

  Raises:
    errors.UserError: from `init`, when parameters match no group; it lists them.
  """
  direction = [*_clip(clip_norm), *_decay(groups), optax.scale_by_adam(b1=b1, b2=b2, eps=eps)]
  return _optimiser(groups, direction, schedule, plateau)


def single(section, steps: int) -> optax.GradientTransformation:
  """Adam with one rate for all parameters.

  Args:
    section: of a config: `lr`, `clip_norm`, `schedule`, `warmup`; with "step" also `milestones`, shares
      of the training at which the rate is multiplied by `gamma`.
    steps: of the training.
  """
  options = {}
  if section.schedule == "step":
    milestones = [round(m * steps) for m in section.milestones]
    options = dict(milestones=milestones, gamma=section.gamma)
  chosen = schedule(section.schedule, steps=steps, warmup=section.warmup, **options)
  return adam([Group(section.lr)], schedule=chosen, clip_norm=section.clip_norm)


def adamw(
  groups: Sequence[Group],
  schedule: Schedule = constant,
  plateau: Plateau | None = None,
  clip_norm: float = 0.0,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
) -> optax.GradientTransformation:
  """AdamW (Loshchilov and Hutter, 2019): as `adam`, but weights decay by rate * weight_decay."""
  direction = [*_clip(clip_norm), optax.scale_by_adam(b1=b1, b2=b2, eps=eps), *_decay(groups)]
  return _optimiser(groups, direction, schedule, plateau)


def sgd(
  groups: Sequence[Group],
  schedule: Schedule = constant,
  plateau: Plateau | None = None,
  clip_norm: float = 0.0,
  momentum: float = 0.0,
  nesterov: bool = False,
) -> optax.GradientTransformation:
  """Stochastic gradient descent as torch's SGD; weight decay is an L2 term of the gradient.

  Args:
    groups, schedule, plateau, clip_norm: as for `adam`.
    momentum: decay of the sum of gradients that is followed; 0: the gradient is.
    nesterov: follow the sum as it will be after the next decay (Sutskever et al., 2013).
  """
  direction = [*_clip(clip_norm), *_decay(groups)]
  direction.append(optax.trace(momentum, nesterov) if momentum else optax.identity())
  return _optimiser(groups, direction, schedule, plateau)


def apart(transforms: Mapping[str, optax.GradientTransformation]) -> optax.GradientTransformation:
  """One transform for each entry of a dict of params, so that one loss trains networks in different ways."""

  def init(params):
    return {name: transform.init(params[name]) for name, transform in transforms.items()}

  def update(updates, state, params):
    done = {
      name: transform.update(updates[name], state[name], params[name])
      for name, transform in transforms.items()
    }
    return tuple({name: pair[i] for name, pair in done.items()} for i in range(2))

  return optax.GradientTransformation(init, update)


def assign(groups: Sequence[Group], params) -> Any:
  """The number of the group of every parameter, a pytree of int like `params`.

  Raises:
    errors.UserError: parameters match no group; it lists them.
  """
  unmatched = []

  def number(path, _):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    for k, group in enumerate(groups):
      if re.search(group.pattern, name):
        return k
    unmatched.append(name)
    return 0

  out = jax.tree_util.tree_map_with_path(number, params)
  if unmatched:
    shown = ", ".join(unmatched[:8]) + (f" and {len(unmatched) - 8} more" if unmatched[8:] else "")
    raise errors.UserError(
      f"parameters in no optimiser group: {shown} "
      f"(groups: {', '.join(repr(group.pattern) for group in groups)})"
    )
  return out


def step(
  transform: optax.GradientTransformation,
  loss_fn: Callable[[Any], tuple[jax.Array, tuple[dict[str, Any], Any]]],
  params: Any,
  opt_state: Any,
  *,
  axis_name: str | None = AXIS,
  prefix: str = "",
) -> tuple[Any, Any, Metrics, Any]:
  """One optimiser step; a train_step may take several (generators, then discriminators).

  Args:
    transform: from `adam`, `adamw`, `sgd`, or any of optax.
    loss_fn: params -> (loss, (parts, aux)): a scalar; what is worth logging besides, {name: scalar
      or (sum, count)}; anything else (batch statistics, images for another step). Scalars are this
      device's, or pooled over the devices (see `state.Metrics`).
    params: what is trained here; other networks are closed over.
    opt_state: of `transform`.
    axis_name: the mapped axis over which gradients are averaged (after `grad`); None: none.
    prefix: before the name of every metric, "discriminator/".

  Returns:
    (params, opt_state, metrics, aux). Metrics are (sum, count) pairs: `loss`, the parts,
    `grad_norm` (of the averaged gradients), and the learning rates that were applied (see
    `learning_rates`). `aux` differs by device where loss_fn made it so.
  """
  (loss, (parts, aux)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
  grads = collective.mean(grads, axis_name)
  updates, opt_state = transform.update(grads, opt_state, params)
  params = optax.apply_updates(params, updates)
  values = {"loss": loss, **parts, "grad_norm": _norm(grads), **learning_rates(opt_state)}
  pair = lambda value: value if isinstance(value, tuple) else (value, jnp.ones(()))
  return params, opt_state, {prefix + name: pair(value) for name, value in values.items()}, aux


def begin(transform: optax.GradientTransformation, variables: Variables, **rest) -> TrainState:
  """The state of a network before its first step.

  Args:
    transform: of all its parameters.
    variables: {"params"} and, where it has norms over the batch, {"batch_stats"}.
    **rest: other fields of the state.
  """
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=variables["params"],
    batch_stats=variables.get("batch_stats", {}),
    opt_state=transform.init(variables["params"]),
    **rest,
  )


def take_step(
  transform: optax.GradientTransformation,
  loss_fn: Callable[[Any], tuple[jax.Array, tuple[dict[str, Any], Any]]],
  state: TrainState,
) -> tuple[TrainState, Metrics]:
  """The one optimiser step of a train_step; batch statistics are averaged over the devices.

  Args:
    transform: of all parameters.
    loss_fn: params -> (loss, (parts, batch_stats)), as for `step`: the aux are the new batch statistics.
    state: before the step.

  Returns:
    (state after it, metrics).
  """
  params, opt_state, metrics, stats = step(transform, loss_fn, state.params, state.opt_state)
  state = state.replace(
    step=state.step + 1,
    params=params,
    opt_state=opt_state,
    batch_stats=collective.mean(stats, AXIS),
  )
  return state, metrics


def learning_rates(opt_state) -> dict[str, jax.Array]:
  """{"lr" or "lr/<group>": float32[]}: the learning rates of the last update.

  Args:
    opt_state: of `adam`, `adamw` or `sgd`; other optimisers keep no rates: {}.
  """
  nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, RateState))
  return {
    "lr" if name == "lr" else f"lr/{name}": rate
    for node in nodes
    if isinstance(node, RateState)
    for name, rate in node.rates.items()
  }


def plateau_update(opt_state, value: float):
  """Feeds one validation value (lower is better) to the plateau schedule.

  Args:
    opt_state: state of an optimiser made with `plateau`.
    value: what `Plateau` watches. NaN counts as no improvement.

  Returns:
    The new optimiser state.

  Raises:
    ValueError: there is no plateau schedule in it.
  """
  found = []

  def change(node):
    if not isinstance(node, PlateauState):
      return node
    found.append(node)
    better = jnp.asarray(value, jnp.float32) < node.best * (1 - node.threshold)
    best = jnp.where(better, jnp.asarray(value, jnp.float32), node.best)
    bad = jnp.where(better, 0, node.bad + 1)
    cut = bad > node.patience
    return node._replace(
      best=best,
      bad=jnp.where(cut, 0, bad),
      scale=jnp.where(cut, node.scale * node.factor, node.scale),
    )

  out = jax.tree.map(change, opt_state, is_leaf=lambda node: isinstance(node, PlateauState))
  if not found:
    raise ValueError("the optimiser has no plateau schedule")
  return out


def ema(teacher, student, momentum: float | jax.Array):
  """The teacher's step: momentum * teacher + (1 - momentum) * student, leaf by leaf.

  Args:
    teacher: variables, for example {"params", "batch_stats"}.
    student: variables of the same structure. Leaves that are not floats are taken from here.
    momentum: between 0 and 1.

  Raises:
    ValueError: the trees or the shapes differ.
  """

  def mix(old, new):
    if jnp.shape(old) != jnp.shape(new):
      raise ValueError(f"teacher has shape {jnp.shape(old)}, student {jnp.shape(new)}")
    if not jnp.issubdtype(jnp.result_type(new), jnp.floating):
      return new
    return (momentum * old + (1 - momentum) * new).astype(old.dtype)

  return jax.tree.map(mix, teacher, student)


def _optimiser(groups, direction, schedule, plateau):
  """Follows a direction (a list of transforms) for what is not frozen.

  The transforms work on packed trees (`packing.pack`): XLA compiles and runs half a dozen kernels
  for every leaf that an optimiser sees, which for a hundred biases and small kernels is a third of
  all kernels of a training step.
  """
  groups = tuple(groups)
  if len({group.name for group in groups}) < len(groups):
    raise ValueError(f"groups need names of their own: {[group.name for group in groups]}")
  inner = optax.chain(*direction, _scale_by_rates(groups, schedule, plateau))

  names = [group.name if group.rate else None for group in groups]
  pack = lambda tree: packing.pack(tree, [names[k] for k in jax.tree.leaves(assign(groups, tree))])

  def update(updates, state, params):
    packed, unpack = pack(updates)
    packed, state = inner.update(packed, state, pack(params)[0])
    return unpack(packed), state

  init = jax.jit(lambda params: inner.init(pack(params)[0]))  # else a program for every shape
  return optax.GradientTransformation(init, update)


def _norm(tree):
  """The Euclidean norm of all leaves as one vector."""
  return optax.tree.norm(packing.join(jax.tree.leaves(tree))[0])


def _clip(clip_norm):
  return [optax.clip_by_global_norm(clip_norm)] if clip_norm else []


def _decay(groups):
  """Adds weight_decay * parameter, by group; nothing where no group has any."""
  if not any(group.weight_decay for group in groups):
    return []

  decays = {group.name: group.weight_decay for group in groups}

  def update(updates, params):
    add = lambda name: lambda u, p: u + decays[name] * p if decays[name] else u
    return {name: jax.tree.map(add(name), own, params[name]) for name, own in updates.items()}

  return [optax.stateless(update)]


def _scale_by_rates(groups, schedule, plateau):
  """Turns a direction into an update: minus rate times schedule times plateau."""

  given = {group.name: group.rate for group in groups}

  def init(params):
    state = ()
    if plateau is not None:
      state = PlateauState(
        factor=jnp.asarray(plateau.factor, jnp.float32),
        patience=jnp.asarray(plateau.patience, jnp.int32),
        threshold=jnp.asarray(plateau.threshold, jnp.float32),
        best=jnp.asarray(_NO_VALUE, jnp.float32),
        bad=jnp.zeros((), jnp.int32),
        scale=jnp.ones((), jnp.float32),
      )
    rates = {name: jnp.zeros((), jnp.float32) for name in params}
    return RateState(jnp.zeros((), jnp.int32), rates, state)

  def update(updates, state, params=None):
    del params
    factor = schedule(state.count)
    if plateau is not None:
      factor = factor * state.plateau.scale
    scale = lambda name: lambda u: (-given[name] * factor).astype(u.dtype) * u
    updates = {name: jax.tree.map(scale(name), own) for name, own in updates.items()}
    applied = {name: (given[name] * factor).astype(jnp.float32) for name in state.rates}
    return updates, RateState(state.count + 1, applied, state.plateau)

  return optax.GradientTransformation(init, update)
