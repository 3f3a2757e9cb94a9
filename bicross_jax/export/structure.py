"""Rules of primitives that move numbers: shapes, slices, padding, gather and scatter."""

import math
from typing import NamedTuple

import jax
import numpy as np

from bicross_jax import errors
from bicross_jax.export.graph import Graph, Operand, plain
from bicross_jax.export.trace import Broadcast, rule

_MODE = jax.lax.GatherScatterMode


@rule("broadcast_in_dim", lazy=True)
def _broadcast(graph, eqn, x, *_):
  shape, axes = eqn.params["shape"], eqn.params["broadcast_dimensions"]
  given = eqn.invars[0].aval.shape
  if isinstance(x, Broadcast):
    x, given = x.base, x.base_shape
    axes = axes[len(axes) - len(given) :]
  base = [1] * len(shape)
  for axis, size in zip(axes, given, strict=True):
    base[axis] = size
  base = tuple(base)
  x = graph.reshape(x, base) if base != tuple(given) else x
  return x if base == tuple(shape) else Broadcast(x, base, tuple(shape))


@rule("reshape", "squeeze", "expand_dims")
def _reshape(graph, eqn, x, *_):
  return graph.reshape(x, eqn.outvars[0].aval.shape)


@rule("transpose")
def _transpose(graph, eqn, x):
  return graph.transpose(x, eqn.params["permutation"])


@rule("rev")
def _rev(graph, eqn, x):
  return graph.flip(x, eqn.params["dimensions"])


@rule("concatenate")
def _concatenate(graph, eqn, *operands):
  filled = [x for x, v in zip(operands, eqn.invars, strict=True) if 0 not in v.aval.shape]
  return graph.add("Concat", *filled, axis=eqn.params["dimension"])


@rule("stack")
def _stack(graph, eqn, *operands):
  axis, shape = eqn.params["axis"], eqn.invars[0].aval.shape
  axis %= len(shape) + 1
  apart = (*shape[:axis], 1, *shape[axis:])
  return graph.add("Concat", *(graph.reshape(x, apart) for x in operands), axis=axis)


@rule("tile")
def _tile(graph, eqn, x):
  shape, reps = eqn.invars[0].aval.shape, eqn.params["reps"]
  x = graph.reshape(x, (*[1] * (len(reps) - len(shape)), *shape))
  return graph.add("Tile", x, np.array(reps, np.int64))


@rule("split")
def _split(graph, eqn, x):
  axis, shape = eqn.params["axis"], eqn.invars[0].aval.shape
  out, start = [], 0
  for size in eqn.params["sizes"]:
    starts, ends = [0] * len(shape), list(shape)
    starts[axis], ends[axis] = start, start + size
    out.append(graph.slice(x, starts, ends))
    start += size
  return out


@rule("slice")
def _slice(graph, eqn, x):
  p = eqn.params
  return graph.slice(x, p["start_indices"], p["limit_indices"], p["strides"])


@rule("pad")
def _pad(graph, eqn, x, value):
  return pad(graph, x, value, eqn.invars[0].aval.shape, eqn.params["padding_config"])


def pad(graph: Graph, x: Operand, value: Operand, shape, config) -> Operand:
  """Padding before, after and between the numbers of every axis; negative numbers cut.

  Args:
    graph: where nodes are added.
    x: float or integer [*shape].
    value: what is put there, [].
    shape: of x.
    config: (before, after, between) for every axis.
  """
  shape = list(shape)
  for axis, (_, _, between) in enumerate(config):
    if between:
      apart = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
      filled = [*shape[: axis + 1], between, *shape[axis + 1 :]]
      x = graph.add("Concat", graph.reshape(x, apart), graph.expand(value, filled), axis=axis + 1)
      shape[axis] *= between + 1
      x = graph.reshape(x, shape)
      shape[axis] -= between
      x = graph.slice(x, [0] * len(shape), shape)
  low, high, _ = zip(*config, strict=True)
  if min(*low, *high, 0) < 0:
    starts = [max(0, -n) for n in low]
    ends = [size - max(0, -n) for size, n in zip(shape, high, strict=True)]
    x = graph.slice(x, starts, ends)
  if max(*low, *high, 0) <= 0:
    return x
  return graph.add("Pad", x, np.array([max(0, n) for n in (*low, *high)], np.int64), value)


@rule("dynamic_slice")
def _dynamic_slice(graph, eqn, x, *starts):
  shape, sizes = eqn.invars[0].aval.shape, eqn.params["slice_sizes"]
  if not shape:
    return x
  starts = _starts(graph, eqn, starts, shape, sizes, 1)
  axes = np.arange(len(shape), dtype=np.int64)
  return graph.add("Slice", x, starts, graph.add("Add", starts, np.array(sizes, np.int64)), axes)


