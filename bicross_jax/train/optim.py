"""Optimisers by parameter group, schedules by step, and the teacher's moving average."""

from collections.abc import Callable, Sequence
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bicross_jax import errors

SCHEDULES = ("constant", "cosine")
_NO_VALUE = float(jnp.finfo(jnp.float32).max)  # "no validation value yet"; finite, see TrainState


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
    factor: float32[], schedule times plateau at the last update.
    plateau: PlateauState, or () without one.
  """

  count: jax.Array
  factor: jax.Array
  plateau: Any


def constant(step: jax.Array) -> jax.Array:
  """The schedule that leaves the rates as they are."""
  del step
  return jnp.ones((), jnp.float32)


def schedule(name: str, steps: int, warmup: int = 0) -> Callable[[jax.Array], jax.Array]:
  """A factor on all learning rates as a function of the step.

  Args:
    name: "constant", or "cosine": (1 + cos(pi t)) / 2, where t runs from 0 at the end of the
      warm-up to 1 at `steps` (Loshchilov and Hutter, SGDR, without restarts).
    steps: length of the training.
    warmup: number of steps over which the factor first rises linearly; step k (from 0) has
      (k + 1) / (warmup + 1) of the schedule's first value. A training shorter than that ends
      while it still rises.

  Raises:
    errors.UserError: another name.
  """
  if name not in SCHEDULES:
    raise errors.UserError(f"unknown schedule {name!r}: choose from {', '.join(SCHEDULES)}")

  def factor(step):
    step = jnp.asarray(step, jnp.float32)
    rise = jnp.minimum(1.0, (step + 1) / (warmup + 1))
    if name == "constant":
      return rise
    t = jnp.clip((step - warmup) / max(1, steps - warmup), 0.0, 1.0)
    return rise * 0.5 * (1 + jnp.cos(jnp.pi * t))

  return factor


def adam(
  groups: Sequence[tuple[str, float]],
  schedule: Callable[[jax.Array], jax.Array] = constant,
  plateau: Plateau | None = None,
  clip_norm: float = 0.0,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
) -> optax.GradientTransformation:
  """Adam (Kingma and Ba, 2015) with a learning rate for each group of parameters.

  Args:
    groups: (regular expression, learning rate) pairs. A parameter belongs to the first
      expression that is found (`re.search`) in its path, "encoder/block_0/kernel". Rate 0
      freezes: no update, no moments.
    schedule: step (updates made so far) -> factor on all rates.
    plateau: cuts all rates when validation stands still; `plateau_update` must be called.
    clip_norm: largest global norm of the gradients of all parameters that are not frozen; 0:
      not limited.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the root of the second moment.

  Raises:
    errors.UserError: from `init`, when parameters match no group; it lists them.
  """
  direction = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
  direction.append(optax.scale_by_adam(b1=b1, b2=b2, eps=eps))

  def labels(params):
    return jax.tree.map(lambda r: "trained" if r else "frozen", rates(groups, params))

  return optax.chain(
    optax.partition({"trained": optax.chain(*direction), "frozen": optax.set_to_zero()}, labels),
    _scale_by_rates(groups, schedule, plateau),
  )


def rates(groups: Sequence[tuple[str, float]], params) -> Any:
  """The learning rate of every parameter, a pytree of floats like `params`; see `adam`."""
  unmatched = []

  def rate(path, _):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    for pattern, value in groups:
      if re.search(pattern, name):
        return float(value)
    unmatched.append(name)
    return 0.0

  out = jax.tree_util.tree_map_with_path(rate, params)
  if unmatched:
    shown = ", ".join(unmatched[:8]) + (f" and {len(unmatched) - 8} more" if unmatched[8:] else "")
    raise errors.UserError(
      f"parameters in no optimiser group: {shown} "
      f"(groups: {', '.join(repr(pattern) for pattern, _ in groups)})"
    )
  return out


def _scale_by_rates(groups, schedule, plateau):
  """Turns a direction into an update: minus rate times schedule times plateau."""

  def init(params):
    rates(groups, params)
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
    return RateState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32), state)

  def update(updates, state, params=None):
    del params
    factor = schedule(state.count)
    if plateau is not None:
      factor = factor * state.plateau.scale
    updates = jax.tree.map(
      lambda u, rate: (-rate * factor).astype(u.dtype) * u, updates, rates(groups, updates)
    )
    return updates, RateState(state.count + 1, factor.astype(jnp.float32), state.plateau)

  return optax.GradientTransformation(init, update)


def plateau_update(opt_state, value: float):
  """Feeds one validation value (lower is better) to the plateau schedule.

  Args:
    opt_state: state of an optimiser made by `adam(..., plateau=...)`.
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


def rate_factor(opt_state) -> jax.Array:
  """float32[]: what the groups' learning rates were multiplied by in the last update."""
  nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, RateState))
  factors = [node.factor for node in nodes if isinstance(node, RateState)]
  if len(factors) != 1:
    raise ValueError(f"an optimiser state of `adam` has one RateState, this one {len(factors)}")
  return factors[0]


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
