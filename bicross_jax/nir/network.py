"""A NIR graph as a network of JAX: parameters, the state before the first time step, a pure function."""

from collections.abc import Mapping
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.nir import graph as graphs
from bicross_jax.nir import layers
from bicross_jax.nir.graph import GraphError

Params = dict[str, dict[str, Any]]
State = dict[str, Any]


class Network(NamedTuple):
  """What `create` makes of a graph.

  Attributes:
    params: {node: {field: float32 array}}, with NIR's names and axes; a field that has one value
      for all neurons of a node is a scalar. Every leaf can be trained.
    inputs: {Input node: shape of one example at one time step}.
    outputs: {Output node: shape}.
    layers: {node: `layers.Layer`} in the order of computation.
    sources: {node: nodes whose results are added up to its input}.
  """

  params: Params
  inputs: dict[str, tuple[int, ...]]
  outputs: dict[str, tuple[int, ...]]
  layers: dict[str, layers.Layer]
  sources: dict[str, list[str]]

  def initial(self, batch: int) -> State:
    """{node: [B, ...]} of nodes with memory, before the first time step."""
    return {
      name: jnp.broadcast_to(layer.state[None], (batch, *layer.state.shape))
      for name, layer in self.layers.items()
      if layer.state is not None
    }

  def apply(
    self, params: Params, state: State, x: jax.Array | Mapping[str, jax.Array]
  ) -> tuple[dict[str, jax.Array], State]:
    """All time steps, node after node.

    Args:
      params: as `params`.
      state: as `initial` gives it, or what was returned for the steps before.
      x: float[T, B, ...] of the one Input, or {Input: float[T, B, ...]}.

    Returns:
      ({Output: float32[T, B, ...]}, state after the last step).

    Raises:
      ValueError: inputs of other names or shapes.
    """
    given = x if isinstance(x, Mapping) else dict.fromkeys(list(self.inputs)[:1], x)
    if set(given) != set(self.inputs):
      raise ValueError(f"inputs {sorted(given)}; the graph has {sorted(self.inputs)}")
    for name, shape in self.inputs.items():
      if given[name].ndim < 2 or given[name].shape[2:] != shape:
        raise ValueError(f"input {name!r} is [T, B, {shape}], not {given[name].shape}")
    results, after = {}, {}
    for name, layer in self.layers.items():
      if name in self.inputs:
        results[name] = jnp.asarray(given[name], jnp.float32)
        continue
      fed = functools.reduce(jnp.add, (results[source] for source in self.sources[name]))
      results[name], new = layer.apply(params.get(name, {}), state.get(name), fed)
      if layer.state is not None:
        after[name] = new
    return {name: results[name] for name in self.outputs}, after


def arctan(x: jax.Array) -> jax.Array:
  """1 / (1 + (pi x)^2): the derivative of arctan(pi x) / pi + 1/2 (Fang et al. 2021)."""
  return 1 / (1 + jnp.square(math.pi * x))


def create(graph, *, dt: float | None = None, derivative: layers.Derivative = arctan) -> Network:
  """The network of a graph.

  Args:
    graph: a `nir.NIRGraph` without loops; inner graphs are taken apart.
    dt: length of a time step in the graph's unit of time; None: what its metadata say.
    derivative: what stands in for the derivative of a spike, by v - v_threshold.

  Raises:
    GraphError: what cannot be computed here, and why.
  """
  order = graphs.order(graph)
  setting = layers.Setting(lambda: graphs.step_of(graph, dt), derivative)
  unknown = sorted({k for k in map(graphs.kind, order.nodes.values()) if k not in layers.BUILDERS})
  if unknown:
    raise GraphError(f"nodes not known here: {', '.join(unknown)}")
  found: dict[str, layers.Layer] = {}
  for name, node in order.nodes.items():
    try:
      found[name] = layers.create(node, _fed(order, found, name), setting)
    except GraphError as error:
      raise GraphError(f"node {name!r} ({graphs.kind(node)}): {error}") from error
  return Network(
    params={name: layer.params for name, layer in found.items() if layer.params},
    inputs={name: found[name].shape for name in order.inputs},
    outputs={name: found[name].shape for name in order.outputs},
    layers=found,
    sources=order.sources,
  )


def _fed(order, found, name):
  """The shape of a node's input."""
  sources = order.sources[name]
  if not sources:
    return _declared(order.nodes[name])
  shapes = {source: found[source].shape for source in sources}
  if len(set(shapes.values())) > 1:
    raise GraphError(f"its inputs have different shapes: {shapes}")
  return shapes[sources[0]]


def _declared(node):
  """The shape that an Input declares."""
  try:
    shape = np.asarray((node.input_type or {}).get("input"))
  except ValueError:
    shape = np.asarray(None)
  if shape.ndim != 1 or shape.dtype.kind not in "iuf" or not (shape >= 1).all():
    raise GraphError("declares no shape")
  if (shape % 1).any() or (shape >= layers.LARGEST).any():
    raise GraphError("declares no shape")
  return tuple(int(n) for n in shape)
