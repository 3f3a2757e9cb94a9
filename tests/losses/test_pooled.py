import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.losses import pooled


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1001])
def test_median_equals_numpy(n):
  rng = np.random.default_rng(n)
  x = rng.normal(size=(3, n)).astype(np.float32) * 10.0 ** rng.integers(-20, 20, (3, n))
  x = x.astype(np.float32)
  mask = rng.random((3, n)) < 0.7
  mask[0, 0] = True
  got = jax.jit(pooled.masked_median)(x, mask)
  np.testing.assert_allclose(got, np.median(x[mask]), rtol=2e-7)


def test_median_of_ties_infinities_and_nothing():
  x = jnp.array([2.0, 2.0, -1.0, jnp.inf, 2.0, jnp.inf, -0.0, 0.0])
  everything = jnp.ones(8, bool)
  assert pooled.masked_median(x, everything) == 2.0
  assert pooled.masked_median(x, x == jnp.inf) == jnp.inf
  assert pooled.masked_median(x, x == 0) == 0.0
  assert pooled.masked_median(x, ~everything) == 0.0


def test_median_over_shards_is_that_of_the_batch():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(4, 2, 5, 6)).astype(np.float32)
  mask = rng.random(x.shape) < 0.3
  mask[2] = False  # a device without a valid pixel
  got = jax.vmap(lambda x, m: pooled.masked_median(x, m, "batch"), axis_name="batch")(x, mask)
  np.testing.assert_allclose(got, np.full(4, np.median(x[mask])), rtol=1e-6)


def test_median_has_no_gradient():
  x = jnp.arange(5.0)
  gradient = jax.grad(lambda x: pooled.masked_median(x, x >= 0))(x)
  np.testing.assert_array_equal(gradient, 0.0)


def test_mean_ignores_what_lies_outside_the_mask():
  x = jnp.array([1.0, jnp.nan, 3.0])
  mask = jnp.array([True, False, True])
  assert pooled.masked_mean(x, mask) == 2.0
  np.testing.assert_array_equal(jax.grad(pooled.masked_mean)(x, mask), [0.5, 0.0, 0.5])
  assert pooled.masked_mean(x, jnp.zeros(3, bool)) == 0.0


def test_shapes_are_named_in_the_error():
  with pytest.raises(ValueError, match=r"x \(2, 3\), mask \(2, 3, 1\)"):
    pooled.masked_mean(jnp.zeros((2, 3)), jnp.zeros((2, 3, 1), bool))


def test_ranked_equals_a_sort_on_one_device_and_on_four():
  rng = np.random.default_rng(1)
  x = rng.normal(size=(4, 3, 5)).astype(np.float32)
  x[0, 0], x[1, 0, :2] = 0.25, [np.inf, -np.inf]  # ties, infinities
  mask = rng.random(x.shape) < 0.6
  mask[2] = False
  ordered = np.sort(x[mask])
  ranks = jnp.array([0, 1, 7, len(ordered) // 2, len(ordered) - 1])
  got = pooled.ranked(x, mask, ranks)
  np.testing.assert_array_equal(got, ordered[np.asarray(ranks)])
  shard = lambda x, mask: pooled.ranked(x, mask, ranks, "batch")
  every = jax.vmap(shard, axis_name="batch")(x, mask)
  np.testing.assert_array_equal(every, np.stack([got] * 4))


def test_ranked_has_no_gradient():
  rank = lambda x: pooled.ranked(x, x > 0, jnp.array([1])).sum()
  np.testing.assert_array_equal(jax.grad(rank)(jnp.arange(5.0)), 0.0)


def test_mean_over_shards_is_that_of_the_batch():
  x = jnp.arange(12.0).reshape(4, 3)
  assert pooled.mean(x) == 5.5
  means = jax.vmap(lambda x: pooled.mean(x, "batch"), axis_name="batch")(x)
  np.testing.assert_allclose(means, 5.5)
