"""Learning rate schedules: what all rates are multiplied by, as a function of the step."""

from collections.abc import Callable, Sequence
import inspect

import jax
import jax.numpy as jnp

from bicross_jax import errors

Schedule = Callable[[jax.Array], jax.Array]  # updates made so far -> float32[]


def constant(step: jax.Array) -> jax.Array:
  """The schedule that leaves the rates as they are."""
  del step
  return jnp.ones((), jnp.float32)


def schedule(name: str, steps: int, warmup: int = 0, **options) -> Schedule:
  """The factor on all learning rates at a step, from 1 at the end of the warm-up.

  Args:
    name: one of SCHEDULES:
      "constant": 1.
      "cosine": (1 + cos(pi t)) / 2, where t runs from 0 at the end of the warm-up to 1 at `steps`
        (Loshchilov and Hutter, SGDR, without restarts).
      "step": `gamma` (0.1) to the number of `milestones` (steps) that are reached, as torch's
        MultiStepLR.
      "poly": (1 - t) ** `power` (0.9), t as for "cosine" (Chen et al., DeepLab). Where `start`
        is positive the warm-up is geometric: `start` ** (1 - step / warmup).
      "linear": falls from step `begin` on, to 1 / (n + 1) in the last of the n steps that are
        left, as in CycleGAN (Zhu et al., 2017). With `every` > 1 steps are counted in epochs of
        that many, and the factor is constant within each.
    steps: length of the training.
    warmup: number of steps over which the factor first rises linearly; step k (from 0) has
      (k + 1) / (warmup + 1) of the schedule's first value. A training shorter than that ends
      while it still rises.
    **options: of the named schedule alone, as above.

  Raises:
    errors.UserError: another name, another option, or a value out of range.
  """
  if name not in SCHEDULES:
    raise errors.UserError(f"unknown schedule {name!r}: choose from {', '.join(SCHEDULES)}")
  make = SCHEDULES[name]
  known = list(inspect.signature(make).parameters)[2:]
  unknown = [option for option in options if option not in known]
  if unknown:
    has = f"its options are {', '.join(known)}" if known else "it has no options"
    raise errors.UserError(f"schedule {name} has no option {', '.join(unknown)}: {has}")
  return make(steps, warmup, **options)


def _constant(steps, warmup):
  del steps
  return lambda step: _rise(step, warmup)


def _cosine(steps, warmup):
  def factor(step):
    return _rise(step, warmup) * 0.5 * (1 + jnp.cos(jnp.pi * _progress(step, steps, warmup)))

  return factor


def _step(steps, warmup, milestones: Sequence[int] = (), gamma: float = 0.1):
  del steps
  if gamma <= 0 or any(step < 0 for step in milestones):
    raise errors.UserError(
      f"schedule step: gamma={gamma} must be positive, milestones={milestones} not negative"
    )

  def factor(step):
    reached = sum((jnp.asarray(step) >= m).astype(jnp.float32) for m in milestones)
    return _rise(step, warmup) * jnp.float32(gamma) ** reached

  return factor


def _poly(steps, warmup, power: float = 0.9, start: float = 0.0):
  if power <= 0 or not 0 <= start <= 1:
    raise errors.UserError(
      f"schedule poly: power={power} must be positive, start={start} between 0 and 1"
    )

  def factor(step):
    step = jnp.asarray(step, jnp.float32)
    fall = jnp.clip((steps - step) / max(1, steps - warmup), 0.0, 1.0) ** power
    if not start:
      return _rise(step, warmup) * fall
    left = jnp.clip(1 - step / max(1, warmup), 0.0, 1.0)
    return jnp.float32(start) ** left * fall if warmup else fall

  return factor


def _linear(steps, warmup, begin: int = 0, every: int = 1):
  if every < 1 or not 0 <= begin <= steps:
    raise errors.UserError(
      f"schedule linear: begin={begin} must be 0 to {steps} (the steps of the training), "
      f"every={every} at least 1"
    )

  def factor(step):
    epoch = jnp.asarray(step, jnp.int32) // every + 1
    falling = jnp.maximum(0.0, epoch.astype(jnp.float32) - begin / every)
    return _rise(step, warmup) * jnp.maximum(0.0, 1 - falling / ((steps - begin) / every + 1))

  return factor


SCHEDULES = {
  "constant": _constant,
  "cosine": _cosine,
  "step": _step,
  "poly": _poly,
  "linear": _linear,
}


def _rise(step, warmup):
  return jnp.minimum(1.0, (jnp.asarray(step, jnp.float32) + 1) / (warmup + 1))


def _progress(step, steps, warmup):
  """From 0 at the end of the warm-up to 1 at the end of the training."""
  step = jnp.asarray(step, jnp.float32)
  return jnp.clip((step - warmup) / max(1, steps - warmup), 0.0, 1.0)
