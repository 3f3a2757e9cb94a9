"""An ONNX graph in the making, from operands that are names of its values or NumPy constants.

ONNX Runtime computes most operators for 32 and 64-bit numbers alone; `Graph.apply` therefore widens
small integers and narrows the result again. bfloat16 becomes float32, which holds all its numbers.
"""

from collections.abc import Mapping, Sequence
import math
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

if TYPE_CHECKING:  # an optional package
  import onnx

OPSET = 18  # ONNX Runtime 1.14 and later
_IR = 9  # the file format that goes with it
_COMPUTED = ("float32", "float64", "float16", "int32", "int64")

Operand = str | np.ndarray


def plain(dtype) -> np.dtype:
  """The type that numbers of a type of JAX have in the graph."""
  dtype = np.dtype(dtype)
  return np.dtype(np.float32) if dtype == ml_dtypes.bfloat16 else dtype


def wide(dtype) -> np.dtype:
  """The type that a type is computed in."""
  dtype = plain(dtype)
  if dtype.name in _COMPUTED:
    return dtype
  return np.dtype(np.int64 if dtype.itemsize >= 4 else np.int32)


class Graph:
  """Nodes and constants, in order."""

  def __init__(self):
    self._nodes: list[onnx.NodeProto] = []
    self._constants: list[onnx.TensorProto] = []
    self._small: dict[tuple, str] = {}
    self._names = 0

  def _name(self) -> str:
    self._names += 1
    return f"v{self._names}"

  def name_of(self, x: Operand) -> str:
    """The name of an operand; a constant becomes an initializer."""
    from onnx import numpy_helper

    if isinstance(x, str):
      return x
    x = np.asarray(x, plain(x.dtype), order="C")
    key = (x.dtype.str, x.shape, x.tobytes()) if x.size <= 1024 else None
    if key not in self._small or key is None:
      name = self._name()
      self._constants.append(numpy_helper.from_array(x, name))
      if key is None:
        return name
      self._small[key] = name
    return self._small[key]

  def add(self, op: str, *operands: Operand, outputs: int = 1, **attributes):
    """A node of an operator; the name of its value, or their list."""
    from onnx import helper

    names = [self._name() for _ in range(outputs)]
    inputs = [self.name_of(x) for x in operands]
    self._nodes.append(helper.make_node(op, inputs, names, **attributes))
    return names[0] if outputs == 1 else names

  def apply(self, op: str, operands: Sequence[Operand], dtype, out=None, **attributes) -> str:
    """As `add`, for an operator that is computed in wide numbers.

    Args:
      op: of one value.
      operands: all of type `dtype`.
      dtype: theirs.
      out: type of the value, where it is another than theirs.
    """
    dtype, computed = plain(dtype), wide(dtype)
    y = self.add(op, *(self.cast(x, dtype, computed) for x in operands), **attributes)
    return y if out is not None else self.cast(y, computed, dtype)

  def cast(self, x: Operand, old, new) -> Operand:
    """The same numbers in another type."""
    old, new = plain(old), plain(new)
    if old == new:
      return x
    if isinstance(x, np.ndarray):
      return x.astype(new)
    from onnx import helper

    return self.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(new))

  def reshape(self, x: Operand, shape: Sequence[int]) -> Operand:
    """The same numbers in another shape."""
    if isinstance(x, np.ndarray):
      return x.reshape(shape)
    return self.add("Reshape", x, np.array(shape, np.int64))

  def transpose(self, x: Operand, order: Sequence[int]) -> Operand:
    """The axes in another order."""
    if list(order) == sorted(order):
      return x
    if isinstance(x, np.ndarray):
      return x.transpose(order)
    return self.add("Transpose", x, perm=[int(i) for i in order])

  def expand(self, x: Operand, shape: Sequence[int]) -> Operand:
    """Repeated along axes of length 1."""
    if isinstance(x, np.ndarray) and (x.shape == tuple(shape) or math.prod(shape) <= 1024):
      return np.broadcast_to(x, shape)
    return self.add("Expand", x, np.array(shape, np.int64))

  def slice(self, x: Operand, starts, ends, steps=None) -> Operand:
    """x[start:end:step] for every axis."""
    steps = [1] * len(starts) if steps is None else steps
    if isinstance(x, np.ndarray):
      return x[tuple(slice(a, b, s) for a, b, s in zip(starts, ends, steps, strict=True))]
    axes = range(len(starts))
    return self.add("Slice", x, *(np.array(list(v), np.int64) for v in (starts, ends, axes, steps)))

  def flip(self, x: Operand, axes: Sequence[int]) -> Operand:
    """Reversed along axes."""
    if isinstance(x, np.ndarray):
      return np.flip(x, axes)
    last, n = np.iinfo(np.int64).min, len(axes)
    return self.add(
      "Slice", x, *(np.array(v, np.int64) for v in ([-1] * n, [last] * n, axes, [-1] * n))
    )

  def model(
    self,
    inputs: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    outputs: Mapping[str, tuple[Operand, tuple[int, ...], np.dtype]],
    notes: Mapping[str, str],
  ) -> "onnx.ModelProto":
    """The whole.

    Args:
      inputs: {name: (shape, type)}; the names are operands already.
      outputs: {name: (operand, shape, type)}.
      notes: texts to keep in the file.
    """
    from onnx import helper

    def value(name, shape, dtype):
      return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(plain(dtype)), shape
      )

    for name, (x, _, _) in outputs.items():
      self._nodes.append(helper.make_node("Identity", [self.name_of(x)], [name]))
    graph = helper.make_graph(
      self._nodes,
      "predict",
      [value(name, *spec) for name, spec in inputs.items()],
      [value(name, *spec[1:]) for name, spec in outputs.items()],
      self._constants,
    )
    model = helper.make_model(
      graph,
      opset_imports=[helper.make_opsetid("", OPSET)],
      ir_version=_IR,
      producer_name="bicross_jax",
    )
    helper.set_model_props(model, dict(notes))
    return model
