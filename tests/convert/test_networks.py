"""Networks without a published naming, those that bring one, several at once, batch statistics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import convert, errors, models
from bicross_jax.convert import naming, network, torch_state
from bicross_jax.models import layers, spike_unet

SMALL = dict(in_channels=16, widths=(4, 8), reduction=2)


def _random(module, *shape):
  """Random variables of a module for an input of a shape; variances are positive."""
  variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: rng.uniform(0.1, 1, x.shape).astype(np.float32), variables)


def _equal(have, want):
  assert jax.tree.structure(have) == jax.tree.structure(want)
  jax.tree.map(np.testing.assert_array_equal, have, want)


class _Norm(nn.Module):
  """A convolution and a batch norm, as this package writes them."""

  @nn.compact
  def __call__(self, x):
    x = nn.Conv(5, (3, 3), padding=1, name="conv0")(x)
    return layers.BatchNorm(False, None, name="norm0")(x)


@pytest.mark.parametrize("own", [False, True])
def test_batch_norm_equals_that_of_torch_in_both_directions(own, monkeypatch):
  """By the generic naming, and by rules with names of PyTorch's `Sequential`."""
  torch = pytest.importorskip("torch")
  monkeypatch.setattr(network, "_REGISTERED", {})
  parts = [torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.BatchNorm2d(5)]
  if own:
    rules = [*naming.conv("0", "params/conv0"), *naming.batch_norm("1", "norm0")]
    convert.register(_Norm, convert.Network([naming.Naming("torch", r"0\.weight", rules, r"(?!)")]))
    peer = torch.nn.Sequential(*parts)
  else:
    peer = torch.nn.ModuleDict({"conv0": parts[0], "norm0": parts[1]})
  rng, variables = np.random.default_rng(1), _random(_Norm(), 1, 8, 8, 3)
  state = convert.to_torch(_Norm, variables)
  peer.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})  # strict
  counter = state["1.num_batches_tracked" if own else "norm0.num_batches_tracked"]
  assert counter == 0 and counter.dtype == np.int64
  with torch.no_grad():  # what PyTorch may have learnt meanwhile
    for value in [*peer.parameters(), *peer.buffers()]:
      if value.is_floating_point():
        value.copy_(torch.from_numpy(rng.uniform(0.5, 2, value.shape)))
  state = {k: v.numpy() for k, v in peer.state_dict().items()}
  back = torch_state.convert(_Norm(), state, like=variables).variables
  assert back["batch_stats"]["norm0"]["var"].min() >= 0.5
  x = rng.standard_normal((2, 8, 8, 3)).astype(np.float32)
  given = torch.from_numpy(x.transpose(0, 3, 1, 2))
  parts[1].eval()
  with torch.no_grad():
    want = parts[1](parts[0](given)).numpy().transpose(0, 2, 3, 1)
  np.testing.assert_allclose(_Norm().apply(back, x), want, atol=1e-5)
  _equal(torch_state.convert(_Norm(), convert.to_torch(_Norm, back), like=back).variables, back)


def test_front_ends_go_out_and_come_back():
  front_end = models.create("spike_unet", **SMALL)
  variables = _random(front_end, 1, 16, 16, 16)
  state = convert.to_torch("spike_unet", variables)
  assert state["down1.conv1.weight"].shape == (4, 16, 3, 3) and state["out.bias"].shape == (3,)
  assert state["attention.squeeze.weight"].shape == (4, 8)
  assert state["up1.norm2.running_var"].shape == (4,)
  _equal(convert.from_torch("spike_unet", state, **SMALL), variables)
  lacking = {k: v for k, v in state.items() if "down1.norm1.running" not in k}
  with pytest.raises(errors.UserError, match="2 missing: batch_stats/down1/norm1/mean"):
    convert.from_torch("spike_unet", lacking, **SMALL)


