"""DPT: golden cases, sizes, options and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bicross_jax import convert, models
from bicross_jax.models import dpt

GOLDEN = {
  "bicross_dpt_hybrid_spike": (1e-3, {"backbone": "hybrid", "in_channels": 128}),
  "bicross_dpt_vitb16_rgb": (1e-4, {"backbone": "base", "scale": 3.05e-4, "shift": 0.1378}),
}
# What published checkpoints hold besides, unused: classifier and refinenet4.resConfUnit1.
UNUSED = 769_000 + 1_180_160
PARAMETERS = {
  ("hybrid", 3): 123_478_954 - UNUSED,
  ("hybrid", 128): 123_870_954 - UNUSED,
  ("base", 3): 111_979_050 - UNUSED,
  ("large", 3): 342_951_172,
  ("small", 3): 19_000_000,
  ("tiny", 3): 1_555_000,
}


@pytest.mark.parametrize("name", GOLDEN)
def test_equals_the_published_network(golden, name):
  tolerance, options = GOLDEN[name]
  case = golden.load(name)
  variables = convert.from_torch("dpt", golden.weights(case.spec), **options)
  x = golden.inputs_of(case.spec)["x"].transpose(0, 2, 3, 1)
  out = jax.jit(models.create("dpt", **options).apply)(variables, x)
  got = {**out._asdict(), **out.features}
  for key, want in case.outputs.items():
    have = np.asarray(got[key])
    have = (have.transpose(0, 3, 1, 2) if have.ndim == 4 else have)[:, : want.shape[1]]
    assert have.shape == want.shape, key
    assert np.abs(have - want).max() <= tolerance * np.abs(want).max(), key


def _shapes(size=64, **options):
  module = models.create("dpt", **options)
  x = jax.ShapeDtypeStruct((1, size, size, module.in_channels), jnp.float32)
  return jax.eval_shape(module.init, jax.random.key(0), x)


@pytest.mark.parametrize("backbone, channels", PARAMETERS)
def test_number_of_parameters(backbone, channels):
  leaves = jax.tree.leaves(_shapes(backbone=backbone, in_channels=channels))
  assert sum(leaf.size for leaf in leaves) == PARAMETERS[backbone, channels]
  assert all(leaf.dtype == jnp.float32 for leaf in leaves)


def test_every_variant_has_its_number_of_parameters():
  assert {backbone for backbone, _ in PARAMETERS} == set(dpt.VARIANTS)


@pytest.mark.parametrize("backbone", dpt.VARIANTS)
@pytest.mark.parametrize("height, width", [(352, 1216), (384, 384), (224, 224), (96, 160), (384, 864)])
def test_shapes_of_the_outputs(backbone, height, width):
  module, v = models.create("dpt", backbone=backbone), dpt.VARIANTS[backbone]
  x = jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32)
  variables = _shapes(backbone=backbone)
  out = jax.eval_shape(module.apply, variables, x)
  for field in (out.depth, out.inverse_depth, out.uncertainty):
    assert field.shape == (2, height, width)
  for i in range(1, 5):
    assert out.features[f"path_{i}"].shape == (2, height >> i, width >> i, v.features)
  assert out.features["layer_4"].shape == (2, height // 32, width // 32, v.widths[3])
  assert out.features["cls_token"].shape == (2, v.dim)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(out))


@pytest.mark.parametrize("shape", [(1, 48, 64, 3), (1, 64, 40, 3), (64, 64, 3), (1, 64, 64, 1)])
def test_inputs_that_do_not_fit_are_refused(shape):
  module = models.create("dpt", backbone="tiny")
  with pytest.raises(ValueError, match=str(shape[1])):
    jax.eval_shape(module.apply, _shapes(backbone="tiny"), jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.fixture(scope="module")
def tiny():
  """Variables of the tiny network for RGB and an input."""
  x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)), jnp.float32)
  variables = jax.jit(models.create("dpt", backbone="tiny").init)(jax.random.key(0), x)
  return variables, x


def _apply(variables, x, **options):
  return jax.jit(models.create("dpt", backbone="tiny", **options).apply)(variables, x)


def test_read_out_options(tiny):
  base = _apply(*tiny, scale=2.0, shift=3.0)
  y = base.inverse_depth
  assert y.min() < 0 < y.max()
  np.testing.assert_allclose(base.depth, 1 / jnp.maximum(2 * y + 3, 1e-8), rtol=1e-5)
  soft = _apply(*tiny, scale=2.0, shift=0.5, activation="softplus")
  np.testing.assert_allclose(soft.inverse_depth, jax.nn.softplus(y), rtol=1e-4)
  np.testing.assert_allclose(soft.depth, 1 / (2 * soft.inverse_depth + 0.5), rtol=1e-5)
  rectified = _apply(*tiny, non_negative=True)
  np.testing.assert_allclose(rectified.inverse_depth, jnp.maximum(y, 0), atol=1e-6)
  direct = _apply(*tiny, invert=False, scale=2.0, shift=3.0)
  np.testing.assert_array_equal(direct.depth, direct.inverse_depth)


def test_without_uncertainty_the_rest_stays(tiny):
  variables, x = tiny
  params = {k: v for k, v in variables["params"].items() if k != "uncertainty_head"}
  out = _apply({"params": params}, x, uncertainty=False)
  assert out.uncertainty is None
  np.testing.assert_allclose(out.depth, _apply(variables, x).depth, rtol=1e-5)
  assert "uncertainty_head" not in _shapes(backbone="tiny", uncertainty=False)["params"]


def test_bfloat16_is_near(tiny):
  variables, x = tiny
  full, half = _apply(variables, x), _apply(variables, x, dtype="bfloat16")
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(half))
  error = jnp.abs(full.inverse_depth - half.inverse_depth).max() / jnp.abs(full.inverse_depth).max()
  assert 0 < error < 0.1


def test_stem_bins_average_windows_of_time():
  options = {"backbone": "tiny", "in_channels": 32, "stem_bins": 4}
  spikes = jnp.where(jax.random.uniform(jax.random.key(1), (1, 32, 32, 32)) < 0.3, 1.0, -1.0)
  module = models.create("dpt", **options)
  variables = jax.jit(module.init)(jax.random.key(0), spikes)
  assert variables["params"]["backbone"]["resnet"]["stem"]["conv"]["kernel"].shape[2] == 4
  apply = jax.jit(module.apply)
  want = apply(variables, spikes).inverse_depth
  shuffled = spikes.reshape(1, 32, 32, 4, 8)[..., ::-1].reshape(spikes.shape)
  np.testing.assert_allclose(apply(variables, shuffled).inverse_depth, want, atol=1e-5)
  means = spikes.reshape(1, 32, 32, 4, 8).mean(-1)
  np.testing.assert_allclose(apply(variables, means).inverse_depth, want, atol=1e-5)


def test_tiny_fits_eight_smooth_maps():
  y, x = jnp.meshgrid(jnp.linspace(0, 1, 64), jnp.linspace(0, 1, 64), indexing="ij")
  phase = jnp.arange(8.0)[:, None, None]
  depth = 10 + 6 * jnp.sin(3 * x[None] + phase) * jnp.cos(2 * y[None] - phase)
  image = jnp.stack([jnp.sin(depth), jnp.cos(depth), depth / 16], axis=-1)
  module = models.create("dpt", backbone="tiny", scale=0.3, shift=0.01, activation="softplus")
  params = jax.jit(module.init)(jax.random.key(0), image)["params"]
  optimiser = optax.adam(1e-3)

  @jax.jit
  def step(params, state):
    def loss(params):
      out = module.apply({"params": params}, image, train=True)
      error = jnp.log(out.depth) - jnp.log(depth)
      wanted = jax.lax.stop_gradient(jnp.abs(error))
      return (error**2).mean(), ((out.uncertainty - wanted) ** 2).mean()

    def total(params):
      parts = loss(params)
      return sum(parts), parts[0]

    (_, value), gradient = jax.value_and_grad(total, has_aux=True)(params)
    updates, state = optimiser.update(gradient, state)
    return optax.apply_updates(params, updates), state, value, gradient

  state, values = optimiser.init(params), []
  for i in range(60):
    params, state, value, gradient = step(params, state)
    values.append(float(value))
    if i == 0:
      assert all(bool(jnp.any(g != 0)) for g in jax.tree.leaves(gradient))
  assert np.mean(values[-5:]) < values[0] / 10
