"""Spiking neurons: integrate-and-fire, leaky, parametric leaky (docs/systems/stereospike.md, Neurons).

A neuron is a pure function of its potential and its input. `step` is one step of time; `run` is many,
with a gradient of its own that keeps only what it needs.
"""

import functools
import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.ops import surrogate as surrogates
from bicross_jax.ops.surrogate import Surrogate

KINDS = ("if", "lif", "plif")


class Neuron(NamedTuple):
  """What neurons a layer has; static and hashable.

  Attributes:
    kind: "if" (no leak), "lif" (leak 1 / tau) or "plif" (leak sigmoid(w), w trained).
    tau: time constant in steps, above 1; of "plif" the one it starts from.
    threshold: potential at which a neuron fires.
    reset: what a spike sets the potential to; None: it takes the threshold away ("soft").
    detach: no gradient through the spike in the reset.
    decay_input: whether the input is divided by tau too.
    surrogate: what stands in for the derivative of a spike.
  """

  kind: str = "if"
  tau: float = 2.0
  threshold: float = 1.0
  reset: float | None = 0.0
  detach: bool = True
  decay_input: bool = True
  surrogate: Surrogate = surrogates.create("atan")


Params = dict[str, jax.Array]  # {"w": float32[]} of "plif", else {}


def initial(neuron: Neuron, shape: tuple[int, ...]) -> jax.Array:
  """Potentials at rest: float32[shape], the reset potential, or 0."""
  return jnp.full(shape, neuron.reset or 0.0, jnp.float32)


def initial_params(neuron: Neuron) -> Params:
  """What a layer trains at the start: w = -ln(tau - 1) of "plif", else nothing.

  Raises:
    ValueError: no such kind, or a time constant that is none.
  """
  if neuron.kind not in KINDS:
    raise ValueError(f"no neuron {neuron.kind!r}; choose from {', '.join(KINDS)}")
  if neuron.kind != "if" and neuron.tau <= 1:
    raise ValueError(f"tau={neuron.tau}: a leaky neuron has a time constant above 1")
  return {"w": jnp.float32(-math.log(neuron.tau - 1))} if neuron.kind == "plif" else {}


