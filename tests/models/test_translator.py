"""The generators of Akada et al. against the published network; instance norm; weights in and out."""

from flax import traverse_util
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import convert, errors, models
from bicross_jax.models import t2net

SMALL = {"width": 8, "blocks": 2}


def _shapes(module, size=(16, 16)):
  x = jax.ShapeDtypeStruct((1, *size, module.in_channels), jnp.float32)
  return jax.eval_shape(module.init, jax.random.key(0), x)


@pytest.fixture(scope="module")
def case(golden):
  return golden.load("akada_generator")


@pytest.fixture(scope="module")
def state(golden, case):
  return golden.weights(case.spec)


def test_equals_the_published_network(golden, case, state):
  x = golden.inputs_of(case.spec)["x"].transpose(0, 2, 3, 1)
  out = jax.jit(models.create("translator").apply)(convert.from_torch("translator", state), x)
  for name, want in case.outputs.items():
    have = np.asarray(getattr(out, name)).transpose(0, 3, 1, 2)[:, : want.shape[1]]
    assert have.shape == want.shape
    assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max(), name


def test_number_of_parameters():
  params = _shapes(models.create("translator"))["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 3_121_220


def test_weights_go_out_as_they_came_in(state):
  back = convert.to_torch("translator", convert.from_torch("translator", state))
  assert set(back) == set(state)
  for name, x in back.items():
    if not name.endswith("num_batches_tracked"):
      np.testing.assert_array_equal(x, state[name], err_msg=name)


def test_slopes_that_differ_are_refused(state):
  name = "decoder.1.model.6.weight"
  with pytest.raises(errors.UserError, match=f"1 unequal: {name} and decoder.1.model.3.weight"):
    convert.from_torch("translator", {**state, name: state[name] + 0.5})


@pytest.mark.parametrize(
  "options", [{}, {"norm": "instance", "activation": "relu", "in_channels": 2, "blocks": 3}]
)
def test_small_ones_go_out_and_come_back(options):
  options = {**SMALL, **options}
  module = models.create("translator", **options)
  rng = np.random.default_rng(0)
  draw = lambda s: rng.standard_normal(s.shape).astype(np.float32)
  variables = jax.tree.map(draw, dict(_shapes(module)))
  state = convert.to_torch("translator", variables)
  back = convert.from_torch("translator", state, **options)
  assert jax.tree.structure(back) == jax.tree.structure(variables)
  jax.tree.map(np.testing.assert_array_equal, back, variables)
  assert ("encoder.9.nonlinearity.weight" in state) == ("negative_slope" in variables["params"])


class _Up(nn.Module):
  """One block with norms of each image."""

  norm, activation, axis_name, dtype = "instance", "leaky_relu", None, jnp.float32

  @nn.compact
  def __call__(self, x):
    return t2net.Up(5, 4, name="up")(x, t2net.style(self, True))


def test_a_block_with_instance_norms_equals_that_of_torch():
  torch = pytest.importorskip("torch")
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, 6, 8, 3)).astype(np.float32)
  shapes = jax.eval_shape(_Up().init, jax.random.key(0), x)
  variables = jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(np.float32), shapes)
  block = torch.nn.Sequential(
    torch.nn.ReflectionPad2d(1),
    torch.nn.Conv2d(3, 5, 3, bias=False),
    torch.nn.InstanceNorm2d(5),
    torch.nn.LeakyReLU(0.2),
    torch.nn.ConvTranspose2d(5, 4, 3, 2, 1, 1),
    torch.nn.InstanceNorm2d(4),
    torch.nn.LeakyReLU(0.2),
  )
  up = variables["params"]["up"]
  weights = {
    "1.weight": up["conv1"]["kernel"].transpose(3, 2, 0, 1),
    "4.weight": up["transposed"]["kernel"].transpose(2, 3, 0, 1),
    "4.bias": up["transposed"]["bias"],
  }
  block.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in weights.items()})
  with torch.no_grad():
    want = block(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
  np.testing.assert_allclose(_Up().apply(variables, x), want, atol=1e-4)


def test_fresh_weights_are_drawn_as_the_authors_draw_them():
  variables = models.init(models.create("translator"), jax.random.key(0), (1, 16, 16, 3))
  params = variables["params"]
  deviation = lambda count: np.sqrt(2 / (9 * count))
  np.testing.assert_allclose(params["block0"]["conv2"]["kernel"].std(), deviation(128), rtol=0.02)
  np.testing.assert_allclose(params["up1"]["transposed"]["kernel"].std(), deviation(64), rtol=0.02)
  scales = np.concatenate([params[f"block{i}"]["norm1"]["scale"] for i in range(7)])
  assert 0.02 <= scales.min() < 0.05 and 0.97 < scales.max() <= 1
  assert abs(scales.mean() - 0.51) < 0.05
  assert params["negative_slope"] == 0.25 and not params["up1"]["transposed"]["bias"].any()


def test_a_step_moves_the_shared_slope_and_the_statistics():
  module = models.create("translator", **SMALL)
  variables = models.init(module, jax.random.key(0), (1, 16, 16, 3))
  x = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)

  @jax.jit
  def gradients(params):
    def loss(params):
      given = {**variables, "params": params}
      out, updates = module.apply(given, x, train=True, mutable=["batch_stats"])
      return jnp.mean((out.image - 0.5) ** 2), updates

    return jax.grad(loss, has_aux=True)(params)

  grads, updates = gradients(variables["params"])
  assert all(np.abs(g).max() > 0 for path, g in jax.tree.leaves_with_path(grads))
  assert np.abs(updates["batch_stats"]["norm1"]["mean"]).max() > 0


@pytest.mark.parametrize(
  "options, shape, message",
  [
    ({}, (1, 18, 16, 3), "multiples of 4"),
    ({}, (1, 4, 16, 3), "at least 8"),
    ({"norm": "layer"}, (1, 16, 16, 3), "batch, instance"),
    ({"activation": "gelu"}, (1, 16, 16, 3), "prelu, relu, leaky_relu"),
  ],
)
def test_what_cannot_be(options, shape, message):
  module = models.create("translator", **SMALL, **options)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


def test_with_skips_the_last_layers_see_the_maps_before_the_pools():
  """Two maps of 2 width channels more, at a half and at the whole resolution; the rest is as it was."""
  shapes = []
  for skips in (False, True):
    module = models.create("translator", width=8, blocks=1, skips=skips)
    shapes.append(
      jax.eval_shape(lambda key, m=module: m.init(key, jnp.zeros((1, 8, 8, 3))), jax.random.key(0))
    )
  plain, skipping = (traverse_util.flatten_dict(s["params"], sep="/") for s in shapes)
  differ = {
    path: (plain[path].shape[-2], skipping[path].shape[-2])
    for path in plain
    if plain[path] != skipping[path]
  }
  assert sorted(differ.values()) == [(8, 24), (16, 32)] and plain.keys() == skipping.keys()
