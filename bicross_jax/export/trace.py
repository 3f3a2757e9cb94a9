"""A function of JAX as an ONNX graph: its jaxpr, primitive by primitive.

What depends on constants alone (weights that are standardised, tables of interpolation) is
computed here. `RULES` holds what is known of primitives; `export.elementwise`, `export.structure` and
`export.contractions` fill it.
"""

from collections.abc import Callable, Sequence
import math
from typing import Any, NamedTuple

from jax.extend import core
import numpy as np

from bicross_jax import errors
from bicross_jax.export.graph import Graph, Operand, plain

_FOLD = 1 << 20  # numbers; a constant that grows beyond is left to the runtime
_UNROLL = 1024  # steps of a scan
_CALLS = {  # primitive -> the parameter that holds what is called
  "jit": "jaxpr",
  "pjit": "jaxpr",
  "closed_call": "call_jaxpr",
  "core_call": "call_jaxpr",
  "custom_jvp_call": "call_jaxpr",
  "custom_vjp_call": "call_jaxpr",
  "custom_vjp_call_jaxpr": "fun_jaxpr",
  "checkpoint": "jaxpr",
  "remat2": "jaxpr",
}

# What depends on constants is computed by these where they are: JAX compiles every shape anew.
_NUMPY = {
  **{"add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum},
  **{"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal},
  **{"eq": np.equal, "neg": np.negative, "square": np.square},
}
_NUMPY_SHAPED = {
  "div": lambda p, x, y: x / y if x.dtype.kind == "f" else None,
  "rsqrt": lambda p, x: 1 / np.sqrt(x),
  "integer_pow": lambda p, x: x ** p["y"] if x.dtype.kind == "f" else None,
  "reduce_sum": lambda p, x: x.sum(p["axes"]) if x.dtype.kind == "f" else None,
  "transpose": lambda p, x: x.transpose(p["permutation"]),
  "select_n": lambda p, which, *cases: np.choose(which, cases) if len(cases) == 2 else None,
}

Rule = Callable[..., Any]  # (graph, equation, *operands) -> operand, or the list of several
RULES: dict[str, Rule] = {}
LAZY: set[str] = set()  # primitives that take operands which are not expanded yet


class Broadcast(NamedTuple):
  """An operand that stands for its repetition: operators of ONNX repeat axes of length 1."""

  base: Operand
  base_shape: tuple[int, ...]
  shape: tuple[int, ...]


def rule(*names: str, lazy: bool = False):
  """Declares the rule of some primitives."""

  def declare(function: Rule) -> Rule:
    RULES.update(dict.fromkeys(names, function))
    if lazy:
      LAZY.update(names)
    return function

  return declare


def convert(graph: Graph, closed, operands: Sequence[Any]) -> list[Any]:
  """The results of a closed jaxpr.

  Args:
    graph: where nodes are added.
    closed: the ClosedJaxpr.
    operands: of its inputs, in order.

  Raises:
    errors.UserError: primitives that have no rule; it lists them all.
  """
  unknown = sorted(_unknown(closed.jaxpr))
  if unknown:
    raise errors.UserError(f"no rule makes ONNX of these operations of JAX: {', '.join(unknown)}")
  return _run(graph, closed.jaxpr, closed.consts, operands)


def whole(graph: Graph, x: Operand | Broadcast) -> Operand:
  """An operand of its full shape."""
  return graph.expand(x.base, x.shape) if isinstance(x, Broadcast) else x


def _unknown(jaxpr) -> set[str]:
  """Names of the primitives without a rule, at any depth."""
  out = set()
  for eqn in jaxpr.eqns:
    name = eqn.primitive.name
    inner = _inner(eqn)
    if name not in RULES and name not in _CALLS and eqn.invars:
      out.add(name)
    for sub in inner:
      out |= _unknown(sub)
  return out


def _inner(eqn):
  """The jaxprs that an equation runs."""
  name = eqn.primitive.name
  found = [eqn.params[_CALLS[name]]] if name in _CALLS else []
  found += [eqn.params["jaxpr"]] if name == "scan" else []
  found += eqn.params["branches"] if name == "cond" else []
  return [getattr(sub, "jaxpr", sub) for sub in found]


def _run(graph, jaxpr, consts, operands):
  env = dict(zip(jaxpr.constvars, map(np.asarray, consts), strict=True))
  env.update(zip(jaxpr.invars, operands, strict=True))

  def read(atom):
    if isinstance(atom, core.Literal):
      return np.asarray(atom.val, plain(atom.aval.dtype))
    return env[atom]

  for eqn in jaxpr.eqns:
    values = _equation(graph, eqn, [read(atom) for atom in eqn.invars])
    env.update(zip(eqn.outvars, values, strict=True))
  return [read(atom) for atom in jaxpr.outvars]


def _equation(graph, eqn, operands) -> list[Any]:
  name = eqn.primitive.name
  if all(math.prod(v.aval.shape) == 0 for v in eqn.outvars):
    return [np.zeros(v.aval.shape, plain(v.aval.dtype)) for v in eqn.outvars]
  if name in _CALLS:
    sub = eqn.params[_CALLS[name]]
    return _run(graph, getattr(sub, "jaxpr", sub), getattr(sub, "consts", ()), operands)
  if name not in ("scan", "cond", "broadcast_in_dim", "convert_element_type") and _folds(
    eqn, operands
  ):
    return _computed(eqn, operands)
  if name not in LAZY:
    operands = [whole(graph, x) for x in operands]
  values = RULES[name](graph, eqn, *operands)
  return values if isinstance(values, list) else [values]


def _folds(eqn, operands) -> bool:
  """Whether an equation is computed here: of constants alone, and not much larger than they are."""
  bases = [x.base if isinstance(x, Broadcast) else x for x in operands]
  if not all(isinstance(x, np.ndarray) for x in bases):
    return False
  size = sum(math.prod(v.aval.shape) for v in eqn.outvars)
  return not operands or size <= max(_FOLD, *(x.size for x in bases))


def _computed(eqn, operands) -> list[np.ndarray]:
  values = [np.broadcast_to(x.base, x.shape) if isinstance(x, Broadcast) else x for x in operands]
  name, atom = eqn.primitive.name, eqn.outvars[0].aval
  out = None
  if name in _NUMPY:
    out = _NUMPY[name](*values)
  elif name in _NUMPY_SHAPED:
    out = _NUMPY_SHAPED[name](eqn.params, *values)
  elif name in ("reshape", "squeeze", "expand_dims"):
    out = values[0].reshape(atom.shape)
  if out is not None:
    return [np.asarray(out, plain(atom.dtype))]
  out = eqn.primitive.bind(*values, **eqn.params)
  out = out if eqn.primitive.multiple_results else [out]
  return [np.asarray(y).astype(plain(y.dtype)) for y in out]


@rule("scan")
def _scan(graph, eqn, *operands):
  """Step by step, without a loop in the graph."""
  params = eqn.params
  length, body = params["length"], params["jaxpr"]
  if length > _UNROLL:
    raise errors.UserError(f"a loop of {length} steps is too long for ONNX; {_UNROLL} at most")
  # What is read or stacked step by step has one axis more outside; versions of JAX do not agree
  # on how they count the rest.
  pairs = lambda outer, inner: zip(outer, inner, strict=True)
  same = lambda pair: pair[0].aval.ndim == pair[1].aval.ndim
  carried = sum(map(same, pairs(eqn.outvars, body.jaxpr.outvars)))
  first = sum(map(same, pairs(eqn.invars, body.jaxpr.invars))) - carried
  consts, carry = list(operands[:first]), list(operands[first : first + carried])
  sequences, shapes = operands[first + carried :], eqn.invars[first + carried :]
  steps = range(length)
  out: list[list[Any]] = []
  for i in reversed(steps) if params["reverse"] else steps:
    now = [_at(graph, x, i, atom.aval.shape) for x, atom in zip(sequences, shapes, strict=True)]
    results = _run(graph, body.jaxpr, body.consts, [*consts, *carry, *now])
    carry = results[:carried]
    out.append([whole(graph, y) for y in results[carried:]])
  out = out[::-1] if params["reverse"] else out
  stacked = []
  for atom, values in zip(eqn.outvars[carried:], zip(*out, strict=True), strict=True):
    shape = (1, *atom.aval.shape[1:])
    stacked.append(graph.add("Concat", *(graph.reshape(y, shape) for y in values), axis=0))
  return [*carry, *stacked]


def _at(graph, x, i, shape):
  """x[i]."""
  starts, ends = [i, *[0] * (len(shape) - 1)], [i + 1, *shape[1:]]
  return graph.reshape(graph.slice(x, starts, ends), shape[1:])


@rule("cond")
def _cond(graph, eqn, index, *operands):
  """The branch that is known to be taken; else all of them, of which one is selected."""
  branches = eqn.params["branches"]
  results = lambda branch: _run(graph, branch.jaxpr, branch.consts, operands)
  if isinstance(index, np.ndarray):
    return results(branches[int(np.clip(index, 0, len(branches) - 1))])
  chosen = [whole(graph, y) for y in results(branches[0])]
  index = graph.cast(index, eqn.invars[0].aval.dtype, np.int64)
  for i, branch in enumerate(branches[1:], 1):
    last = i == len(branches) - 1
    here = graph.add("GreaterOrEqual" if last else "Equal", index, np.array(i, np.int64))
    chosen = [
      graph.add("Where", here, whole(graph, new), old)
      for new, old in zip(results(branch), chosen, strict=True)
    ]
  return chosen
