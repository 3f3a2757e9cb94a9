"""DPT: golden cases, sizes, options and gradients."""

from flax import traverse_util
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
  ("large", 3): 342_182_274,
  ("small", 3): 19_099_874,
  ("tiny", 3): 1_554_610,
  ("tiny", 128): 1_554_610 + 125 * 49 * 16,
  ("nano", 3): 29_226,
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


@pytest.mark.parametrize("backbone", [name for name, v in dpt.VARIANTS.items() if v.stages])
def test_standardised_kernels_can_learn(backbone):
  """Two weights of mean 0 and variance 1 are -1 and 1, whatever they were: Adam follows rounding."""
  resnet = _shapes(backbone=backbone)["params"]["backbone"]["resnet"]
  leaves = traverse_util.flatten_dict(resnet, sep="/")
  weights = [np.prod(x.shape[:-1]) for path, x in leaves.items() if path.endswith("/kernel")]
  assert len(weights) > 10 and min(weights) > 2


def test_every_variant_has_its_number_of_parameters():
  assert {backbone for backbone, _ in PARAMETERS} == set(dpt.VARIANTS)


@pytest.mark.parametrize(
  "backbone, height, width",
  [
    *((backbone, 96, 160) for backbone in dpt.VARIANTS),
    *(("nano", height, width) for height, width in [(352, 1216), (384, 864), (224, 224)]),
  ],
)
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
  module = models.create("dpt", backbone="nano")
  with pytest.raises(ValueError, match=str(shape[1])):
    jax.eval_shape(module.apply, _shapes(backbone="nano"), jax.ShapeDtypeStruct(shape, jnp.float32))


def _outputs(x, variables, **cases):
  """The outputs of nano networks that differ in options only, compiled as one graph."""

  def run(x, variables):
    return {
      case: models.create("dpt", backbone="nano", **options).apply(variables, x)
      for case, options in cases.items()
    }

  return jax.jit(run)(x, variables)


def test_read_out_options():
  x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)), jnp.float32)
  variables = models.init(models.create("dpt", backbone="nano"), jax.random.key(0), x.shape)
  out = _outputs(
    x,
    variables,
    base={"scale": 2.0, "shift": 3.0},
    soft={"scale": 2.0, "shift": 0.5, "activation": "softplus"},
    rectified={"non_negative": True},
    direct={"invert": False, "scale": 2.0, "shift": 3.0},
    alone={"uncertainty": False, "scale": 2.0, "shift": 3.0},
  )
  base, soft = out["base"], out["soft"]
  y = base.inverse_depth
  assert y.min() < 0 < y.max()
  np.testing.assert_allclose(base.depth, 1 / jnp.maximum(2 * y + 3, 1e-8), rtol=1e-5)
  np.testing.assert_allclose(soft.inverse_depth, jax.nn.softplus(y), rtol=1e-4)
  np.testing.assert_allclose(soft.depth, 1 / (2 * soft.inverse_depth + 0.5), rtol=1e-5)
  np.testing.assert_allclose(out["rectified"].inverse_depth, jnp.maximum(y, 0), atol=1e-6)
  np.testing.assert_array_equal(out["direct"].depth, out["direct"].inverse_depth)
  assert out["alone"].uncertainty is None and base.uncertainty is not None
  np.testing.assert_allclose(out["alone"].depth, base.depth, rtol=1e-5)
  assert "uncertainty_head" not in _shapes(backbone="nano", uncertainty=False)["params"]


def test_bfloat16_is_near():
  x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)), jnp.float32)
  variables = models.init(models.create("dpt", backbone="nano"), jax.random.key(0), x.shape)
  out = _outputs(x, variables, full={}, half={"dtype": "bfloat16"})
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(out))
  full, half = out["full"].inverse_depth, out["half"].inverse_depth
  assert 0 < jnp.abs(full - half).max() < 0.1 * jnp.abs(full).max()


def test_stem_bins_average_windows_of_time():
  module = models.create("dpt", backbone="nano", in_channels=32, stem_bins=4)
  spikes = jnp.where(jax.random.uniform(jax.random.key(1), (1, 32, 32, 32)) < 0.3, 1.0, -1.0)
  variables = models.init(module, jax.random.key(0), spikes.shape)
  assert variables["params"]["backbone"]["resnet"]["stem"]["conv"]["kernel"].shape[2] == 4
  windows = spikes.reshape(1, 32, 32, 4, 8)
  inputs = [spikes, windows[..., ::-1].reshape(spikes.shape), windows.mean(-1)]
  want, shuffled, means = jax.jit(
    lambda variables, inputs: [module.apply(variables, x).inverse_depth for x in inputs]
  )(variables, inputs)
  np.testing.assert_allclose(shuffled, want, atol=1e-5)
  np.testing.assert_allclose(means, want, atol=1e-5)


@pytest.mark.slow
def test_nano_fits_eight_smooth_maps():
  y, x = jnp.meshgrid(jnp.linspace(0, 1, 32), jnp.linspace(0, 1, 32), indexing="ij")
  phase = jnp.arange(8.0)[:, None, None]
  depth = 10 + 6 * jnp.sin(3 * x[None] + phase) * jnp.cos(2 * y[None] - phase)
  image = jnp.stack([jnp.sin(depth), jnp.cos(depth), depth / 16], axis=-1)
  module = models.create("dpt", backbone="nano", scale=0.3, shift=0.01, activation="softplus")
  params = models.init(module, jax.random.key(0), image.shape)["params"]
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

  state, values = jax.jit(optimiser.init)(params), []
  for i in range(50):
    params, state, value, gradient = step(params, state)
    values.append(float(value))
    if i == 0:
      flat = traverse_util.flatten_dict(gradient, sep="/")
      idle = {path for path, g in flat.items() if not np.any(g)}
      assert idle == {f"backbone/vit/norm/{name}" for name in ("scale", "bias")}  # cls_token only
  assert np.mean(values[-5:]) < values[0] / 10