def test_a_fronted_network_goes_out_and_comes_back():
  front_end = models.create("spike_unet", **SMALL)
  module = spike_unet.FrontedDPT(front_end, models.create("dpt", backbone="nano"))
  variables = _random(module, 1, 32, 32, 16)
  state = convert.to_torch(spike_unet.FrontedDPT, variables)
  assert "front_end.down1.norm1.running_mean" in state
  assert state["dpt.backbone.resnet.stem.conv.weight"].shape == (8, 3, 7, 7)
  _equal(torch_state.convert(module, state).variables, variables)


class _Odd(nn.Module):
  """Parameters of every rank, and names that are taken already."""

  @nn.compact
  def __call__(self, x):
    x = nn.Conv(4, (3,), name="one")(x) + nn.PReLU(name="act")(x)
    for name, shape in (("kernel", (2, 3)), ("scale", (3,)), ("weight", (2, 2, 2))):
      self.param(name, nn.initializers.ones, shape)
    self.variable("batch_stats", "kernel", jnp.zeros, (5,))
    return nn.Conv(2, (3, 3, 3), name="three")(x[:, None, None])


def test_generic_names_are_unique_and_reversible():
  variables = _random(_Odd(), 1, 8, 4)
  state = convert.to_torch(_Odd, variables)
  shapes = {k: v.shape for k, v in state.items()}
  assert len(shapes) == len(jax.tree.leaves(variables))
  assert shapes["one.weight"] == (4, 4, 3) and shapes["three.weight"] == (2, 4, 3, 3, 3)
  assert shapes["act.negative_slope"] == ()
  _equal(torch_state.convert(_Odd(), state, like=variables).variables, variables)
  given = variables["params"]["one"]["kernel"]  # [width, in, out] -> [out, in, width]
  np.testing.assert_array_equal(state["one.weight"], np.einsum("kio->oik", given))
  given = variables["params"]["three"]["kernel"]
  np.testing.assert_array_equal(state["three.weight"], np.einsum("dhwio->oidhw", given))


def test_several_networks_have_their_names_in_front():
  front_end, dpt = models.create("spike_unet", **SMALL), models.create("dpt", backbone="nano")
  modules = {"front": front_end, "depth": dpt}
  parts = {"front": _random(front_end, 1, 16, 16, 16), "depth": _random(dpt, 1, 32, 32, 3)}
  variables = {
    "params": {name: part["params"] for name, part in parts.items()},
    "batch_stats": {"front": parts["front"]["batch_stats"]},
  }
  state = torch_state.networks_to_torch(modules, variables)
  assert "front.down1.conv1.weight" in state
  assert "depth.pretrained.model.cls_token" in state  # published names
  got = torch_state.networks_from_torch(modules, state)
  _equal(got.variables, variables)
  assert got.naming.title == "generic, DPT, MiDaS or BiCross" and not got.naming.part
  with pytest.raises(errors.UserError, match="1 unknown: head; 1 missing: depth"):
    torch_state.networks_from_torch(modules, {"head.a": np.zeros(1), "front.out.bias": np.zeros(3)})
  alone = {k: v for k, v in state.items() if k.startswith("front.")}
  prefix = "pretrained.model."
  timm = {f"depth.{k.removeprefix('depth.' + prefix)}": v for k, v in state.items() if prefix in k}
  with pytest.raises(errors.UserError, match="a part of depth"):
    torch_state.networks_from_torch(modules, {**alone, **timm})


def test_networks_of_a_class_that_is_registered_are_found_by_its_children(monkeypatch):
  monkeypatch.setattr(network, "_REGISTERED", {})

  class Child(_Norm):
    """Inherits."""

  entry = convert.Network(example=lambda module: (1, 8, 8, 3))
  convert.register(_Norm, entry)
  assert network.find(Child) is entry
  variables = _random(Child(), 1, 8, 8, 3)
  _equal(torch_state.convert(Child(), convert.to_torch(Child, variables)).variables, variables)
