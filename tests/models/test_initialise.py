"""models.init against the initialisers of the modules themselves."""

from flax import traverse_util
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import models
from bicross_jax.models import vit


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


def test_running_statistics_are_the_identity():
  head = models.create("projection_head", hidden=3)
  stats = models.init(head, jax.random.key(0), (2, 1, 1, 4))["batch_stats"]["norm"]
  assert stats["mean"].tolist() == [0.0] * 3 and stats["var"].tolist() == [1.0] * 3


def test_unknown_names_are_refused():
  with pytest.raises(ValueError, match="embedding"):
    models.init(_Table(), jax.random.key(0), (2, 3))


class _Table(nn.Module):
  """A module with a parameter that the rules do not know."""

  @nn.compact
  def __call__(self, x):
    return x + self.param("embedding", nn.initializers.ones, x.shape)
