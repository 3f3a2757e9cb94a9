"""Rules of primitives that treat every number by itself."""

import math

import numpy as np

from bicross_jax.export import trace
from bicross_jax.export.graph import Graph, plain, wide
from bicross_jax.export.trace import Broadcast, rule

_UNARY = {
  **{"neg": "Neg", "exp": "Exp", "log": "Log", "tanh": "Tanh", "logistic": "Sigmoid"},
  **{"sqrt": "Sqrt", "erf": "Erf", "abs": "Abs", "sign": "Sign", "floor": "Floor", "ceil": "Ceil"},
  **{"sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan"},
  **{"sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh"},
}
_BINARY = {
  **{"add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"},
  **{"max": "Max", "min": "Min", "pow": "Pow"},
}
_COMPARED = {
  **{"eq": "Equal", "gt": "Greater", "ge": "GreaterOrEqual"},
  **{"lt": "Less", "le": "LessOrEqual"},
}
_LOGICAL = {"and": "And", "or": "Or", "xor": "Xor"}
_SAME = (
  "copy",
  "copy_p",
  "stop_gradient",
  "reduce_precision",
  "device_put",
  "optimization_barrier",
)


def _dtype(eqn, index: int = 0):
  return plain(eqn.invars[index].aval.dtype)


def _fit(graph: Graph, eqn, operands):
  """Operands as they are where ONNX repeats them to the shape of the result, else expanded."""
  shape = eqn.outvars[0].aval.shape
  shapes = []
  for x, atom in zip(operands, eqn.invars, strict=True):
    shapes.append(x.base_shape if isinstance(x, Broadcast) else atom.aval.shape)
  if np.broadcast_shapes(*shapes) == shape:
    return [x.base if isinstance(x, Broadcast) else x for x in operands]
  return [trace.whole(graph, x) for x in operands]


@rule(*_UNARY)
def _unary(graph, eqn, x):
  return graph.apply(_UNARY[eqn.primitive.name], [x], _dtype(eqn))


@rule(*_BINARY, lazy=True)
def _binary(graph, eqn, *operands):
  name = eqn.primitive.name
  dtype, other = _dtype(eqn), _dtype(eqn, 1)
  x, y = _fit(graph, eqn, operands)
  return graph.apply(_BINARY[name], [x, graph.cast(y, other, dtype)], dtype)


@rule("ne", *_COMPARED, lazy=True)
def _compare(graph, eqn, *operands):
  name, operands = eqn.primitive.name, _fit(graph, eqn, operands)
  if name == "ne":
    return graph.add("Not", graph.apply("Equal", operands, _dtype(eqn), bool))
  return graph.apply(_COMPARED[name], operands, _dtype(eqn), bool)


@rule(*_LOGICAL, lazy=True)
def _logical(graph, eqn, *operands):
  op = _LOGICAL[eqn.primitive.name]
  return graph.add(op if _dtype(eqn).kind == "b" else f"Bitwise{op}", *_fit(graph, eqn, operands))


@rule("not")
def _not(graph, eqn, x):
  return graph.add("Not" if _dtype(eqn).kind == "b" else "BitwiseNot", x)


@rule("convert_element_type")
def _convert(graph, eqn, x):
  return graph.cast(x, _dtype(eqn), eqn.outvars[0].aval.dtype)


@rule(*_SAME)
def _same(graph, eqn, *operands):
  return list(operands)


@rule("rem", lazy=True)
def _rem(graph, eqn, *operands):
  return graph.apply("Mod", _fit(graph, eqn, operands), _dtype(eqn), fmod=1)


@rule("square")
def _square(graph, eqn, x):
  return graph.apply("Mul", [x, x], _dtype(eqn))


@rule("integer_pow")
def _integer_pow(graph, eqn, x):
  exponent, dtype = eqn.params["y"], _dtype(eqn)
  if exponent == 2:
    return graph.apply("Mul", [x, x], dtype)
  if exponent == -1:
    return graph.add("Reciprocal", x)
  return graph.apply("Pow", [x, np.array(exponent, dtype)], dtype)


@rule("rsqrt")
def _rsqrt(graph, eqn, x):
  return graph.add("Reciprocal", graph.add("Sqrt", x))


@rule("cbrt")
def _cbrt(graph, eqn, x):
  root = graph.add("Pow", graph.add("Abs", x), np.array(1 / 3, _dtype(eqn)))
  return graph.add("Mul", graph.add("Sign", x), root)


@rule("exp2")
def _exp2(graph, eqn, x):
  return graph.add("Exp", graph.add("Mul", x, np.array(math.log(2), _dtype(eqn))))


@rule("log1p")
def _log1p(graph, eqn, x):
  """log(1 + x) * x / ((1 + x) - 1), which loses no digits of small numbers (Goldberg 1991)."""
  one = np.array(1, _dtype(eqn))
  total = graph.add("Add", x, one)
  rest = graph.add("Sub", total, one)
  log = graph.add("Log", total)
  exact = graph.add("Mul", log, graph.add("Div", x, rest))
  small = graph.add("Equal", rest, np.array(0, _dtype(eqn)))
  large = graph.add("IsInf", x)
  return graph.add("Where", small, x, graph.add("Where", large, log, exact))


