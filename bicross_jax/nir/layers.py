"""NIR's nodes as functions of JAX: what each computes, from the first time step to the last.

Neurons follow NIR's differential equations by Euler's method with time steps of dt, and fire in the
step in which the potential has passed the threshold (v > v_threshold):

    I    v + dt R x                        gives v
    IF   v + dt R x                        fires, then v_reset where it fired
    LI   v + (R x - (v - v_leak)) dt/tau   gives v
    LIF  v + (R x - (v - v_leak)) dt/tau   fires, then v_reset where it fired

Potentials begin at v_reset (IF, LIF), v_leak (LI) or 0 (I); NIR does not say where.
"""

from collections.abc import Callable
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.nir.graph import GraphError, kind

LARGEST = 2**31  # numbers of one result
Shape = tuple[int, ...]
Derivative = Callable[[jax.Array], jax.Array]


class Layer(NamedTuple):
  """A node, ready to be computed.

  Attributes:
    shape: of its result, of one example at one time step.
    params: its arrays; one that has the same value everywhere is a scalar.
    state: of one example before the first time step, or None.
    apply: (params, state [B, ...], x [T, B, ...]) -> (result [T, B, *shape], state after it).
  """

  shape: Shape
  params: dict[str, np.ndarray]
  state: np.ndarray | None
  apply: Callable[[dict[str, Any], Any, jax.Array], tuple[jax.Array, Any]]


class Setting(NamedTuple):
  """What a graph does not say.

  Attributes:
    dt: () -> length of a time step; asked only by nodes that depend on time.
    derivative: of a spike, by how far the potential is above the threshold.
  """

  dt: Callable[[], float]
  derivative: Derivative


def create(node, shape: Shape, setting: Setting) -> Layer:
  """The layer of a node whose input has a shape.

  Raises:
    GraphError: a kind of node that is not known here, or one that does not fit its input.
  """
  if kind(node) not in BUILDERS:
    raise GraphError(f"{kind(node)} is not known here; known are {', '.join(BUILDERS)}")
  layer = BUILDERS[kind(node)](node, shape, setting)
  if min(layer.shape, default=1) < 1 or math.prod(layer.shape) >= LARGEST:
    raise GraphError(f"gives a result of shape {layer.shape} for an input of {shape}")
  return layer


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def spike(derivative: Derivative, x: jax.Array) -> jax.Array:
  """1 where x > 0, else 0; the gradient is `derivative(x)` instead."""
  return (x > 0).astype(x.dtype)


@spike.defjvp
def _spike_jvp(derivative, primals, tangents):
  (x,), (slope,) = primals, tangents
  return spike(derivative, x), derivative(x) * slope


def _floats(node, field, finite=True):
  """A field as float32."""
  try:
    value = np.asarray(getattr(node, field, None))
    good = value.dtype.kind in "fiu" and value.size
  except ValueError:  # a list of lists of different lengths
    good = False
  if not good:
    raise GraphError(f"{field} holds no numbers")
  value = value.astype(np.float32)
  if np.isnan(value).any() or (finite and not np.isfinite(value).all()):
    raise GraphError(f"{field} holds numbers that are not finite")
  return value


def _whole(node, field, count, least):
  """A field as `count` whole numbers: one for all axes, or one for each."""
  value = _floats(node, field).astype(np.float64).ravel()
  value = np.broadcast_to(value, (count,)) if value.size == 1 else value
  if value.size != count or (value < least).any() or (value % 1).any() or (value > 2**24).any():
    raise GraphError(f"{field} must be {count} whole numbers of at least {least}")
  return tuple(int(x) for x in value)


def _values(node, fields, shape):
  """{field: float32 scalar, or float32[shape]} of parameters of every neuron."""
  found = {}
  for field in fields:
    value = _floats(node, field, finite=field != "v_threshold")
    if value.size == 1 or (value == value.flat[0]).all():
      if value.size > 1 and value.shape != shape and value.ndim != len(shape):
        raise GraphError(f"{field} has shape {value.shape}, the input {shape}")
      value = value.reshape(-1)[0]
    elif value.ndim != len(shape) or any(n not in (1, m) for n, m in zip(value.shape, shape)):
      raise GraphError(f"{field} has shape {value.shape}, the input {shape}")
    else:
      value = np.ascontiguousarray(np.broadcast_to(value, shape))
    if field == "tau" and (value <= 0).any():
      raise GraphError("tau must be above 0")
    found[field] = np.asarray(value)
  return found


