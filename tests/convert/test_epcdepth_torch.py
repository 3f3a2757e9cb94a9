"""EPCDepth's peer in PyTorch: the network, the losses and their gradients are ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import convert, models
from bicross_jax.config import grammar
from bicross_jax.convert import epcdepth_torch as peer
from bicross_jax.recipes.epcdepth import stereo

SMOKE = "configs/epcdepth.py:tiny,smoke"
SIZE = (64, 96)
torch = pytest.importorskip("torch")


def _variables(module):
  """Random, with batch statistics that are not the initial ones."""
  variables = models.init(module, jax.random.key(0), (1, *SIZE, 3))
  rng = np.random.default_rng(1)
  move = lambda x: (x + rng.uniform(0, 0.5, x.shape)).astype(np.float32)
  return {**variables, "batch_stats": jax.tree.map(move, variables["batch_stats"])}


def _peer(module, variables):
  network = peer.build(module)
  state = convert.to_torch("epcdepth", variables)
  network.load_state_dict({name: torch.from_numpy(np.array(x)) for name, x in state.items()})
  return network


def _close(have, want, tolerance):
  have, want = (np.asarray(x).squeeze() for x in (have, want))
  assert have.shape == want.shape
  assert np.abs(have - want).max() <= tolerance * np.abs(want).max()


@pytest.mark.parametrize(
  "options",
  [
    dict(layers=18, divisor=16),
    dict(layers=18, divisor=16, decoder="plain"),
    pytest.param(dict(layers=50), marks=pytest.mark.nightly),
    pytest.param(dict(layers=50, decoder="plain"), marks=pytest.mark.nightly),
  ],
  ids=str,
)
def test_all_maps_from_equal_weights(options):
  module = models.create("epcdepth", **options)
  variables = _variables(module)
  network = _peer(module, variables).eval()
  x = np.random.default_rng(0).random((2, *SIZE, 3), np.float32)
  want = jax.jit(module.apply)(variables, x).maps
  with torch.no_grad():
    given = torch.from_numpy(x).permute(0, 3, 1, 2)
    found = peer.maps(network, given)
    (first,) = peer.maps(network, given, all_of_them=False)
  assert len(found) == len(want)
  for have, map_ in zip(found, want, strict=True):
    _close(have, map_, 1e-4)
  assert torch.equal(first, found[0])


def _config(*overrides):
  size = (f"data.height={SIZE[0]}", f"data.width={SIZE[1]}")
  sensors = "data.sensors=rgb,rgb_right,depth,baseline,intrinsics,depth_hint"
  return grammar.load(SMOKE, [*size, sensors, *overrides])


def _batch(config, rng):
  """A random pair of each sign, of the config's rig. No pixel is like its neighbour: few depths are equally good."""
  focal = config.rig.focal * SIZE[1]
  picture = lambda: rng.integers(0, 256, (2, *SIZE, 3)).astype(np.uint8)
  known = rng.random((2, *SIZE)) > 0.3
  return {
    "rgb": picture(),
    "rgb_right": picture(),
    "baseline": config.rig.baseline * np.array([1, -1], np.float32),
    "intrinsics": np.tile(np.diag([focal, focal, 1]).astype(np.float32), (2, 1, 1)),
    "depth_hint": np.where(known, rng.uniform(2, 40, known.shape), 0).astype(np.float32),
  }


def _torch_batch(batch):
  image = lambda name: torch.from_numpy(batch[name]).permute(0, 3, 1, 2).float() / 255
  return {
    "rgb": image("rgb"),
    "rgb_right": image("rgb_right"),
    "baseline": torch.from_numpy(batch["baseline"]),
    "depth_hint": torch.from_numpy(batch["depth_hint"])[:, None],
  }


def _ours(config, maps, batch):
  """The parts of our loss under a mapped axis, without noise."""
  run = jax.vmap(lambda m, b: stereo.losses(config, m, b, jax.random.key(0)), axis_name="batch")
  lead = lambda tree: jax.tree.map(lambda x: jnp.asarray(x)[None], tree)
  return {name: x[0] for name, x in jax.jit(run)(lead(list(maps)), lead(dict(batch))).items()}


