"""Costs of a layer against sums by hand."""

import numpy as np
import pytest

from bicross_jax.evaluation import energy
from bicross_jax.evaluation.energy import PICO, Layer

FIRST = Layer("first", macs=1000, weights=50, inputs=40, outputs=20, spiking=False, fires=True)
SECOND = Layer("second", macs=500, weights=25, inputs=20, outputs=10, spiking=True, fires=True)
HEAD = Layer("head", macs=100, weights=5, inputs=10, outputs=4, spiking=True, fires=False)
LAYERS, DENSITY = (FIRST, SECOND, HEAD), (0.5, 0.1, 0.2)


def test_synaptic_operations():
  assert energy.synaptic_operations(LAYERS, DENSITY, 4) == 4 * (500 + 50 + 20)
  assert energy.mean_density(LAYERS, DENSITY) == pytest.approx(570 / 1600)


def test_a_spiking_network_costs_additions_and_for_numbers_products():
  """Only layers that fire leak; a word of 32 bits costs 5 pJ to move."""
  cost = energy.spiking([FIRST], [0.5], 2)
  assert cost.arithmetic == pytest.approx((1000 * (0.9 + 3.7) + 2 * 20 * 2 * 0.9) * PICO)
  moved = 1000 * 3 * 32 + 40 * 0.5 * 2 + 2 * 20 * 2 * 32
  assert cost.memory == pytest.approx(moved * 10 / 64 * PICO)
  cost = energy.spiking([HEAD], [0.2], 1)
  assert cost.arithmetic == pytest.approx(20 * 0.9 * PICO)
  assert cost.total == pytest.approx(cost.arithmetic + (20 * 96 + 2) * 10 / 64 * PICO)


def test_an_analogue_network_costs_all_products():
  cost = energy.analogue(LAYERS)
  assert cost.arithmetic == pytest.approx(1600 * 4.6 * PICO)  # the 4.6 pJ of the field's papers
  assert cost.memory == pytest.approx((1600 / 16 * 64 + 34 * 32) * 10 / 64 * PICO)


@pytest.mark.parametrize("steps, bits", [(1, 1), (3, 2), (4, 3), (8, 4), (128, 8)])
def test_bits_that_tell_as_much_as_the_spikes(steps, bits):
  matched = energy.matched(steps)
  assert matched.activation == bits and matched.weight == 8
  assert matched.multiply == pytest.approx(0.2 * bits / 8 * PICO)


@pytest.mark.parametrize("arithmetic", [energy.FLOAT, energy.matched(4)])
def test_at_the_break_even_density_both_cost_the_same(arithmetic):
  layers = [layer._replace(fires=False) for layer in LAYERS]
  even = energy.break_even(layers, DENSITY, 4, arithmetic)
  scale = even / energy.mean_density(layers, DENSITY)
  own = energy.spiking(layers, [scale * d for d in DENSITY], 4, arithmetic).total
  assert own == pytest.approx(energy.analogue(layers, arithmetic).total)


def test_potentials_that_leak_may_cost_more_than_the_other_network():
  slow = [FIRST._replace(outputs=10**6)]
  assert energy.break_even(slow, [0.5], 100, energy.matched(100)) == 0


def test_the_report_has_numbers_alone():
  found = energy.report(LAYERS, DENSITY, 4)
  assert all(np.isfinite(x) for x in found.values())
  assert found["macs"] == 1600 and found["matched_bits"] == 3
  assert found["spiking_float32_total_joule"] > found["spiking_float32_operations_joule"]