def _spread(params, axes):
  """Parameters with so many axes in front, but scalars."""
  return {k: x if jnp.ndim(x) == 0 else jnp.expand_dims(x, range(axes)) for k, x in params.items()}


def _plain(shape, params, function):
  """A layer without memory, of a function of (params, x [T, B, ...])."""
  return Layer(shape, params, None, lambda params, state, x: (function(params, x), state))


def _folded(function, x):
  """A function of [N, ...] on [T, B, ...]."""
  y = function(x.reshape(-1, *x.shape[2:]))
  return y.reshape(*x.shape[:2], *y.shape[1:])


def _pass(node, shape, setting):
  return _plain(shape, {}, lambda params, x: x)


def _affine(node, shape, setting):
  """y[..., o] = sum over i of W[..., o, i] x[..., i] (+ b[..., o])."""
  weight = _floats(node, "weight")
  if weight.ndim < 2 or (*weight.shape[:-2], weight.shape[-1]) != shape:
    raise GraphError(f"weight has shape {weight.shape}, the input {shape}")
  out, params = weight.shape[:-1], {"weight": weight}
  if kind(node) == "Affine":
    bias = _floats(node, "bias")
    if bias.shape != out:
      raise GraphError(f"bias has shape {bias.shape}, the result {out}")
    params["bias"] = bias

  def function(params, x):
    product = jnp.einsum("...oi,tb...i->tb...o", params["weight"], x, precision="highest")
    return product + params["bias"][None, None] if "bias" in params else product

  return _plain(out, params, function)


def _scale(node, shape, setting):
  params = _values(node, ("scale",), shape)
  return _plain(shape, params, lambda params, x: x * _spread(params, 2)["scale"])


