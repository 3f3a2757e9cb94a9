"""StereoSpike's weights: a PyTorch network with the repository's names, in and out again."""

import jax
import numpy as np
import pytest

from bicross_jax import convert, errors, models

WIDTH, SIZE = 4, (30, 41)


def _modules(torch, neurons=None, norms=False, channels=4):
  """Modules that give a state dict the published names; of the layers only the convolutions act."""
  nn = torch.nn
  widths = [WIDTH * 2**k for k in range(5)]

  def layer(convolution, channels):
    items = [convolution, nn.Identity()]
    items += [nn.BatchNorm2d(channels)] if norms else [neurons() if neurons else nn.Identity()]
    return nn.Sequential(*items)

  def plain(inputs, outputs, size, stride=1):
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=norms)
    return layer(conv, outputs)

  class Up(nn.Module):
    def __init__(self, inputs, outputs, size, bias):
      super().__init__()
      conv = nn.Conv2d(inputs, outputs, size, bias=bias)
      self.up = nn.Sequential(nn.Identity(), conv)

  class Block(nn.Module):
    def __init__(self, channels):
      super().__init__()
      self.conv1, self.conv2 = (plain(channels, channels, 3) for _ in range(2))
      if neurons:
        self.conv1, self.conv2 = self.conv1[:2], self.conv2[:2]
        self.sn1, self.sn2 = neurons(), neurons()

  out = nn.Module()
  out.bottom = plain(channels, widths[0], 5)
  for k in range(1, 5):
    setattr(out, f"conv{k}", plain(widths[k - 1], widths[k], 5, 2))
    setattr(out, f"deconv{k}", layer(Up(widths[k], widths[k - 1], 5, False), widths[k - 1]))
    setattr(out, f"predict_depth{k}", nn.Sequential(Up(widths[k - 1], 1, 3, True)))
  out.bottleneck = nn.Sequential(Block(widths[4]), Block(widths[4]))
  return out


def _depths(torch, net, x, fire, gain):
  """The network by PyTorch's own operations, from StereoSpike's description: finest map first."""
  functional = torch.nn.functional

  def up(module, x, size, extra):
    x = functional.interpolate(x, (size[0] + extra, size[1] + extra), mode="nearest")
    return module.up[1](x) * gain

  act = lambda layer: fire(layer[0](x_of[0]) * gain, layer)
  maps, x_of = [], [x]
  for layer in (net.bottom, net.conv1, net.conv2, net.conv3, net.conv4):
    x_of[0] = act(layer)
    maps.append(x_of[0])
  x = x_of[0]
  for block in net.bottleneck:
    y = fire(block.conv1[0](x) * gain, block.conv1, getattr(block, "sn1", None))
    x = fire(block.conv2[0](y) * gain, block.conv2, getattr(block, "sn2", None)) + x
  total, depths = 0, []
  for k in range(4, 0, -1):
    skip, layer = maps[k - 1], getattr(net, f"deconv{k}")
    x = fire(up(layer[0], x, skip.shape[2:], 4), layer) + skip
    total = total + up(getattr(net, f"predict_depth{k}")[0], x, maps[0].shape[2:], 2)
    depths.append(total[:, 0])
  return depths[::-1]


def _compare(torch, name, net, fire, gain=1.0, **options):
  module = models.create(name, width=WIDTH, **options)
  x = np.random.default_rng(0).integers(0, 4, (2, *SIZE, module.in_channels)).astype(np.float32)
  state = {k: v.detach().numpy() for k, v in net.state_dict().items()}
  variables = convert.from_torch(name, state, width=WIDTH, **options)
  got = jax.jit(module.apply)(variables, x[None])
  with torch.no_grad():
    want = _depths(torch, net, torch.from_numpy(x.transpose(0, 3, 1, 2)), fire, gain)
  for have, one in zip(got.depths, want, strict=True):
    np.testing.assert_allclose(have[0], one.numpy(), atol=2e-5 * np.abs(one.numpy()).max())
  back = convert.to_torch(name, variables)
  assert set(back) == set(state)
  for key, value in state.items():
    if "num_batches" not in key:
      np.testing.assert_array_equal(back[key], value, err_msg=key)
  return state, got