def step(
  neuron: Neuron, params: Params, potential: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """One step of time: charge, fire, reset.

  Args:
    neuron: which.
    params: {"w": float32[]} of "plif", else {}.
    potential: float[...].
    x: input current, float[...].

  Returns:
    (spikes 0 or 1, potential after the reset), float[...] each.
  """
  charged = _charge(neuron, _leak(neuron, params), potential, x)
  spikes = surrogates.spike(neuron.surrogate, charged - neuron.threshold)
  fired = jax.lax.stop_gradient(spikes) if neuron.detach else spikes
  return spikes, _reset(neuron, charged, fired)


def run(
  neuron: Neuron, params: Params, potential: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """All steps of time at once: what `step` gives, one after the other.

  Args:
    neuron, params: as for `step`.
    potential: float[...] before the first step.
    x: float[T, ...].

  Returns:
    (spikes float[T, ...], potential float[...] after the last step). Where a gradient is asked for
    the charged potentials are kept, and of "plif" those before the charge are computed from them.

  Raises:
    ValueError: potentials of another shape than a step's input.
  """
  if x.shape[1:] != potential.shape:
    raise ValueError(f"potentials {potential.shape} do not fit an input of {x.shape[1:]} a step")
  return _run(neuron, _leak(neuron, params), potential.astype(x.dtype), x)


def integrate(potential: jax.Array, x: jax.Array) -> jax.Array:
  """Potentials of neurons that never fire: [...] and x [T, ...] -> [T, ...], running sums."""
  return potential[None].astype(x.dtype) + jnp.cumsum(x, axis=0)


class Spiking(nn.Module):
  """A layer of neurons, float[T, ...] -> spikes float[T, ...], and the potentials after it.

  Attributes:
    neuron: which; "plif" has one parameter, `w` float32[], for the whole layer.
  """

  neuron: Neuron

  @nn.compact
  def __call__(
    self, x: jax.Array, potential: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    fresh = initial_params(self.neuron)
    params = {
      name: self.param(name, lambda key, value=value: value) for name, value in fresh.items()
    }
    if potential is None:
      potential = initial(self.neuron, x.shape[1:])
    return run(self.neuron, params, potential, x)


def _leak(neuron, params):
  """1 / tau where it is trained, else None."""
  return jax.nn.sigmoid(params["w"]) if neuron.kind == "plif" else None


def _charge(neuron, leak, potential, x):
  if neuron.kind == "if":
    return potential + x
  # A division, not a product, for a given tau: the rounding decides which neurons fire.
  decay = lambda y: y / neuron.tau if leak is None else leak.astype(y.dtype) * y
  above = potential - (neuron.reset or 0.0)
  if neuron.decay_input:
    return potential + decay(x - above)
  return potential - decay(above) + x


def _reset(neuron, charged, fired):
  if neuron.reset is None:
    return charged - neuron.threshold * fired
  return (1 - fired) * charged + neuron.reset * fired


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(neuron, leak, potential, x):
  """`run` with the leak, and without its checks."""
  return _scan(neuron, leak, potential, x, keep=False)[:2]


def _scan(neuron, leak, potential, x, keep):
  """(spikes, last potential, charged potentials of every step where they are kept)."""

  def one(potential, x):
    charged = _charge(neuron, leak, potential, x)
    fired = (charged >= neuron.threshold).astype(x.dtype)
    return _reset(neuron, charged, fired), (fired, charged) if keep else (fired,)

  if len(x) == 1:  # as one step, which XLA fuses with what is around it
    last, out = one(potential, x[0])
    out = tuple(y[None] for y in out)
  else:
    last, out = jax.lax.scan(one, potential, x)
  return out[0], last, out[1] if keep else None


def _run_forward(neuron, leak, potential, x):
  spikes, last, charged = _scan(neuron, leak, potential, x, keep=True)
  return (spikes, last), (leak, potential, charged)


def _run_backward(neuron, kept, gradients):
  """The recurrence of docs/systems/stereospike.md, backwards in time."""
  leak, potential, charged = kept
  of_spikes, of_last = gradients
  rest = neuron.reset or 0.0

  def one(carry, xs):
    of_potential, of_leak = carry
    of_spike, charged, before = xs
    slope = surrogates.derivative(neuron.surrogate, charged - neuron.threshold)
    fired = (charged >= neuron.threshold).astype(charged.dtype)
    through = of_spike  # what the spike is worth
    if not neuron.detach:
      jump = -neuron.threshold if neuron.reset is None else neuron.reset - charged
      through = through + of_potential * jump
    stays = of_potential if neuron.reset is None else of_potential * (1 - fired)
    of_charged = through * slope + stays
    if neuron.kind == "if":
      return (of_charged, of_leak), of_charged
    weight = 1 / neuron.tau
    if leak is not None:
      weight = leak.astype(charged.dtype)
      # What the leak multiplies: with a decayed input, all of the charge.
      driven = (charged - before) / weight if neuron.decay_input else rest - before
      of_leak = of_leak + jnp.sum(of_charged * driven, dtype=jnp.float32)
    of_input = of_charged * weight if neuron.decay_input else of_charged
    return ((1 - weight) * of_charged, of_leak), of_input

  before = None
  if leak is not None:  # the potentials that were charged
    fired = (charged[:-1] >= neuron.threshold).astype(charged.dtype)
    before = jnp.concatenate([potential[None], _reset(neuron, charged[:-1], fired)])
  xs = (of_spikes, charged, before)
  carry = (of_last, jnp.zeros((), jnp.float32))
  if len(charged) == 1:
    carry, of_input = one(carry, jax.tree.map(lambda y: y[0], xs))
    of_input = of_input[None]
  else:
    carry, of_input = jax.lax.scan(one, carry, xs, reverse=True)
  of_potential, of_leak = carry
  return (None if leak is None else of_leak, of_potential, of_input)


_run.defvjp(_run_forward, _run_backward)
