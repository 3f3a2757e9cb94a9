"""Rules of primitives that add numbers up: products of matrices, convolutions, reductions, pools."""

import math

import numpy as np

from bicross_jax import errors
from bicross_jax.export import structure
from bicross_jax.export.graph import plain
from bicross_jax.export.trace import rule

_REDUCED = {
  **{"reduce_sum": "ReduceSum", "reduce_prod": "ReduceProd"},
  **{"reduce_max": "ReduceMax", "reduce_min": "ReduceMin"},
  **{"reduce_and": "ReduceMin", "reduce_or": "ReduceMax"},
}


@rule("dot_general")
def _dot_general(graph, eqn, x, y):
  """One product of matrices, behind axes that both have."""
  (contract_x, contract_y), (batch_x, batch_y) = eqn.params["dimension_numbers"]
  (a, b), out = (atom.aval for atom in eqn.invars), eqn.outvars[0].aval
  free_x = [d for d in range(len(a.shape)) if d not in (*contract_x, *batch_x)]
  free_y = [d for d in range(len(b.shape)) if d not in (*contract_y, *batch_y)]
  size = lambda shape, axes: math.prod(shape[d] for d in axes)
  lead = [size(a.shape, batch_x)] if batch_x else []
  inner, dtype = size(a.shape, contract_x), plain(out.dtype)
  x = graph.transpose(x, (*batch_x, *free_x, *contract_x))
  y = graph.transpose(y, (*batch_y, *contract_y, *free_y))
  x = graph.reshape(x, (*lead, size(a.shape, free_x), inner))
  y = graph.reshape(y, (*lead, inner, size(b.shape, free_y)))
  x, y = graph.cast(x, a.dtype, dtype), graph.cast(y, b.dtype, dtype)
  return graph.reshape(graph.apply("MatMul", [x, y], dtype), out.shape)


@rule("conv_general_dilated")
def _conv(graph, eqn, x, kernel):
  p = eqn.params
  lhs, rhs, out = p["dimension_numbers"]
  if p["batch_group_count"] != 1:
    raise errors.UserError("a convolution with groups of the batch has no rule in ONNX")
  x = graph.transpose(x, lhs)
  kernel = graph.transpose(kernel, rhs)
  shape = [eqn.invars[0].aval.shape[d] for d in lhs]
  sizes = [eqn.invars[1].aval.shape[d] for d in rhs[2:]]
  dtype = plain(eqn.outvars[0].aval.dtype)
  groups, padding = p["feature_group_count"], p["padding"]
  attributes = dict(dilations=list(p["rhs_dilation"]), strides=list(p["window_strides"]))
  if any(d != 1 for d in p["lhs_dilation"]) and _transposes(p, sizes):
    kernel = graph.flip(
      graph.transpose(kernel, (1, 0, *range(2, len(shape)))), range(2, len(shape))
    )
    pads = [[k - 1 - side for k, side in zip(sizes, sides)] for sides in zip(*padding)]
    y = graph.add(
      "ConvTranspose", x, kernel, strides=list(p["lhs_dilation"]), pads=[*pads[0], *pads[1]]
    )
  else:
    config = [(0, 0, 0), (0, 0, 0)]
    inner = any(d != 1 for d in p["lhs_dilation"]) or min(map(min, padding)) < 0
    for (low, high), dilation in zip(padding, p["lhs_dilation"], strict=True):
      config.append((low, high, dilation - 1) if inner else (0, 0, 0))
    x = structure.pad(graph, x, np.array(0, dtype), shape, config) if inner else x
    pads = [0] * 2 * len(sizes) if inner else [n for side in zip(*padding) for n in side]
    y = graph.add("Conv", x, kernel, group=groups, pads=pads, **attributes)
  return graph.transpose(y, np.argsort(out))


def _transposes(p, sizes) -> bool:
  """Whether a convolution of an input with gaps is a transposed one of ONNX."""
  plain_steps = all(d == 1 for d in (*p["window_strides"], *p["rhs_dilation"]))
  pads = [k - 1 - side for k, sides in zip(sizes, p["padding"], strict=True) for side in sides]
  return plain_steps and p["feature_group_count"] == 1 and min(pads) >= 0


@rule(*_REDUCED)
def _reduce(graph, eqn, x):
  axes, dtype = eqn.params["axes"], plain(eqn.invars[0].aval.dtype)
  if not axes:
    return x
  axes = np.array(axes, np.int64)
  computed = np.dtype(np.int32) if dtype.kind == "b" else dtype
  op = _REDUCED[eqn.primitive.name]
  wide = graph.cast(x, dtype, computed)
  if computed.kind in "iu" and computed.itemsize < 4 or computed.name in ("uint32", "uint64"):
    wide, computed = graph.cast(wide, computed, np.int64), np.dtype(np.int64)
  return graph.cast(graph.add(op, wide, axes, keepdims=0), computed, dtype)


@rule("argmax", "argmin")
def _arg(graph, eqn, x):
  op = "ArgMax" if eqn.primitive.name == "argmax" else "ArgMin"
  (axis,) = eqn.params["axes"]
  dtype = plain(eqn.invars[0].aval.dtype)
  wide = np.dtype(np.int32) if dtype.kind == "b" or dtype.itemsize < 4 else dtype
  index = graph.add(op, graph.cast(x, dtype, wide), axis=axis, keepdims=0)
  return graph.cast(index, np.int64, eqn.outvars[0].aval.dtype)


@rule("cumsum")
def _cumsum(graph, eqn, x):
  axis = np.array(eqn.params["axis"], np.int64)
  dtype, reverse = plain(eqn.invars[0].aval.dtype), int(eqn.params["reverse"])
  wide = dtype if dtype.kind == "f" else np.dtype(np.int64)
  return graph.cast(
    graph.add("CumSum", graph.cast(x, dtype, wide), axis, reverse=reverse), wide, dtype
  )


@rule("reduce_window_max", "reduce_window_sum")
def _pool(graph, eqn, x):
  """Over the axes that windows have; all others are one."""
  p, shape = eqn.params, eqn.invars[0].aval.shape
  whole = zip(p["window_dimensions"], p["window_strides"], p["padding"], strict=True)
  axes = [d for d, (size, step, pad) in enumerate(whole) if (size, step, *pad) != (1, 1, 0, 0)]
  if any(d != 1 for d in p["base_dilation"]) or len(axes) > 3:
    raise errors.UserError("a pool over more than three axes, or with gaps, has no rule in ONNX")
  if not axes:
    return x
  others = [d for d in range(len(shape)) if d not in axes]
  order = [*others, *axes]
  x = graph.reshape(graph.transpose(x, order), (-1, 1, *(shape[d] for d in axes)))
  of = lambda name: [p[name][d] for d in axes]
  sizes, padding = of("window_dimensions"), of("padding")
  pads = [n for side in zip(*padding) for n in side]
  attributes = dict(kernel_shape=sizes, strides=of("window_strides"), pads=pads)
  dtype = plain(eqn.invars[0].aval.dtype)
  if eqn.primitive.name == "reduce_window_max":
    y = graph.add("MaxPool", x, dilations=of("window_dilation"), **attributes)
  elif any(d != 1 for d in p["window_dilation"]):
    raise errors.UserError("a sum over windows with gaps has no rule in ONNX")
  else:
    mean = graph.add("AveragePool", x, count_include_pad=1, **attributes)
    y = graph.add("Mul", mean, np.array(math.prod(sizes), dtype))
  out = eqn.outvars[0].aval.shape
  return graph.transpose(graph.reshape(y, [out[d] for d in order]), np.argsort(order))
