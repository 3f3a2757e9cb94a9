"""Densities and layers of a network against the network itself."""

import jax
import numpy as np
import pytest

from bicross_jax.config import grammar
from bicross_jax.recipes.stereospike import activity, common, depth

SMOKE = "configs/stereospike.py:binocular,smoke"


def test_densities_are_shares_of_the_tensors(monkeypatch):
  config = grammar.load(SMOKE, ["model.multiply_factor=4"])
  module = common.network(config)
  variables = common.initialise(config, module, jax.random.key(0))
  events = np.random.default_rng(0).integers(0, 3, (2, 32, 64, 1, 4)).astype(np.uint8)
  found, carry = jax.jit(activity.meter(config))(variables, {"events": events})
  assert carry == ()
  output = jax.jit(module.apply)(variables, common.network_input(config, {"events": events}))
  assert set(found) == {"input", *output.activity}
  np.testing.assert_allclose(found["input"], (events != 0).mean((1, 2, 3, 4)), rtol=1e-6)
  for name, x in output.activity.items():
    np.testing.assert_allclose(found[name], (np.asarray(x[0]) != 0).mean((1, 2, 3)), rtol=1e-5)
  shares = [np.mean(found[name]) for name in output.activity]
  monkeypatch.setattr(depth, "AXIS", None)
  told = depth.densities(output.activity)  # what training logs
  assert float(told["density"]) == pytest.approx(np.mean(shares), rel=1e-5)
  assert float(told["least_density"]) == pytest.approx(np.min(shares), rel=1e-5)


def test_layers_are_those_of_the_published_network():
  """27.5 GMAC and 18,148,704 weights besides the heads' biases; every source is a tensor."""
  config = grammar.load("configs/stereospike.py:binocular,mvsec")
  layers = activity.layers(config)
  millions = {layer["name"]: round(layer["macs"] / 1e6) for layer in layers}
  assert (
    millions["bottom"] == 288 and millions["deconv4"] == 4758 and millions["predict_depth1"] == 26
  )
  assert sum(layer["macs"] for layer in layers) == pytest.approx(27.5e9, rel=2e-3)
  assert sum(layer["weights"] for layer in layers) == 18_148_708 - 4
  small = grammar.load(SMOKE)
  module = common.network(small)
  x = np.zeros((1, 1, 32, 64, 4), np.float32)
  shapes = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), x)[0])
  for layer in activity.layers(small):
    source = x if layer["source"] == "input" else shapes.activity[layer["source"]]
    assert layer["inputs"] == np.prod(source.shape[1:])
    if layer["fires"]:
      assert layer["outputs"] == np.prod(shapes.activity[layer["name"]].shape[1:])
