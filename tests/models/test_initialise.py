"""models.init against the initialisers of the modules themselves, and by the pairs of networks."""

import math

from flax import traverse_util
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import models
from bicross_jax.models import initialise, spike_unet, vit


def test_same_tree_and_same_spread_as_the_module():
  block, x = vit.ViT(depth=1, heads=2, taps=(0,), grid=(4, 4)), jnp.zeros((1, 4, 4, 64))
  ours = models.init(block, jax.random.key(0), x.shape)
  theirs = block.init(jax.random.key(0), x)
  assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs)
  flat = traverse_util.flatten_dict(ours, sep="/")
  for path, leaf in traverse_util.flatten_dict(theirs, sep="/").items():
    assert flat[path].dtype == leaf.dtype
    if leaf.std() == 0 or leaf.size < 1000:
      continue
    np.testing.assert_allclose(flat[path].std(), leaf.std(), rtol=0.2)
    assert abs(flat[path].mean()) < 0.1 * leaf.std()
  assert flat["params/block0/norm1/scale"].tolist() == [1.0] * 64
  other = models.init(block, jax.random.key(1), x.shape)
  assert jnp.any(other["params"]["cls_token"] != ours["params"]["cls_token"])


def test_the_draw_of_a_key_never_changes():
  """One truncated normal over all kernels and positions, cut in the order of the tree."""
  module = spike_unet.FrontedDPT(
    models.create("spike_unet", in_channels=16, widths=(4, 8), reduction=2),
    models.create("dpt", backbone="nano"),
  )
  key = jax.random.key(3)
  ours = traverse_util.flatten_dict(models.init(module, key, (1, 32, 32, 16)), sep="/")
  drawn = [p for p in ours if p.endswith(("/kernel", "/cls_token", "/pos_embed"))]

  raw = jax.random.truncated_normal(key, -2, 2, (sum(ours[p].size for p in drawn),))

  @jax.jit
  def cut(raw):
    noise, flat, start = raw / 0.87962566, {}, 0
    for path, leaf in ours.items():
      flat[path] = jnp.full(leaf.shape, float(path.endswith(("/scale", "/var"))))
      if path in drawn:
        fan_in = math.prod(leaf.shape[:-1])
        size = 1 / math.sqrt(fan_in) if path.endswith("/kernel") else 0.02
        stop = start + leaf.size
        flat[path], start = (noise[start:stop] * size).reshape(leaf.shape), stop
    return flat

  flat = cut(raw)
  assert ours.keys() == flat.keys() and len(drawn) > 40
  for path in ours:
    np.testing.assert_array_equal(ours[path], flat[path], err_msg=path)


class _Neurons(nn.Module):
  """A PReLU, and a time constant as parametric LIF neurons have it."""

  @nn.compact
  def __call__(self, x):
    return nn.PReLU(name="act")(x) * jax.nn.sigmoid(self.param("w", nn.initializers.ones, ()))


class _Wide(nn.Module):
  """A network with pairs of its own."""

  INITIALISERS = (
    (r"^params/uniform/kernel$", initialise.uniform(0.5)),
    (r"^params/normal/kernel$", initialise.normal(lambda s: math.sqrt(2 / initialise.fan_out(s)))),
    (r"^params/normal/bias$", initialise.constant(0.1)),
    (r"/embedding$", initialise.truncated_normal(3.0)),
  )

  @nn.compact
  def __call__(self, x):
    x = x + self.param("embedding", nn.initializers.ones, (1, 1, 400))
    x = nn.Conv(500, (3, 3), name="uniform")(x[None])[0]
    return nn.Dense(50, name="normal")(_Neurons(name="neurons")(x))


class _Outer(nn.Module):
  """A network made of another one."""

  inner: _Wide

  def __call__(self, x):
    return self.inner(x)


@pytest.mark.parametrize("outer", [False, True])
def test_networks_add_pairs_of_their_own(outer):
  module, x = _Wide(), (4, 4, 400)
  if outer:  # found by expressions that name the paths inside
    params = models.init(_Outer(_Embedding()), jax.random.key(0), x)["params"]
    assert params["inner"]["embedding"].tolist() == [7.0]
    return
  params = models.init(module, jax.random.key(0), x)["params"]
  assert params["neurons"]["w"] == 0 and params["neurons"]["act"]["negative_slope"] == 0.25
  assert params["normal"]["bias"].tolist() == [np.float32(0.1)] * 50
  flat = np.asarray(params["uniform"]["kernel"]).ravel()
  assert np.abs(flat).max() <= 0.5
  np.testing.assert_allclose(np.histogram(flat, 10, (-0.5, 0.5))[0] / flat.size, 0.1, rtol=0.02)
  kernel = np.asarray(params["normal"]["kernel"]).ravel()
  np.testing.assert_allclose(kernel.std(), math.sqrt(2 / 50), rtol=0.02)
  assert abs((np.abs(kernel) > 2 * math.sqrt(2 / 50)).mean() - 0.0455) < 0.01  # not cut off
  np.testing.assert_allclose(params["embedding"].std(), 3, rtol=0.1)


def test_variables_that_no_pair_fits_are_listed():
  class Two(nn.Module):
    @nn.compact
    def __call__(self, x):
      one = self.param("embedding", nn.initializers.ones, (3,))
      return x + one[None] + self.param("gate", nn.initializers.ones, (3,))[None]

  with pytest.raises(ValueError, match=r"params/embedding \(3,\), params/gate \(3,\)"):
    models.init(Two(), jax.random.key(0), (2, 3))


class _Embedding(nn.Module):
  INITIALISERS = ((r"/embedding$", initialise.constant(7.0)),)

  @nn.compact
  def __call__(self, x):
    return x + self.param("embedding", nn.initializers.ones, (1,))[None, None]


def test_running_statistics_are_the_identity():
  head = models.create("projection_head", hidden=3)
  stats = models.init(head, jax.random.key(0), (2, 1, 1, 4))["batch_stats"]["norm"]
  assert stats["mean"].tolist() == [0.0] * 3 and stats["var"].tolist() == [1.0] * 3
