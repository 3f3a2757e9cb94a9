"""The projection head against NumPy, and its pooled batch statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import models

X = jnp.asarray(np.random.default_rng(0).standard_normal((8, 2, 3, 16)), jnp.float32)


def _head(**options):
  head = models.create("projection_head", hidden=6, features=4, **options)
  return head, head.init(jax.random.key(0), X)


def test_training_and_evaluation_against_numpy():
  head, variables = _head()
  p = jax.tree.map(np.asarray, variables["params"])
  h = np.asarray(X).mean((1, 2)) @ p["linear1"]["kernel"] + p["linear1"]["bias"]
  for train, (mean, variance) in ((True, (h.mean(0), h.var(0))), (False, (0, 1))):
    got, new = head.apply(variables, X, train=train, mutable=["batch_stats"])
    z = np.maximum((h - mean) / np.sqrt(variance + 1e-5), 0)
    np.testing.assert_allclose(got, z @ p["linear2"]["kernel"], atol=1e-5)
    if train:
      np.testing.assert_allclose(new["batch_stats"]["norm"]["mean"], 0.1 * h.mean(0), atol=1e-6)


def test_two_devices_equal_one():
  head, variables = _head()
  want, _ = head.apply(variables, X, train=True, mutable=["batch_stats"])
  split, variables = _head(axis_name="batch")

  def run(x):
    return split.apply(variables, x, train=True, mutable=["batch_stats"])[0]

  got = jax.vmap(run, axis_name="batch")(X.reshape(2, 4, 2, 3, 16)).reshape(8, 4)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_published_widths_and_refusal():
  head = models.create("projection_head")
  x = jax.ShapeDtypeStruct((2, 3, 4, 768), jnp.float32)
  variables = jax.eval_shape(head.init, jax.random.key(0), x)
  shapes = jax.tree.map(lambda a: a.shape, variables["params"])
  assert shapes["linear1"]["kernel"] == (768, 512) and shapes["linear2"]["kernel"] == (512, 256)
  with pytest.raises(ValueError, match="8, 16"):
    head.init(jax.random.key(0), jnp.zeros((8, 16)))