def _exact(torch, net):
  """Weights that are multiples of 1/16, so that sums are exact and spikes the same."""
  rng = np.random.default_rng(1)
  with torch.no_grad():
    for p in net.parameters():
      if p.ndim:
        p.copy_(torch.from_numpy(rng.integers(-4, 5, tuple(p.shape)) / 16))
  return net


def test_integrate_and_fire_neurons():
  torch = pytest.importorskip("torch")
  net = _exact(torch, _modules(torch))
  fire = lambda x, *_: (x >= 1).float()
  state, got = _compare(torch, "stereospike", net, fire)
  assert all(np.asarray(x).any() for x in got.activity.values())
  state = {"module." + k: v for k, v in state.items()}  # as DataParallel saves it
  assert convert.from_torch("stereospike", state, width=WIDTH)


@pytest.mark.parametrize("channels", [2, 4])
def test_parametric_neurons(channels):
  """The leak of every layer has its place: each fires at x sigmoid(w) >= 1; of one camera and two."""
  torch = pytest.importorskip("torch")

  class Plif(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.w = torch.nn.Parameter(torch.tensor(0.0))

  net = _exact(torch, _modules(torch, Plif, channels=channels))
  leaks = [p for p in net.parameters() if not p.ndim]
  assert len(leaks) == 13
  for i, p in enumerate(leaks):
    p.data.fill_(-1.5 + i / 4)

  def fire(x, layer, neuron=None):
    w = (neuron or layer[2]).w
    return (x * torch.sigmoid(w) >= 1).float()

  options = dict(neuron="plif", bottleneck_neuron="plif", multiply_factor=2.0)
  _compare(torch, "stereospike", net, fire, 2.0, in_channels=channels, **options)


def test_the_analogue_network():
  torch = pytest.importorskip("torch")
  net = _modules(torch, norms=True).eval()
  rng = np.random.default_rng(2)
  with torch.no_grad():
    for name, value in net.state_dict().items():
      if "running" in name:
        value.copy_(torch.from_numpy(rng.uniform(0.5, 2, tuple(value.shape))))
  fire = lambda x, layer, *_: layer[2](torch.sigmoid(x))
  _compare(torch, "stereospike_ann", net, fire)


def _state(name, **options):
  """A state dict of zeros, of the network with these options."""
  network, x = models.create(name, width=WIDTH, **options), np.zeros((1, 1, 64, 64, 4), np.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), x)
  return convert.to_torch(name, jax.tree.map(lambda s: np.zeros(s.shape, np.float32), shapes))


def _refused(name, state, **options):
  with pytest.raises(errors.UserError) as error:
    convert.from_torch(name, state, width=WIDTH, **options)
  return str(error.value)


def test_what_does_not_fit_is_listed():
  state = _state("stereospike")
  del state["conv2.0.weight"]
  state["conv7.0.weight"] = np.zeros((1, 1, 5, 5), np.float32)
  state["conv3.0.weight"] = np.zeros((1, 2, 5, 5), np.float32)
  state["deconv1.0.up.1.weight"] = np.full_like(state["deconv1.0.up.1.weight"], np.nan)
  said = _refused("stereospike", state)
  for part in (
    "1 unknown: conv7.0.weight",
    "1 missing: params/conv2/kernel",
    "1 misshapen: conv3.0.weight (1, 2, 5, 5) for params/conv3/kernel (5, 5, 16, 32)",
    "1 not finite: deconv1.0.up.1.weight",
  ):
    assert part in said


def test_other_networks_of_the_family_are_not_taken_for_it():
  """Leaks that nobody has a place for, leaks that lack, norms, half a pair of cameras."""
  plif = dict(neuron="plif", bottleneck_neuron="plif")
  assert "13 unknown: " in _refused("stereospike", _state("stereospike", **plif))
  assert "13 missing: " in _refused("stereospike", _state("stereospike"), **plif)
  assert "9 unknown: " in _refused(
    "stereospike", _state("stereospike", **plif), bottleneck_neuron="plif"
  )
  assert "conv1.2.running_mean" in _refused("stereospike", _state("stereospike_ann"))
  assert "bottom.0.weight (4, 4, 5, 5)" in _refused(
    "stereospike", _state("stereospike"), in_channels=2
  )