def _starts(graph, eqn, starts, shape, sizes, first):
  """int64[rank]: where a slice begins, moved inside the array."""
  atoms = eqn.invars[first : first + len(shape)]
  starts = [graph.cast(s, a.aval.dtype, np.int64) for s, a in zip(starts, atoms, strict=True)]
  start = graph.add("Concat", *(graph.reshape(s, (1,)) for s in starts), axis=0)
  limit = np.array([n - size for n, size in zip(shape, sizes, strict=True)], np.int64)
  return graph.add("Min", graph.add("Max", start, np.zeros(len(shape), np.int64)), limit)


@rule("dynamic_update_slice")
def _dynamic_update_slice(graph, eqn, x, update, *starts):
  shape, sizes = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape
  if not shape:
    return update
  starts, strides = _starts(graph, eqn, starts, shape, sizes, 2), _strides(shape)
  offset = sum(
    (np.arange(n) * s).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    for axis, (n, s) in enumerate(zip(sizes, strides, strict=True))
  )
  start = graph.add("ReduceSum", graph.add("Mul", starts, np.array(strides, np.int64)), keepdims=0)
  index = graph.reshape(graph.add("Add", start, offset.astype(np.int64)), (-1,))
  flat = graph.add(
    "ScatterElements", graph.reshape(x, (-1,)), index, graph.reshape(update, (-1,)), axis=0
  )
  return graph.reshape(flat, shape)


class _Places(NamedTuple):
  """Where in an array the windows of a gather or scatter lie.

  Attributes:
    shape: of the array.
    window: axes of the windows among those of the values (gathered, or to be scattered).
    dropped: axes of the array that windows do not have.
    mapped: axes of the array that the index vectors speak of.
    batched: pairs (axis of the array, axis of the indices) that go together.
    sizes: of a window along every axis of the array.
  """

  shape: tuple[int, ...]
  window: tuple[int, ...]
  dropped: tuple[int, ...]
  mapped: tuple[int, ...]
  batched: tuple[tuple[int, int], ...]
  sizes: tuple[int, ...]


def _strides(shape):
  return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _flat_index(graph: Graph, places: _Places, indices: Operand, batch) -> tuple[Operand, Operand]:
  """(place of every value in the flattened array, whether its window lies inside), int64 and bool.

  Args:
    graph: where nodes are added.
    places: of the windows.
    indices: int64[*batch, len(mapped)].
    batch: a shape.
  """
  strides, rank = _strides(places.shape), len(batch) + len(places.window)
  others = [axis for axis in range(rank) if axis not in places.window]
  spread = [1] * rank
  for axis, size in zip(others, batch, strict=True):
    spread[axis] = size
  rows = graph.reshape(indices, (-1, len(places.mapped)))
  limit = np.array([places.shape[d] - places.sizes[d] for d in places.mapped], np.int64)
  zero = np.zeros_like(limit)
  fits = graph.add(
    "And", graph.add("GreaterOrEqual", rows, zero), graph.add("LessOrEqual", rows, limit)
  )
  fits = graph.cast(fits, bool, np.int32)
  fits = graph.add("ReduceMin", fits, np.array([1], np.int64), keepdims=0)
  inside = graph.add("Min", graph.add("Max", rows, zero), limit)
  steps = np.array([strides[d] for d in places.mapped], np.int64)
  start = graph.add(
    "ReduceSum", graph.add("Mul", inside, steps), np.array([1], np.int64), keepdims=0
  )
  start = graph.reshape(start, spread)

  def along(axis, numbers):
    return numbers.reshape([-1 if i == axis else 1 for i in range(rank)]).astype(np.int64)

  offset = np.zeros([1] * rank, np.int64)
  for d, axis in places.batched:
    offset = offset + along(others[axis], np.arange(batch[axis]) * strides[d])
  gone = (*places.dropped, *(d for d, _ in places.batched))
  kept = [d for d in range(len(places.shape)) if d not in gone]
  for axis, d in zip(places.window, kept, strict=True):
    offset = offset + along(axis, np.arange(places.sizes[d]) * strides[d])
  return graph.add("Add", start, offset), graph.cast(graph.reshape(fits, spread), np.int32, bool)


