"""What a network costs to run: operations, memory traffic, energy, spiking and not.

Counting operations alone flatters spiking networks: memory costs more than arithmetic. So there are
three reports of the same layers at their measured densities, each beside an analogue network:

- operations: a spike costs an addition for each of its synapses; an analogue layer multiplies and
  adds for every synapse.
- operations and memory. A spiking layer fetches a weight for every addition, and reads and writes the
  potential that it adds to (event-driven hardware without reuse); at every time step all potentials
  are read, leaked and written. An analogue layer fetches every weight and every input once for
  `REUSE` uses, and writes its outputs. All of it from a cache of 8 kB.
- both networks with weights of 8 bits, the analogue one with activations of ceil(log2(T + 1)) bits,
  which tell as much as the spikes of T time steps.

Energies are those of 45 nm at 0.9 V: Horowitz, "Computing's energy problem", ISSCC 2014. Yan, Bai,
Tang and Wong, arXiv:2409.08290, whose fair baseline the third report follows with a model of hardware
of their own, find that a spiking network wins below firing rates of about 6 %.
"""

from collections.abc import Sequence
import math
from typing import NamedTuple

PICO = 1e-12
SRAM_BIT = 10 * PICO / 64  # 64 bits from a cache of 8 kB cost 10 pJ (Horowitz 2014)
REUSE = 16  # uses of a fetched weight or input in an analogue layer
POTENTIAL = 32  # bits
LITERATURE = 0.06  # firing rate below which a spiking network wins, arXiv:2409.08290


class Arithmetic(NamedTuple):
  """Joules of operations, and bits of what they work on.

  Attributes:
    add, multiply: joules.
    weight, activation: bits.
  """

  add: float
  multiply: float
  weight: int
  activation: int


FLOAT = Arithmetic(0.9 * PICO, 3.7 * PICO, 32, 32)  # Horowitz 2014


def matched(steps: int) -> Arithmetic:
  """Weights of 8 bits, sums of 32, activations that tell how many of T time steps had a spike.

  Horowitz: 0.1 pJ for an addition of 32 bits, 0.2 pJ for a product of 8 by 8 bits, here by as many as
  activations have.
  """
  bits = math.ceil(math.log2(steps + 1))
  return Arithmetic(0.1 * PICO, 0.2 * PICO * bits / 8, 8, bits)


class Layer(NamedTuple):
  """A layer with weights, at one time step of one example.

  Attributes:
    name: of it.
    macs: multiplications with a weight that a dense input takes.
    weights: number of them.
    inputs, outputs: numbers of activations.
    spiking: whether its inputs are spikes, so that additions serve; else numbers.
    fires: whether neurons follow, whose potentials are kept.
  """

  name: str
  macs: int
  weights: int
  inputs: int
  outputs: int
  spiking: bool
  fires: bool


class Cost(NamedTuple):
  """Joules of an example.

  Attributes:
    arithmetic: of operations.
    memory: of what is read and written.
  """

  arithmetic: float
  memory: float

  @property
  def total(self) -> float:
    """Both."""
    return self.arithmetic + self.memory


def synaptic_operations(layers: Sequence[Layer], density: Sequence[float], steps: int) -> float:
  """Additions of an example: the sum of macs x density of the input x time steps.

  Args:
    layers: which.
    density: of each layer's input, the share of entries that are not 0.
    steps: T.
  """
  return sum(layer.macs * d * steps for layer, d in zip(layers, density, strict=True))


def spiking(
  layers: Sequence[Layer], density: Sequence[float], steps: int, arithmetic: Arithmetic = FLOAT
) -> Cost:
  """A spiking network; a layer whose inputs are numbers multiplies too.

  Args:
    layers, density, steps: as for `synaptic_operations`.
    arithmetic: what operations cost.
  """
  work = memory = 0.0
  for layer, d in zip(layers, density, strict=True):
    operations = layer.macs * d * steps
    work += operations * (arithmetic.add + (0 if layer.spiking else arithmetic.multiply))
    memory += operations * (arithmetic.weight + 2 * POTENTIAL)
    memory += layer.inputs * d * steps  # one bit a spike
    if layer.fires:  # leak and threshold
      work += 2 * layer.outputs * steps * arithmetic.add
      memory += 2 * layer.outputs * steps * POTENTIAL
  return Cost(work, memory * SRAM_BIT)


def analogue(layers: Sequence[Layer], arithmetic: Arithmetic = FLOAT) -> Cost:
  """The same layers without spikes, whatever their inputs are."""
  macs = sum(layer.macs for layer in layers)
  fetched = macs / REUSE * (arithmetic.weight + arithmetic.activation)
  written = sum(layer.outputs for layer in layers) * arithmetic.activation
  return Cost(macs * (arithmetic.multiply + arithmetic.add), (fetched + written) * SRAM_BIT)


def break_even(
  layers: Sequence[Layer], density: Sequence[float], steps: int, arithmetic: Arithmetic = FLOAT
) -> float:
  """The mean input density at which the spiking network costs as much as the analogue one.

  All densities are scaled alike; what does not depend on them (potentials that leak) stays.

  Args:
    layers, density, steps, arithmetic: as for `spiking`.

  Returns:
    The density, weighted by macs; 0 where the spiking network loses without any spike.
  """
  still = spiking(layers, [0.0] * len(layers), steps, arithmetic).total
  moving = spiking(layers, density, steps, arithmetic).total - still
  left = analogue(layers, arithmetic).total - still
  return max(0.0, left / moving * mean_density(layers, density)) if moving > 0 else 0.0


def mean_density(layers: Sequence[Layer], density: Sequence[float]) -> float:
  """The mean of the layers' input densities, weighted by macs."""
  macs = sum(layer.macs for layer in layers)
  return sum(layer.macs * d for layer, d in zip(layers, density, strict=True)) / macs


def report(layers: Sequence[Layer], density: Sequence[float], steps: int) -> dict[str, float]:
  """All of it in numbers, for JSON and tables: operations, joules of an example, densities.

  Args:
    layers, density, steps: as for `synaptic_operations`.
  """
  out = {
    "macs": sum(layer.macs for layer in layers),
    "synaptic_operations": synaptic_operations(layers, density, steps),
    "input_density": mean_density(layers, density),
    "break_even_density_literature": LITERATURE,
    "matched_bits": matched(steps).activation,
  }
  for name, arithmetic in (("float32", FLOAT), ("matched", matched(steps))):
    own, other = spiking(layers, density, steps, arithmetic), analogue(layers, arithmetic)
    out |= {
      f"spiking_{name}_operations_joule": own.arithmetic,
      f"spiking_{name}_total_joule": own.total,
      f"ann_{name}_operations_joule": other.arithmetic,
      f"ann_{name}_total_joule": other.total,
      f"break_even_density_{name}": break_even(layers, density, steps, arithmetic),
    }
  return out
