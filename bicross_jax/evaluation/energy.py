"""What a network costs to run: operations, memory traffic, energy, spiking and not.

Counting operations alone flatters spiking networks: memory costs more than arithmetic. So there are
three reports of the same network at its measured densities, each beside the same layers as an
analogue network:

- operations: a synaptic operation is an addition, made for each spike and each of its synapses; an
  analogue layer makes a multiplication and an addition for every synapse.
- operations and memory: besides, what is read and written. A spiking layer fetches a weight for
  every synaptic operation and adds to a potential that is read and written (event-driven hardware
  without reuse); at every time step all potentials are read, leaked and written. An analogue layer
  reads every weight and every input once for a block of `REUSE` outputs, and writes its outputs.
- the analogue network quantised to the bits that the spikes of all time steps can tell,
  log2(T + 1), as in Yan et al. 2024.

Energies are those of Horowitz, "Computing's energy problem", ISSCC 2014, for 45 nm at 0.9 V.
Yan, Bai and Wong, "Reconsidering the energy efficiency of spiking neural networks", arXiv:2409.08290,
find that a spiking network wins below a firing rate of about 6 %.
"""

from collections.abc import Sequence
import math
from typing import NamedTuple

PICO = 1e-12
# Joules of an operation of 32 bits (floating, integer) and of 8 bits (integer): Horowitz 2014, fig. 1.1.9.
ADD_FLOAT, MULTIPLY_FLOAT = 0.9 * PICO, 3.7 * PICO
ADD_INT32, MULTIPLY_INT32 = 0.1 * PICO, 3.1 * PICO
ADD_INT8, MULTIPLY_INT8 = 0.03 * PICO, 0.2 * PICO
SRAM_BIT = 10 * PICO / 64  # of an 8 kB cache, which 64 bits cost 10 pJ
LARGE_SRAM_BIT = 100 * PICO / 64  # of 1 MB
REUSE = 16  # outputs that a fetched weight or input serves in an analogue layer
WORD = 32  # bits of a weight and of a potential
LITERATURE = 0.06  # firing rate below which a spiking network wins, arXiv:2409.08290


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


def spiking(layers: Sequence[Layer], density: Sequence[float], steps: int) -> Cost:
  """A spiking network, float32; arguments as for `synaptic_operations`.

  The operations of a layer whose inputs are numbers are multiplications and additions.
  """
  arithmetic = memory = 0.0
  for layer, d in zip(layers, density, strict=True):
    operations = layer.macs * d * steps
    arithmetic += operations * (ADD_FLOAT + (0 if layer.spiking else MULTIPLY_FLOAT))
    memory += operations * 3 * WORD * SRAM_BIT  # a weight, and a potential read and written
    if layer.fires:  # leak and threshold
      arithmetic += 2 * layer.outputs * steps * ADD_FLOAT
      memory += 2 * layer.outputs * steps * WORD * SRAM_BIT
    memory += layer.inputs * d * steps * SRAM_BIT  # one bit a spike
  return Cost(arithmetic, memory)


def analogue(layers: Sequence[Layer], bits: int = WORD) -> Cost:
  """The same layers as an analogue network with weights and activations of so many bits.

  Energies between 8 bits and 32 lie on the lines through both: of a multiplication by the square of the
  bits, of an addition by the bits (Horowitz). 32 bits are floating.
  """
  if bits >= WORD:
    multiply, add = MULTIPLY_FLOAT, ADD_FLOAT
  else:
    multiply, add = MULTIPLY_INT8 * (bits / 8) ** 2, ADD_INT32 * WORD / 32
  macs = sum(layer.macs for layer in layers)
  moved = sum(2 * layer.macs / REUSE + layer.outputs for layer in layers)
  return Cost(macs * (multiply + add), moved * bits * SRAM_BIT)


def matched_bits(steps: int) -> int:
  """Bits that tell how many of T time steps have a spike: ceil(log2(T + 1))."""
  return math.ceil(math.log2(steps + 1))


def break_even(layers: Sequence[Layer], density: Sequence[float], steps: int, against: Cost) -> float:
  """The mean input density at which the spiking network costs as much as another.

  All densities are scaled alike; what does not depend on them (potentials that leak) stays.

  Args:
    layers, density, steps: as for `synaptic_operations`.
    against: the other's cost.

  Returns:
    The density, weighted by macs; 0 where the spiking network loses without any spike.
  """
  macs = sum(layer.macs for layer in layers)
  mean = sum(layer.macs * d for layer, d in zip(layers, density, strict=True)) / macs
  still = spiking(layers, [0.0] * len(layers), steps).total
  moving = spiking(layers, density, steps).total - still
  return max(0.0, (against.total - still) / moving * mean) if moving > 0 else 0.0


def report(layers: Sequence[Layer], density: Sequence[float], steps: int) -> dict[str, float]:
  """All of it, in numbers: {name: joules, operations or shares}, for JSON and tables.

  Args:
    layers, density, steps: as for `synaptic_operations`.
  """
  bits = matched_bits(steps)
  own, full, matched = spiking(layers, density, steps), analogue(layers), analogue(layers, bits)
  macs = sum(layer.macs for layer in layers)
  weighted = sum(layer.macs * d for layer, d in zip(layers, density, strict=True)) / macs
  return {
    "macs": macs,
    "synaptic_operations": synaptic_operations(layers, density, steps),
    "input_density": weighted,
    "spiking_operations_joule": own.arithmetic,
    "spiking_total_joule": own.total,
    "ann_float32_operations_joule": full.arithmetic,
    "ann_float32_total_joule": full.total,
    "ann_matched_bits": bits,
    "ann_matched_operations_joule": matched.arithmetic,
    "ann_matched_total_joule": matched.total,
    "break_even_density_float32": break_even(layers, density, steps, full),
    "break_even_density_matched": break_even(layers, density, steps, matched),
    "break_even_density_literature": LITERATURE,
  }
