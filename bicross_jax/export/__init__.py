"""Networks as ONNX files, which many runtimes run without JAX.

`to_onnx` takes what `bicross_jax.load` returns. The file does what `predict` does, from the fields of a
batch to metres: resizing, unpacking, normalisation and the read-out of depth are in it.

Needs the packages onnx and, to check a file, onnxruntime: pip install "bicross_jax[export]".
"""

from collections.abc import Callable, Mapping
import importlib.util
import os
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal
import numpy as np

from bicross_jax import errors, files

_LIMIT = 2**31  # bytes of a file without parts, by Protocol Buffers
_HOW = 'pip install "bicross_jax[export]"'


class Difference(NamedTuple):
  """How far an output of ONNX Runtime is from ours.

  Attributes:
    largest: of all differences; of whole numbers (classes) the share that differs.
    scale: the largest of our numbers; of whole numbers 1.
  """

  largest: float
  scale: float


def to_onnx(model, path: str | os.PathLike, *, batch: int = 1) -> dict[str, dict[str, tuple]]:
  """Writes the `predict` of a trained network as an ONNX file.

  Inputs and outputs have the names and types of the batch's fields and of the predictions; sizes
  are those of training, the number of rows is fixed. A network with memory has inputs "carry.<i>"
  and outputs "next.<i>" besides, and the input "reset": what comes out goes in with the next
  window, and zeros with `reset` True begin anew. Everything is computed in float32.

  Args:
    model: from `bicross_jax.load`.
    path: of the file to be; it appears only when it is complete.
    batch: rows.

  Returns:
    {"inputs": {name: (shape, type)}, "outputs": the same}.

  Raises:
    errors.UserError: onnx is not installed, an operation without a rule, or a place that cannot be
      written.
  """
  wanted("onnx")
  recipe, variables = model.recipe, model.variables
  spec = {
    name: jax.ShapeDtypeStruct((batch, *s.shape), s.dtype) for name, s in model.inputs.items()
  }
  carry = jax.eval_shape(recipe.predict, variables, spec, ())[1]
  leaves, tree = jax.tree.flatten(carry)
  if leaves:
    spec["reset"] = jax.ShapeDtypeStruct((batch,), bool)
  inputs = {**spec, **{f"carry.{i}": leaf for i, leaf in enumerate(leaves)}}

  def run(given):
    memory = tree.unflatten([given[f"carry.{i}"] for i in range(len(leaves))]) if leaves else ()
    out, after = recipe.predict(variables, {name: given[name] for name in spec}, memory)
    after = {f"next.{i}": leaf for i, leaf in enumerate(jax.tree.leaves(after))}
    return {**out, **after}

  notes = {name: str(model.config.get(name, "")) for name in ("system", "stage", "recipe")}
  data, found = function_to_onnx(run, inputs, notes)
  with files.write_whole(path) as file:
    file.write(data)
  return found


def function_to_onnx(
  function: Callable[[Mapping[str, Any]], Mapping[str, Any]],
  inputs: Mapping[str, jax.ShapeDtypeStruct],
  notes: Mapping[str, str],
) -> tuple[bytes, dict[str, dict[str, tuple]]]:
  """A function {name: array} -> {name: array} as (the bytes of an ONNX file, its inputs and outputs).

  Args:
    function: of JAX; what it closes over becomes part of the file.
    inputs: {name: shape and dtype}; one that the function does not use is left out.
    notes: texts to keep in the file.

  Raises:
    errors.UserError: onnx is not installed, an operation without a rule, or a file above 2 GiB.
  """
  wanted("onnx")
  from bicross_jax.export import contractions, elementwise, structure, trace  # noqa: F401 (rules)
  from bicross_jax.export.graph import Graph

  with jax.default_matmul_precision("highest"):  # operations of XLA alone: see ops.exact
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(dict(inputs))
  graph, names = Graph(), sorted(inputs)  # dicts are flattened by key
  results = trace.convert(graph, closed, names)
  atoms = [*closed.jaxpr.outvars, *(x for eqn in closed.jaxpr.eqns for x in eqn.invars)]
  used = {atom for atom in atoms if not isinstance(atom, Literal)}
  given = {
    name: (inputs[name].shape, np.dtype(inputs[name].dtype))
    for name, atom in zip(names, closed.jaxpr.invars, strict=True)
    if atom in used
  }
  outputs = {
    name: (trace.whole(graph, value), shapes[name].shape, np.dtype(shapes[name].dtype))
    for name, value in zip(sorted(shapes), results, strict=True)
  }
  proto = graph.model(given, outputs, notes)
  if proto.ByteSize() >= _LIMIT:
    raise errors.UserError(f"a file of {proto.ByteSize()} bytes; ONNX files have 2 GiB at most")
  return proto.SerializeToString(), {
    "inputs": given,
    "outputs": {name: spec[1:] for name, spec in outputs.items()},
  }


def check(path: str | os.PathLike, model, batch: Mapping[str, np.ndarray]) -> dict[str, Difference]:
  """Runs an exported file in ONNX Runtime on a batch and compares it with `model.step`.

  Args:
    path: of the file.
    model: that it was made of.
    batch: fields by name, with as many rows as the file was made for; memory begins anew.

  Returns:
    {output: Difference}; of NaN where only one has it.

  Raises:
    errors.UserError: onnxruntime is not installed.
  """
  wanted("onnxruntime")
  import onnxruntime

  told = onnxruntime.SessionOptions()
  told.log_severity_level = 3  # errors
  session = onnxruntime.InferenceSession(os.fspath(path), told, providers=["CPUExecutionProvider"])
  rows = len(next(iter(batch.values())))
  kinds = {"tensor(float)": np.float32, "tensor(bool)": bool, "tensor(int32)": np.int32}
  given = {"reset": np.ones(rows, bool), **batch}
  feed = {
    value.name: given[value.name]
    if value.name in given
    else np.zeros(value.shape, kinds[value.type])
    for value in session.get_inputs()
  }
  have = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))
  predictions, carry = jax.device_get(model.step(batch))
  after = {f"next.{i}": leaf for i, leaf in enumerate(jax.tree.leaves(carry))}
  out = {}
  for name, want in {**predictions, **after}.items():
    out[name] = _difference(have[name], np.asarray(want))
  return out


def _difference(have, want) -> Difference:
  if want.dtype.kind in "biu":
    return Difference(float(np.mean(have != want)), 1.0)
  same = (have == want) | (np.isnan(have) & np.isnan(want))
  with np.errstate(invalid="ignore"):
    far = np.where(same, 0, np.abs(have.astype(np.float64) - want))
  return Difference(float(far.max(initial=0)), float(np.abs(want).max(initial=0)))


def wanted(package: str) -> None:
  """Raises errors.UserError where an optional package is not installed."""
  if importlib.util.find_spec(package) is None:
    raise errors.UserError(f"ONNX files need the package {package}: {_HOW}")
