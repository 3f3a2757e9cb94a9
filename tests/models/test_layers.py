"""models.layers against lax and flax forms of the same layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.models import layers

RNG = np.random.default_rng(0)


def _noise(*shape):
  return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


@pytest.mark.parametrize(
  "kernel, stride, same, padding",
  [
    (1, 1, False, "VALID"),
    (1, 2, True, "SAME"),
    (3, 1, False, "SAME"),
    (3, 2, False, ((1, 1), (1, 1))),
    (3, 2, True, "SAME"),
    (7, 2, True, "SAME"),
  ],
)
def test_conv_equals_flax(kernel, stride, same, padding):
  x = _noise(2, 10, 12, 5)
  conv = layers.Conv(4, kernel, stride=stride, same=same)
  variables = conv.init(jax.random.key(0), x)
  assert jax.tree.map(jnp.shape, variables["params"]) == {
    "kernel": (kernel, kernel, 5, 4),
    "bias": (4,),
  }
  variables["params"]["bias"] = _noise(4)
  other = nn.Conv(4, (kernel, kernel), (stride, stride), padding)
  np.testing.assert_allclose(conv.apply(variables, x), other.apply(variables, x), atol=1e-5)


def test_standardised_conv_ignores_scale_and_offset_of_its_kernel():
  x, conv = _noise(1, 6, 6, 3), layers.Conv(4, 3, bias=False, standardize=1e-8)
  kernel = _noise(3, 3, 3, 4)
  got = conv.apply({"params": {"kernel": kernel}}, x)
  np.testing.assert_allclose(conv.apply({"params": {"kernel": 5 * kernel + 2}}, x), got, atol=1e-4)
  flat = np.asarray(kernel, np.float64).reshape(-1, 4)
  standard = ((flat - flat.mean(0)) / flat.std(0)).reshape(kernel.shape)
  plain = layers.Conv(4, 3, bias=False).apply({"params": {"kernel": jnp.asarray(standard)}}, x)
  np.testing.assert_allclose(got, plain, atol=1e-4)


def test_patch_embed_is_a_strided_convolution():
  x, embed = _noise(2, 8, 12, 3), layers.PatchEmbed(5, 4)
  variables = embed.init(jax.random.key(0), x)
  np.testing.assert_allclose(
    embed.apply(variables, x), nn.Conv(5, (4, 4), (4, 4), "VALID").apply(variables, x), atol=1e-5
  )


@pytest.mark.parametrize("bias, standardize", [(True, None), (False, 1e-6)])
def test_convolutions_together_are_those_alone(bias, standardize):
  class Both(nn.Module):
    @nn.compact
    def __call__(self, x, together):
      convs = [
        layers.Conv(n, 3, bias=bias, standardize=standardize, name=name)
        for n, name in ((4, "one"), (7, "other"), (1, "last"))
      ]
      return layers.together(convs, x) if together else [conv(x) for conv in convs]

  x = _noise(2, 10, 12, 5)
  variables = Both().init(jax.random.key(0), x, True)
  variables = jax.tree.map(lambda leaf: leaf + _noise(*leaf.shape), variables)
  assert set(variables["params"]) == {"one", "other", "last"}
  for have, want in zip(*(Both().apply(variables, x, t) for t in (True, False)), strict=True):
    np.testing.assert_allclose(have, want, atol=1e-5)


@pytest.mark.parametrize("stride", [2, 4])
def test_upsample_is_a_transposed_convolution(stride):
  x, up = _noise(2, 3, 4, 6), layers.Upsample(5, stride)
  variables = up.init(jax.random.key(0), x)
  params = dict(variables["params"], kernel=variables["params"]["kernel"][::-1, ::-1])
  other = nn.ConvTranspose(5, (stride, stride), (stride, stride), "VALID")
  np.testing.assert_allclose(up.apply(variables, x), other.apply({"params": params}, x), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 10), (7, 9), (6, 5)])
def test_max_pool_equals_flax_in_value_and_gradient(size):
  x = _noise(2, *size, 3)
  pools = [layers.max_pool, lambda x: nn.max_pool(x, (3, 3), (2, 2), "SAME")]
  got, want = (p(x) for p in pools)
  np.testing.assert_array_equal(got, want)
  w = _noise(*got.shape)
  got, want = (jax.grad(lambda x, p=p: (p(x) * w).sum())(x) for p in pools)
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_norms_equal_flax_and_stay_float32_inside():
  x = 300 + _noise(2, 5, 6, 8)
  params = {"params": {"scale": _noise(8), "bias": _noise(8)}}
  cases = [
    (layers.GroupNorm(4), nn.GroupNorm(4, epsilon=1e-5, use_fast_variance=False)),
    (layers.LayerNorm(), nn.LayerNorm(epsilon=1e-6, use_fast_variance=False)),
  ]
  for ours, flax in cases:
    np.testing.assert_allclose(
      ours.apply(params, x), flax.apply(params, x), atol=5e-4
    )  # float32 near 300 is 3e-5 apart
    scalar = lambda module: lambda params, x: (module.apply(params, x - 300) ** 3).sum()
    grads = [jax.jit(jax.grad(scalar(module), (0, 1)))(params, x) for module in (ours, flax)]
    for have, want in zip(*map(jax.tree.leaves, grads), strict=True):
      np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
  half = layers.GroupNorm(4, jnp.bfloat16).apply(params, x.astype(jnp.bfloat16))
  exact = layers.GroupNorm(4).apply(params, x.astype(jnp.bfloat16).astype(jnp.float32))
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(half.astype(jnp.float32), exact, rtol=1e-2, atol=1e-2)


def test_batch_norm_of_views_together_is_that_of_one_after_the_other():
  """Values, and running statistics, which go on with the views that are remembered."""
  rng = np.random.default_rng(0)
  views = rng.normal(2, 3, size=(3, 4, 5, 6)).astype(np.float32)
  norm = lambda remembered: layers.BatchNorm(True, None, momentum=0.8, views=remembered)
  start = norm((True,)).init(jax.random.key(0), views[0])
  start = jax.tree.map(lambda x: x + rng.uniform(0.5, 1, x.shape).astype(np.float32), start)
  stats, want = start["batch_stats"], []
  for x, remembered in zip(views, (True, False, True), strict=True):
    y, updates = norm((True,)).apply({**start, "batch_stats": stats}, x, mutable=["batch_stats"])
    want.append(y)
    stats = updates["batch_stats"] if remembered else stats
  y, updates = norm((True, False, True)).apply(
    start, np.concatenate(views), mutable=["batch_stats"]
  )
  np.testing.assert_allclose(y, np.concatenate(want), atol=1e-5)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5)
  jax.tree.map(close, updates["batch_stats"], stats)


def test_batch_norm_equals_flax():
  """In training and by running statistics; also in the statistics that it keeps."""
  x = np.random.default_rng(0).normal(2, 3, size=(4, 5, 6)).astype(np.float32)
  ours = lambda train: layers.BatchNorm(train, None, 0.9, 1e-3)
  theirs = lambda train: nn.BatchNorm(not train, momentum=0.9, epsilon=1e-3)
  variables = ours(True).init(jax.random.key(0), x)
  jax.tree.map(np.testing.assert_array_equal, variables, theirs(True).init(jax.random.key(0), x))
  for _ in range(2):
    (a, new), (b, want) = (
      net(True).apply(variables, x, mutable=["batch_stats"]) for net in (ours, theirs)
    )
    np.testing.assert_allclose(a, b, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), new, want)
    variables = {**variables, **new}
  np.testing.assert_allclose(
    ours(False).apply(variables, x), theirs(False).apply(variables, x), atol=1e-6
  )
