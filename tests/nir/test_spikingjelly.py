"""Files that SpikingJelly writes: its spikes and ours are equal."""

import jax
import numpy as np
import pytest

pytest.importorskip("nir")
from bicross_jax import nir as ours

NEURONS = {
  "if": lambda neuron: neuron.IFNode(),
  "lif": lambda neuron: neuron.LIFNode(tau=2.5, v_threshold=0.5),
  "plif": lambda neuron: neuron.ParametricLIFNode(init_tau=3.0, decay_input=False),
  "reset": lambda neuron: neuron.LIFNode(tau=2.0, v_reset=-0.2, v_threshold=0.25),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", NEURONS)
def test_networks_of_spikingjelly(name, tmp_path):
  torch = pytest.importorskip("torch")
  pytest.importorskip("nirtorch")  # SpikingJelly needs it for this
  exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
  from spikingjelly.activation_based import functional, layer, neuron

  torch.manual_seed(0)
  network = torch.nn.Sequential(
    layer.Conv2d(2, 4, 3, padding=1, stride=2),
    NEURONS[name](neuron),
    layer.AvgPool2d(2),
    layer.Flatten(),
    layer.Linear(4 * 4 * 4, 10),
    NEURONS[name](neuron),
  )
  for parameter in network.parameters():
    parameter.data *= 4
  functional.set_step_mode(network, "m")
  x = torch.randint(0, 4, (8, 2, 2, 16, 16)).float()
  exchange.export_to_nir(network, x, save_path=tmp_path / "net.nir", dt=1e-3)
  functional.reset_net(network)
  expected = network(x).detach().numpy()
  found = ours.load(tmp_path / "net.nir", dt=1e-3)
  out, _ = jax.jit(found.apply)(found.params, found.initial(2), x.numpy())
  assert 0.02 < expected.mean() < 0.98
  np.testing.assert_array_equal(next(iter(out.values())), expected)