@rule("expm1")
def _expm1(graph, eqn, x):
  """tanh(x / 2) (exp(x) + 1), which loses no digits of small numbers."""
  half = graph.add("Tanh", graph.add("Mul", x, np.array(0.5, _dtype(eqn))))
  return graph.add("Mul", half, graph.add("Add", graph.add("Exp", x), np.array(1, _dtype(eqn))))


@rule("erfc")
def _erfc(graph, eqn, x):
  return graph.add("Sub", np.array(1, _dtype(eqn)), graph.add("Erf", x))


@rule("is_finite")
def _is_finite(graph, eqn, x):
  return graph.add("Not", graph.add("Or", graph.add("IsNaN", x), graph.add("IsInf", x)))


@rule("round")
def _round(graph, eqn, x):
  if int(eqn.params["rounding_method"]) == 1:  # halves to even
    return graph.add("Round", x)
  away = graph.add("Floor", graph.add("Add", graph.add("Abs", x), np.array(0.5, _dtype(eqn))))
  return graph.add("Mul", graph.add("Sign", x), away)


@rule("atan2")
def _atan2(graph, eqn, y, x):
  dtype = _dtype(eqn)
  zero = np.array(0, dtype)
  angle = graph.add("Atan", graph.add("Div", y, x))
  turn = graph.add(
    "Where",
    graph.add("GreaterOrEqual", y, zero),
    np.array(math.pi, dtype),
    np.array(-math.pi, dtype),
  )
  angle = graph.add("Where", graph.add("Less", x, zero), graph.add("Add", angle, turn), angle)
  nowhere = graph.add("And", graph.add("Equal", x, zero), graph.add("Equal", y, zero))
  return graph.add("Where", nowhere, zero, angle)


@rule("clamp", lazy=True)
def _clamp(graph, eqn, low, x, high):
  dtype = _dtype(eqn, 1)
  low, x, high = _fit(graph, eqn, (low, x, high))
  return graph.apply("Min", [graph.apply("Max", [x, low], dtype), high], dtype)


@rule("select_n", lazy=True)
def _select_n(graph, eqn, *operands):
  which, *cases = _fit(graph, eqn, operands)
  dtype, kind = plain(eqn.outvars[0].aval.dtype), _dtype(eqn)
  computed = wide(dtype)
  cases = [graph.cast(x, dtype, computed) for x in cases]
  if kind.kind == "b":
    out = graph.add("Where", which, cases[1], cases[0])
  else:
    out, which = cases[0], graph.cast(which, kind, np.int64)
    for i, case in enumerate(cases[1:], 1):
      out = graph.add("Where", graph.add("Equal", which, np.array(i, np.int64)), case, out)
  return graph.cast(out, computed, dtype)


@rule("shift_left", "shift_right_logical", lazy=True)
def _shift(graph, eqn, *operands):
  """Both as unsigned numbers of their own length: a longer one would have the sign in front."""
  dtype, bits = _dtype(eqn), 8 * _dtype(eqn).itemsize
  own, computed = np.dtype(f"u{dtype.itemsize}"), np.dtype(np.uint32 if bits <= 32 else np.uint64)
  x, by = (graph.cast(graph.cast(v, dtype, own), own, computed) for v in _fit(graph, eqn, operands))
  direction = "LEFT" if eqn.primitive.name == "shift_left" else "RIGHT"
  shifted = graph.add("BitShift", x, by, direction=direction)
  return graph.cast(graph.cast(shifted, computed, own), own, dtype)


@rule("shift_right_arithmetic", lazy=True)
def _shift_arithmetic(graph, eqn, *operands):
  """The quotient by a power of two, rounded down."""
  dtype = _dtype(eqn)
  x, by = (graph.cast(v, dtype, np.int64) for v in _fit(graph, eqn, operands))
  by = graph.cast(by, np.int64, np.uint64)
  power = graph.add("BitShift", np.array(1, np.uint64), by, direction="LEFT")
  power = graph.cast(power, np.uint64, np.int64)
  rest = graph.add("Mod", x, power)
  return graph.cast(graph.add("Div", graph.add("Sub", x, rest), power), np.int64, dtype)


@rule("population_count")
def _population_count(graph, eqn, x):
  """By a table of bytes."""
  dtype = _dtype(eqn)
  table = np.array([i.bit_count() for i in range(256)], np.int32)
  own = np.dtype(f"u{dtype.itemsize}")
  x = graph.cast(graph.cast(x, dtype, own), own, np.uint64)
  total = None
  for byte in range(dtype.itemsize):
    part = graph.add("BitShift", x, np.array(8 * byte, np.uint64), direction="RIGHT")
    part = graph.cast(graph.add("BitwiseAnd", part, np.array(255, np.uint64)), np.uint64, np.int64)
    count = graph.add("Gather", table, part)
    total = count if total is None else graph.add("Add", total, count)
  return graph.cast(total, np.int32, dtype)