@pytest.mark.parametrize(
  "hints, automask",
  [
    (True, True),
    *(pytest.param(*x, marks=pytest.mark.slow) for x in ((True, False), (False, True))),
  ],
)
def test_losses_of_random_maps(hints, automask, monkeypatch):
  monkeypatch.setattr(stereo, "NOISE", 0.0)
  config = _config(f"loss.hints={hints}", f"loss.automask={automask}", "loss.distillation=0.7")
  rng = np.random.default_rng(0)
  batch = _batch(config, rng)
  levels = (0, 1, 2, 3, 4, 5, 4, 3, 2, 1)
  maps = [
    rng.uniform(0.01, 0.3, (2, SIZE[0] >> k, SIZE[1] >> k)).astype(np.float32) for k in levels
  ]
  want = _ours(config, maps, batch)
  found = peer.losses(config, [torch.from_numpy(x)[:, None] for x in maps], _torch_batch(batch), 0)
  assert set(found) == set(want)
  # Which candidate explains a pixel best is a matter of rounding where two are as good: of the hint's
  # part one pixel is 1e-4.
  for name, x in want.items():
    np.testing.assert_allclose(found[name].item(), x, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize(
  "decoder",
  [
    pytest.param("full_scale", marks=pytest.mark.slow),
    pytest.param("plain", marks=pytest.mark.nightly),
  ],
)
def test_gradients_of_a_training_step(decoder, monkeypatch):
  """Their norms, of every weight; near ties of winners may fall either way in float32."""
  monkeypatch.setattr(stereo, "NOISE", 0.0)
  config = _config("loss.hints=True", "model.divisor=16", f"model.decoder={decoder}")
  module = models.create("epcdepth", divisor=16, decoder=decoder)
  variables, batch = _variables(module), _batch(config, np.random.default_rng(0))
  seen = jnp.asarray(batch["rgb"], jnp.float32) / 255

  def loss(params):
    given = {"params": params, "batch_stats": variables["batch_stats"]}
    output, _ = module.apply(given, seen, train=True, mutable=["batch_stats"])
    parts = stereo.losses(config, output.maps, given_batch, jax.random.key(0))
    return sum(parts.values())

  given_batch = {name: jnp.asarray(x) for name, x in batch.items()}
  over = jax.vmap(jax.value_and_grad(loss), axis_name="batch")
  value, gradients = jax.jit(over)(jax.tree.map(lambda x: x[None], variables["params"]))
  published = convert.to_torch(
    "epcdepth",
    {"params": jax.tree.map(lambda x: x[0], gradients), "batch_stats": variables["batch_stats"]},
  )
  network, given = _peer(module, variables).train(), _torch_batch(batch)
  total = sum(peer.losses(config, peer.maps(network, given["rgb"]), given, 0).values())
  total.backward()
  np.testing.assert_allclose(total.item(), value[0], rtol=1e-3)
  norms = {n: p.grad.norm().item() for n, p in network.named_parameters() if p.grad is not None}
  assert set(norms) == {n for n, _ in network.named_parameters() if ".fc." not in n}
  wanted = {name: float(np.linalg.norm(published[name])) for name in norms}
  most = max(wanted.values())
  for name, norm in norms.items():
    assert abs(norm - wanted[name]) <= 1e-2 * wanted[name] + 1e-4 * most, name


@pytest.mark.nightly
@pytest.mark.parametrize("layers", [18, 50])
def test_the_encoder_is_that_of_torchvision(layers):
  torchvision = pytest.importorskip("torchvision")
  theirs = getattr(torchvision.models, f"resnet{layers}")()
  module = models.create("epcdepth", layers=layers)
  encoder = peer.build(module)["encoder"]["encoder"]
  encoder.load_state_dict(theirs.state_dict())
  x = torch.rand(1, 3, *SIZE)
  with torch.no_grad():
    stem = theirs.relu(theirs.bn1(theirs.conv1(x)))
    want = [stem]
    y = theirs.maxpool(stem)
    for stage in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
      y = stage(y)
      want.append(y)
    for have, map_ in zip(peer.encoded(encoder, x), want, strict=True):
      torch.testing.assert_close(have, map_)