@rule("gather")
def _gather(graph, eqn, x, indices):
  numbers, mode = eqn.params["dimension_numbers"], eqn.params["mode"]
  array, index = (atom.aval for atom in eqn.invars)
  shape, sizes, batch = array.shape, eqn.params["slice_sizes"], index.shape[:-1]
  indices = graph.cast(indices, index.dtype, np.int64)
  out = eqn.outvars[0].aval
  bounds = np.array([shape[d] - sizes[d] for d in numbers.start_index_map], np.int64)
  safe = mode in (_MODE.PROMISE_IN_BOUNDS, _MODE.CLIP, None)  # XLA clips both
  if isinstance(indices, np.ndarray):
    safe = safe or bool(np.all((indices >= 0) & (indices <= bounds)))
  axis = _single_axis(numbers, shape, sizes, len(batch), len(out.shape))
  if safe and axis is not None:
    if not isinstance(indices, np.ndarray):
      indices = graph.add("Min", graph.add("Max", indices, np.zeros_like(bounds)), bounds)
    else:
      indices = np.clip(indices, 0, bounds)
    return graph.add("Gather", x, graph.reshape(indices, batch), axis=axis)
  places = _Places(
    shape,
    numbers.offset_dims,
    numbers.collapsed_slice_dims,
    numbers.start_index_map,
    tuple(zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)),
    sizes,
  )
  place, inside = _flat_index(graph, places, indices, batch)
  values = graph.add("Gather", graph.reshape(x, (-1,)), place)
  if safe:
    return values
  fill = eqn.params["fill_value"]
  if fill is None:
    kind = np.dtype(plain(out.dtype))
    fill = np.nan if kind.kind == "f" else True if kind.kind == "b" else None
    if fill is None:
      fill = np.iinfo(kind).min if kind.kind == "i" else np.iinfo(kind).max
  dtype = plain(out.dtype)
  wide = np.dtype(np.int64) if dtype.kind in "biu" else dtype
  chosen = graph.add(
    "Where", inside, graph.cast(values, dtype, wide), np.array(fill, dtype).astype(wide)
  )
  return graph.cast(chosen, wide, dtype)


def _single_axis(numbers, shape, sizes, batch: int, rank: int) -> int | None:
  """The axis that whole slices are taken along, or None for any other gather."""
  if len(numbers.start_index_map) != 1 or numbers.operand_batching_dims:
    return None
  (axis,) = numbers.start_index_map
  whole = all(size == n for d, (size, n) in enumerate(zip(sizes, shape, strict=True)) if d != axis)
  others = [d for d in range(rank) if not axis <= d < axis + batch]
  simple = numbers.collapsed_slice_dims == (axis,) and list(numbers.offset_dims) == others
  return axis if whole and sizes[axis] == 1 and simple else None


_REDUCTIONS = {
  **{"scatter": "none", "scatter-add": "add", "scatter_add": "add"},
  **{"scatter_mul": "mul", "scatter_min": "min", "scatter_max": "max"},
  **{"scatter-mul": "mul", "scatter-min": "min", "scatter-max": "max"},
}


@rule(*_REDUCTIONS)
def _scatter(graph, eqn, x, indices, updates):
  """Updates outside of the array go to one more place at its end, which is cut off."""
  numbers = eqn.params["dimension_numbers"]
  array, index, update = (atom.aval for atom in eqn.invars)
  if eqn.params["mode"] == _MODE.CLIP:
    raise errors.UserError("a scatter that clips its indices has no rule in ONNX; use mode='drop'")
  batched = tuple(
    zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)
  )
  gone = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
  window = iter(numbers.update_window_dims)
  sizes = [1 if d in gone else update.shape[next(window)] for d in range(len(array.shape))]
  places = _Places(
    array.shape,
    numbers.update_window_dims,
    numbers.inserted_window_dims,
    numbers.scatter_dims_to_operand_dims,
    batched,
    tuple(sizes),
  )
  indices = graph.cast(indices, index.dtype, np.int64)
  place, inside = _flat_index(graph, places, indices, index.shape[:-1])
  total = math.prod(array.shape)
  place = graph.add("Where", inside, place, np.array(total, np.int64))
  place = graph.reshape(graph.expand(place, update.shape), (-1,))
  dtype = plain(array.dtype)
  longer = graph.add("Concat", graph.reshape(x, (-1,)), np.zeros(1, dtype), axis=0)
  flat = graph.add(
    "ScatterElements",
    longer,
    place,
    graph.reshape(updates, (-1,)),
    axis=0,
    reduction=_REDUCTIONS[eqn.primitive.name],
  )
  return graph.reshape(graph.slice(flat, [0], [total]), array.shape)


@rule("sort")
def _sort(graph, eqn, *operands):
  if eqn.params["num_keys"] != 1:
    raise errors.UserError("a sort by several keys has no rule in ONNX")
  atoms, axis = eqn.invars, eqn.params["dimension"]
  count = np.array([atoms[0].aval.shape[axis]], np.int64)
  first, order = graph.add("TopK", operands[0], count, outputs=2, axis=axis, largest=0, sorted=1)
  return [first, *(graph.add("GatherElements", x, order, axis=axis) for x in operands[1:])]


@rule("top_k")
def _top_k(graph, eqn, x):
  axis = eqn.params.get("axis", -1)
  count = np.array([eqn.params["k"]], np.int64)
  values, order = graph.add("TopK", x, count, outputs=2, axis=axis, largest=1, sorted=1)
  return [values, graph.cast(order, np.int64, eqn.outvars[1].aval.dtype)]
