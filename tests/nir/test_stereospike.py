"""The spiking part of StereoSpike as a NIR graph: its spikes are the network's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

nir = pytest.importorskip("nir")

from bicross_jax import errors, models  # noqa: E402
from bicross_jax import nir as ours  # noqa: E402
from bicross_jax.nir import nodes, stereospike  # noqa: E402
from tests.nir import graphs  # noqa: E402

SIZE, STEPS, ROWS = (21, 26), 3, 2
# Outputs of the graph and the tensors that they are.
TENSORS = {"bottom_spikes": "bottom", "bottleneck": "bottleneck_1"}
TENSORS |= {f"conv{k}_spikes": f"conv{k}" for k in (1, 2, 3)}


def _network(**options):
  """A network whose weights are multiples of 1/256: without a leak all its sums are exact."""
  module = models.create("stereospike", width=4, **options)
  shape = (1, 1, *SIZE, module.in_channels)
  variables = models.init(module, jax.random.key(0), shape)
  coarse = lambda x: jnp.round(x * 3 * 256) / 256 + 1 / 256 if x.ndim == 4 else x
  return module, jax.tree.map(coarse, variables)


def _events(channels):
  return np.random.default_rng(1).integers(0, 4, (STEPS, ROWS, *SIZE, channels)).astype(np.float32)


def _compared(module, variables, path):
  """{tensor: (spikes of the network, of its graph read from a file)}."""
  exported = stereospike.to_nir(module, variables, SIZE)
  ours.write(path, exported.graph, exported.left_out)
  x = _events(module.in_channels)
  see = lambda x: {n: module.apply(variables, x).activity[n] for n in TENSORS.values()}
  activity = jax.jit(see)(x)
  network = ours.load(path)
  out, _ = jax.jit(network.apply)(network.params, network.initial(ROWS), x.transpose(0, 1, 4, 2, 3))
  last = lambda y: np.asarray(y).transpose(0, 1, 3, 4, 2)
  return {name: (np.asarray(activity[TENSORS[name]]), last(y)) for name, y in out.items()}


@pytest.mark.parametrize(
  "options",
  [
    dict(),
    dict(in_channels=2, threshold=0.75, multiply_factor=2.0, heads=(1,), skips=False),
    dict(neuron="lif", tau=2.0, multiply_factor=4.0),
  ],
)
def test_from_ours_to_a_file_and_back_the_spikes_are_equal(options, tmp_path):
  found = _compared(*_network(**options), tmp_path / "net.nir")
  assert set(found) == set(TENSORS)
  for name, (own, theirs) in found.items():
    assert 0.01 < own.mean() < 2, name
    np.testing.assert_array_equal(own, theirs, err_msg=name)


def test_plif_becomes_lif_with_the_time_constant_it_has_learnt(tmp_path):
  for decay in (True, False):
    options = dict(neuron="plif", bottleneck_neuron="plif", decay_input=decay, multiply_factor=4.0)
    module, variables = _network(**options)
    params = dict(variables["params"])
    params["conv1_neuron"] = {"w": jnp.float32(0.4)}
    found = _compared(module, {"params": params}, tmp_path / "net.nir")
    for name, (own, theirs) in found.items():
      # A potential may be rounded to the other side of the threshold.
      assert 0.01 < own.mean() and (own != theirs).mean() < 1e-3, name
    node = nir.read(tmp_path / "net.nir").nodes["conv1_neuron"]
    assert type(node).__name__ == "LIF"
    np.testing.assert_allclose(node.tau, 1 + np.exp(-0.4), rtol=1e-6)
    np.testing.assert_allclose(node.r, 1 if decay else 1 + np.exp(-0.4), rtol=1e-6)


def test_everything_of_the_network_is_in_the_graph_or_in_the_list():
  module, variables = _network()
  graph, left_out = stereospike.to_nir(module, variables, SIZE)
  graph.check_types()
  for name in variables["params"]:
    assert (name in graph.nodes) != (name in left_out), name
  own = jax.eval_shape(module.apply, variables, _events(4))
  there = {*graph.nodes, *left_out, *(f"{name}_neuron" for name in graph.nodes)}
  for name in {*own.activity, *own.state} - {"bottleneck_0", "bottleneck_1"}:
    assert name in there, name
  assert all(name in graph.metadata["left_out"] for name in left_out)
  branches = [edge for edge in graph.edges if edge[1] == "bottleneck"]
  assert len(branches) == 3  # the encoder's map and what both blocks add
  module = models.create("stereospike", width=4, connect="iand")
  _, left_out = stereospike.to_nir(module, variables, SIZE)
  assert "connect=iand" in left_out["bottleneck_0"]


def test_networks_that_nir_has_no_words_for_are_refused():
  for module, words in (
    (models.create("stereospike_ann", width=4), "has no spikes"),
    (models.create("stereospike", width=4, reset="soft"), "no reset=soft"),
  ):
    with pytest.raises(errors.UserError, match=words):
      stereospike.to_nir(module, {"params": {}}, SIZE)


def test_a_factor_and_a_norm_are_folded_into_a_convolution():
  kernel, bias = graphs.array(3, 3, 2, 4), graphs.array(4, seed=1)
  norm = nodes.Norm(*(graphs.array(4, seed=s) for s in (2, 3, 4, 5)))
  norm = norm._replace(variance=norm.variance**2 + 0.1)
  node = nodes.conv2d(kernel, bias, (5, 6), stride=2, padding=1, gain=3.0, norm=norm)
  plain = nodes.conv2d(kernel, bias, (5, 6), stride=2, padding=1)
  np.testing.assert_array_equal(plain.weight, kernel.transpose(3, 2, 0, 1))
  x = graphs.array(2, 5, 6, seed=6)
  y = 3 * graphs.correlate(x, plain)
  column = lambda value: np.float64(value)[:, None, None]
  expected = (y - column(norm.mean)) / np.sqrt(column(norm.variance) + norm.epsilon)
  expected = expected * column(norm.scale) + column(norm.bias)
  np.testing.assert_allclose(graphs.correlate(x, node), expected, rtol=1e-4, atol=1e-5)
