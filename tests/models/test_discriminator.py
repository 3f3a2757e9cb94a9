"""The discriminators of Akada et al. against the published network; sizes; weights in and out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import convert, models

NAME = "patch_discriminator"


def _shapes(options, size):
  module = models.create(NAME, **options)
  x = jax.ShapeDtypeStruct((1, *size, module.in_channels), jnp.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), x)
  return variables, jax.eval_shape(module.apply, variables, x)


@pytest.fixture(scope="module")
def case(golden):
  return golden.load("akada_discriminator")


@pytest.fixture(scope="module")
def state(golden, case):
  return golden.weights(case.spec)


def test_equals_the_published_network(golden, case, state):
  x = golden.inputs_of(case.spec)["x"].transpose(0, 2, 3, 1)
  out = jax.jit(models.create(NAME).apply)(convert.from_torch(NAME, state), x)
  have = {"score": out.score[..., None], "features": out.features}
  for name, want in case.outputs.items():
    got = np.asarray(have[name]).transpose(0, 3, 1, 2)[:, : want.shape[1]]
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max(), name


def test_number_of_parameters_and_scores():
  variables, out = _shapes({}, (288, 960))
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 2_765_570
  assert out.score.shape == (1, 34, 118) and out.features.shape == (1, 35, 119, 512)


def test_weights_go_out_as_they_came_in(state):
  back = convert.to_torch(NAME, convert.from_torch(NAME, state))
  assert set(back) == set(state)
  for name, x in back.items():
    if not name.endswith("num_batches_tracked"):
      np.testing.assert_array_equal(x, state[name], err_msg=name)


@pytest.mark.parametrize(
  "options, size",
  [
    ({"width": 4, "layers": 2}, (13, 20)),
    ({"width": 4, "layers": 1, "norm": "instance", "activation": "leaky_relu"}, (8, 6)),
  ],
)
def test_smaller_ones_equal_those_of_torch(options, size):
  """Sequences written down for themselves, from the names that ours go out under."""
  torch = pytest.importorskip("torch")
  options = {"in_channels": 2, **options}
  variables, _ = _shapes(options, size)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda s: rng.uniform(0.1, 1, s.shape).astype(np.float32), variables)
  state = convert.to_torch(NAME, variables)
  back = convert.from_torch(NAME, state, **options)
  jax.tree.map(np.testing.assert_array_equal, back, dict(variables))
  conv = torch.nn.Conv2d
  if options["layers"] == 2:
    slope = torch.nn.PReLU()
    norm = torch.nn.BatchNorm2d
    items = [conv(2, 4, 4, 2, 1, bias=False), slope]
    items += [conv(4, 8, 4, 2, 1, bias=False), norm(8), slope]
    items += [conv(8, 16, 4, 1, 1, bias=False), norm(16), slope, conv(16, 1, 4, 1, 1)]
  else:
    leaky = torch.nn.LeakyReLU(0.2)
    items = [
      conv(2, 4, 4, 2, 1),
      leaky,
      conv(4, 8, 4, 1, 1, bias=False),
      torch.nn.InstanceNorm2d(8),
    ]
    items += [leaky, conv(8, 1, 4, 1, 1)]
  peer = torch.nn.Sequential(*items)
  own = {k.removeprefix("scale0.model."): torch.from_numpy(v) for k, v in state.items()}
  peer.load_state_dict(own)  # strict
  peer.eval()
  x = rng.standard_normal((2, *size, 2)).astype(np.float32)
  with torch.no_grad():
    want = peer(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()[:, 0]
  have = models.create(NAME, **options).apply(variables, x).score
  np.testing.assert_allclose(have, want, atol=1e-5 * np.abs(want).max())


def test_small_images_are_refused():
  with pytest.raises(ValueError, match="at least 24"):
    _shapes({}, (16, 32))
