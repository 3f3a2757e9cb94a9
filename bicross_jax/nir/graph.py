"""A NIR graph as one list of nodes in the order in which they are computed."""

from collections.abc import Mapping
import graphlib
from typing import Any, NamedTuple

import numpy as np


class GraphError(ValueError):
  """A graph that cannot be computed here; one line says which node and why."""


class Order(NamedTuple):
  """A flat graph.

  Attributes:
    nodes: {name: node}, each after those that feed it; a node of an inner graph is "graph/node".
    sources: {name: names of the nodes whose results are added up to its input}.
    inputs: names of the outermost Input nodes, as the graph lists them.
    outputs: of its Output nodes.
  """

  nodes: dict[str, Any]
  sources: dict[str, list[str]]
  inputs: list[str]
  outputs: list[str]


def kind(node) -> str:
  """The name of a node's type, "Conv2d"."""
  return type(node).__name__


def order(graph) -> Order:
  """The nodes of a graph, with those of inner graphs, in the order of computation.

  Args:
    graph: a `nir.NIRGraph`.

  Raises:
    GraphError: no graph, loops, edges to nowhere, or a node that nothing feeds.
  """
  if kind(graph) != "NIRGraph":
    raise GraphError(f"a single {kind(graph)} node, not a graph")
  nodes, edges = _flat(graph, "")
  sources: dict[str, list[str]] = {name: [] for name in nodes}
  for source, target in edges:
    if source in sources[target]:
      raise GraphError(f"two edges from {source!r} to {target!r}")
    sources[target].append(source)
  inputs = [name for name, node in graph.nodes.items() if kind(node) == "Input"]
  outputs = [name for name, node in graph.nodes.items() if kind(node) == "Output"]
  for title, names in (("Input", inputs), ("Output", outputs)):
    if not names:
      raise GraphError(f"no {title} node")
  for name, found in sources.items():
    if bool(found) == (name in inputs):
      raise GraphError(f"node {name!r} is an Input and is fed" if found else f"{name!r}: no input")
  try:
    names = list(graphlib.TopologicalSorter(sources).static_order())
  except graphlib.CycleError as error:
    loop = " -> ".join(repr(name) for name in reversed(error.args[1]))
    raise GraphError(f"a loop, which cannot be computed here: {loop}") from error
  return Order({name: nodes[name] for name in names}, sources, inputs, outputs)


def step_of(graph, dt: float | None) -> float:
  """The length of a time step: `dt`, or what the graph's metadata say under "dt".

  Raises:
    GraphError: neither says it, or it is no length.
  """
  found = dt if dt is not None else _metadata(graph).get("dt")
  if found is None:
    raise GraphError("the graph does not say how long a time step is: give dt, in its unit of time")
  try:
    step = float(found)
  except (TypeError, ValueError):
    step = np.nan
  if not 0 < step < np.inf:
    raise GraphError(f"dt={found!r} is no length of a time step")
  return step


def _metadata(graph) -> Mapping[str, Any]:
  return graph.metadata if isinstance(graph.metadata, Mapping) else {}


def _flat(graph, prefix):
  """Nodes and edges with those of inner graphs, whose Input and Output pass on what they get."""
  nodes, edges, enters, leaves = {}, [], {}, {}
  for name, node in graph.nodes.items():
    full = prefix + name
    enters[name] = leaves[name] = full
    if kind(node) != "NIRGraph":
      nodes[full] = node
      continue
    inner_nodes, inner_edges = _flat(node, f"{full}/")
    nodes |= inner_nodes
    edges += inner_edges
    enters[name] = _only(node, "Input", full)
    leaves[name] = _only(node, "Output", full)
  for source, target in graph.edges:
    missing = next((name for name in (source, target) if name not in enters), None)
    if missing is not None:
      raise GraphError(f"an edge of {prefix + missing!r}, which is no node")
    edges.append((leaves[source], enters[target]))
  return nodes, edges


def _only(graph, title, name):
  """The one Input or Output of an inner graph: an edge cannot say which of several it means."""
  found = [inner for inner, node in graph.nodes.items() if kind(node) == title]
  if len(found) != 1:
    raise GraphError(f"the inner graph {name!r} has {len(found)} {title} nodes; 1 can be computed")
  return f"{name}/{found[0]}"
