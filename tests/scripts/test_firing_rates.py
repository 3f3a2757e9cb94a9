"""`scripts/firing_rates.py` on a trained network."""

import json

import numpy as np
from PIL import Image
import pytest

from bicross_jax import errors
from bicross_jax.commands import firing_rates
from tests.systems.contract import checkpoint, main


def test_densities_and_energy_of_a_run(trained, tmp_path, capsys):
  folder = trained("stereospike-binocular")
  main("firing_rates", *checkpoint("stereospike-binocular", folder), "--output", tmp_path)
  found = json.loads((tmp_path / "firing_rates.json").read_text())
  assert found["examples"] == 3 and found["steps"] == 1 and len(found["density"]) == 20
  assert list(found["density"])[:3] == ["input", "bottom", "conv1"]
  assert all(0 <= x <= 1 for x in found["density"].values())
  costs = found["energy"]
  assert costs["synaptic_operations"] == pytest.approx(costs["macs"] * costs["input_density"])
  shown = capsys.readouterr().out
  assert "with memory, same bits" in shown and "literature: about 6 %" in shown
  assert np.ptp(np.array(Image.open(tmp_path / "firing_rates.png"))) > 100


@pytest.mark.slow
def test_a_network_without_spikes_is_told(trained):
  folder = trained("stereospike-ann")
  with pytest.raises(errors.UserError, match="stage ann, whose network has no spikes"):
    firing_rates.main(["--checkpoint", str(folder)])


def test_tensors_come_in_the_order_of_the_network():
  names = ["add1", "conv2", "input", "deconv4", "bottleneck_0", "conv1", "add4", "bottom"]
  names += ["bottleneck_0_conv2", "deconv1", "bottleneck_0_conv1"]
  assert firing_rates.order(names) == [
    *("input", "bottom", "conv1", "conv2"),
    *("bottleneck_0_conv1", "bottleneck_0_conv2", "bottleneck_0"),
    *("deconv4", "add4", "deconv1", "add1"),
  ]