def _flatten(node, shape, setting):
  """Axes count without batch and time."""
  axes = len(shape)
  first, last = (int(x) for x in (node.start_dim, node.end_dim))
  first, last = (x + axes if x < 0 else x for x in (first, last))
  if not 0 <= first <= last < axes:
    raise GraphError(f"axes {node.start_dim} to {node.end_dim} of an input of shape {shape}")
  out = (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
  return _plain(out, {}, lambda params, x: x.reshape(*x.shape[:2], *out))


def _conv(node, shape, setting):
  """Cross-correlation of [C, ...], as torch has it."""
  weight, bias = _floats(node, "weight"), _floats(node, "bias")
  axes = int(kind(node)[-2])  # of "Conv2d"
  (groups,) = _whole(node, "groups", 1, 1)
  if weight.ndim != axes + 2 or len(shape) != axes + 1:
    raise GraphError(f"weight has shape {weight.shape}, the input {shape}")
  if weight.shape[1] * groups != shape[0] or weight.shape[0] % groups:
    raise GraphError(f"weight {weight.shape} in {groups} groups does not fit an input of {shape}")
  if bias.shape != weight.shape[:1]:
    raise GraphError(f"bias has shape {bias.shape}, the weight {weight.shape}")
  stride = _whole(node, "stride", axes, 1)
  dilation = _whole(node, "dilation", axes, 1)
  extent = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
  if isinstance(node.padding, str):
    if node.padding not in ("same", "valid") or (node.padding == "same" and max(stride) > 1):
      raise GraphError(f"padding {node.padding!r} with stride {stride}")
    padding = [(e // 2, e - e // 2) if node.padding == "same" else (0, 0) for e in extent]
  else:
    padding = [(p, p) for p in _whole(node, "padding", axes, 0)]
  out = [(n + sum(p) - e - 1) // s + 1 for n, p, e, s in zip(shape[1:], padding, extent, stride)]
  letters = "HW"[-axes:]
  numbers = (f"NC{letters}", f"OI{letters}", f"NC{letters}")

  def function(params, x):
    convolve = lambda x: jax.lax.conv_general_dilated(
      x,
      params["weight"],
      stride,
      padding,
      rhs_dilation=dilation,
      dimension_numbers=numbers,
      feature_group_count=groups,
      precision="highest",
    )
    return _folded(convolve, x) + params["bias"].reshape(1, 1, -1, *(1,) * axes)

  return _plain((weight.shape[0], *out), {"weight": weight, "bias": bias}, function)


def _pool(node, shape, setting):
  """Sums of windows; the mean counts the zeros of the padding."""
  if len(shape) != 3:
    raise GraphError(f"an input of shape {shape}, not of 3 axes")
  size = _whole(node, "kernel_size", 2, 1)
  stride = _whole(node, "stride", 2, 1)
  padding = [(p, p) for p in _whole(node, "padding", 2, 0)]
  out = [(n + sum(p) - k) // s + 1 for n, p, k, s in zip(shape[1:], padding, size, stride)]
  count = math.prod(size) if kind(node) == "AvgPool2d" else 1
  add = lambda x: jax.lax.reduce_window(
    x, 0.0, jax.lax.add, (1, 1, *size), (1, 1, *stride), [(0, 0), (0, 0), *padding]
  )
  return _plain((shape[0], *out), {}, lambda params, x: _folded(add, x) / count)


def _threshold(node, shape, setting):
  params = _values(node, ("threshold",), shape)
  fire = lambda params, x: spike(setting.derivative, x - _spread(params, 2)["threshold"])
  return _plain(shape, params, fire)


def _neurons(node, shape, setting):
  leaks, fires = kind(node).startswith("LI"), kind(node).endswith("IF")
  fields = ["r"] + ["tau", "v_leak"] * leaks + ["v_threshold", "v_reset"] * fires
  params, dt = _values(node, fields, shape), setting.dt()

  def apply(params, state, x):
    p = _spread(params, 1)

    def one(v, x):
      if leaks:
        v = v + (p["r"] * x - (v - p["v_leak"])) / (p["tau"] / dt)
      else:
        v = v + p["r"] * dt * x
      if not fires:
        return v, v
      spikes = spike(setting.derivative, v - p["v_threshold"])
      fired = jax.lax.stop_gradient(spikes)
      return (1 - fired) * v + p["v_reset"] * fired, spikes

    state, y = jax.lax.scan(one, state, x)
    return y, state

  rest = params["v_reset"] if fires else params["v_leak"] if leaks else np.float32(0)
  return Layer(shape, params, np.broadcast_to(rest, shape), apply)


def _delay(node, shape, setting):
  """What came `delay` before; zeros before the first step. The state is what is still to come."""
  delay = _values(node, ("delay",), shape)["delay"] / setting.dt()
  steps = np.rint(delay).astype(np.int64)
  if (np.abs(delay - steps) > 1e-3).any() or (steps < 0).any() or steps.max() > 2**20:
    raise GraphError("delays must be whole numbers of time steps")
  most = int(steps.max())

  def apply(params, state, x):
    past = jnp.concatenate([jnp.moveaxis(state, 1, 0).astype(x.dtype), x])
    late = np.broadcast_to(most - steps, shape)[None, None]
    when = jnp.arange(len(x)).reshape(-1, *(1,) * (x.ndim - 1)) + late
    y = jnp.take_along_axis(past, jnp.broadcast_to(when, x.shape), axis=0)
    return y, jnp.moveaxis(past[len(x) :], 0, 1)

  return Layer(shape, {}, np.zeros((most, *shape), np.float32), apply)


BUILDERS: dict[str, Callable[[Any, Shape, Setting], Layer]] = {
  "Input": _pass,
  "Output": _pass,
  "Affine": _affine,
  "Linear": _affine,
  "Scale": _scale,
  "Flatten": _flatten,
  "Conv1d": _conv,
  "Conv2d": _conv,
  "SumPool2d": _pool,
  "AvgPool2d": _pool,
  "Threshold": _threshold,
  "Delay": _delay,
  "I": _neurons,
  "LI": _neurons,
  "IF": _neurons,
  "LIF": _neurons,
}
