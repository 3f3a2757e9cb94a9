"""The spiking part of StereoSpike as a NIR graph, and what NIR has no words for.

NIR has convolutions, neurons and sums of branches, so encoder and bottleneck go over whole. It has no
resizing of maps, which every layer of the decoder and every head begins with (docs/systems/stereospike.md,
Network): those are listed. The graph has an Output for each map that the decoder takes up.
"""

from collections.abc import Mapping
import math
from typing import Any, NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax.models import stereospike
from bicross_jax.nir import nodes

_RESIZES = "begins with a nearest resize, which NIR does not have"


class Exported(NamedTuple):
  """What `to_nir` gives.

  Attributes:
    graph: `nir.NIRGraph`, channels first; one unit of its time is one time step.
    left_out: {layer or tensor of the network: why it is not in the graph}.
  """

  graph: Any
  left_out: dict[str, str]


def to_nir(
  module: stereospike.UNet, variables: Mapping[str, Any], size: tuple[int, int]
) -> Exported:
  """The graph of a network for inputs of one size.

  PLIF becomes LIF with the time constant it has learnt, 1 / sigmoid(w), and `multiply_factor` a factor
  of the weights: both round once more than the network itself does. IF, and LIF with a decayed input,
  at a factor of 1 are computed to the last bit alike where sums are exact. Surrogates are no part of NIR.

  Args:
    module: of the family.
    variables: {"params": ...}.
    size: height and width.

  Raises:
    errors.UserError: a network without spikes, or with a reset that NIR does not have.
  """
  if not isinstance(module, stereospike.StereoSpike):
    raise errors.UserError(f"{type(module).__name__} has no spikes, so NIR has no nodes for it")
  if module.reset != "hard":
    raise errors.UserError("NIR's neurons are set to a potential when they fire: no reset=soft")
  writer = _Writer(module, variables["params"], size)
  widths = [module.width * 2**k for k in range(stereospike.LEVELS + 1)]
  last = writer.layer("bottom", ["input"], 5, 1, False)
  for k in range(1, len(widths)):
    writer.output(f"{last.removesuffix('_neuron')}_spikes", [last])
    last = writer.layer(f"conv{k}", [last], 5, 2, False)
  ends, left_out = [last], {}
  for block in ("bottleneck_0", "bottleneck_1"):
    if module.connect != "add":
      left_out[block] = f"joins branches by connect={module.connect}; NIR adds them"
      continue
    first = writer.layer(f"{block}_conv1", ends, 3, 1, True)
    ends = [*ends, writer.layer(f"{block}_conv2", [first], 3, 1, True)]
  writer.output("bottleneck" if len(ends) > 1 else "conv4_spikes", ends)
  return Exported(writer.graph(left_out), left_out | _decoder(module))


def _decoder(module):
  """{layer: why} of all behind the bottleneck."""
  out = {}
  for k in range(stereospike.LEVELS, 0, -1):
    out[f"deconv{k}"] = _RESIZES
    out[f"deconv{k}_neuron"] = f"fed by deconv{k}"
    if module.skips:
      out[f"add{k}"] = f"the sum of deconv{k}'s spikes and a map of the encoder"
    if k in module.heads:
      out[f"predict_depth{k}"] = _RESIZES
  return out | {"depth": "the integrator that the heads predict_depth feed"}


class _Writer:
  """A graph that grows."""

  def __init__(self, module, params, size):
    import nir

    self.module, self.params = module, params
    shape = np.array([module.in_channels, *size])
    self.nodes = {"input": nir.Input({"input": shape})}
    self.edges: list[tuple[str, str]] = []
    self.shapes = {"input": tuple(int(n) for n in shape)}

  def layer(self, name, sources, kernel, stride, inside):
    """A convolution of the sum of `sources` and its neurons; returns the neurons' name."""
    _, height, width = self.shapes[sources[0]]
    weights = self.params[name]
    node = nodes.conv2d(
      weights["kernel"],
      weights.get("bias"),
      (height, width),
      stride=stride,
      padding=kernel // 2,
      gain=self.module.gain,
    )
    fires, shape = f"{name}_neuron", tuple(int(n) for n in node.output_type["output"])
    self.nodes |= {name: node, fires: self._neurons(fires, shape, inside)}
    self.edges += [*((source, name) for source in sources), (name, fires)]
    self.shapes[fires] = shape
    return fires

  def _neurons(self, name, shape, inside):
    neuron = self.module.neurons(inside)
    tau = None if neuron.kind == "if" else neuron.tau
    if neuron.kind == "plif":
      tau = 1 + math.exp(-float(self.params[name]["w"]))
    options = dict(threshold=neuron.threshold, reset=neuron.reset)
    return nodes.neurons(shape, tau=tau, decay_input=neuron.decay_input, **options)

  def output(self, name, sources):
    import nir

    self.nodes[name] = nir.Output({"output": np.array(self.shapes[sources[0]])})
    self.edges += [(source, name) for source in sources]

  def graph(self, left_out):
    import nir

    names = ", ".join([*left_out, *_decoder(self.module)])
    return nir.NIRGraph(self.nodes, self.edges, {"dt": nodes.DT, "left_out": names})
