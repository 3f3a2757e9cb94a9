"""Data grafting: examples made of the rows of two (EPCDepth, Peng et al. 2021, section 3.2)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

SHARES = 5  # the own share of the rows is a multiple of 1 / SHARES, all of them included


def graft(key: jax.Array, maps: Mapping[str, jax.Array], group: jax.Array) -> dict[str, jax.Array]:
  """Lower rows come from a partner of the same group; half of the time they are moved to the top.

  Both cameras of a rectified pair see a point in one row, so rows can be exchanged and moved as long
  as all maps of an example are treated alike and its partner's baseline has the same sign.

  Args:
    key: PRNG key.
    maps: fields with the batch in front, [B, H, W, ...], of one height.
    group: bool[B]; partners have the same value. A partner may be the example itself.

  Returns:
    The same fields and shapes.
  """
  keys = jax.random.split(key, 3)
  height = next(iter(maps.values())).shape[1]
  share = jax.random.randint(keys[0], (), 0, SHARES)
  own = (share * height) // SHARES  # rows that an example keeps; 0: it is left alone
  partner = partners(keys[1], group)
  top = jnp.where(jax.random.bernoulli(keys[2]), own, 0)
  row = (jnp.arange(height) + top) % height

  def one(x):
    kept = (jnp.arange(height) < own).reshape(1, -1, *(1,) * (x.ndim - 2))
    mixed = jnp.take(jnp.where(kept, x, x[partner]), row, axis=1)
    return jnp.where(own > 0, mixed, x)

  return {name: one(x) for name, x in maps.items()}


def partners(key: jax.Array, group: jax.Array) -> jax.Array:
  """int32[B], a random permutation within each of two groups (bool[B])."""
  drawn = jax.random.uniform(key, group.shape)
  places = jnp.argsort(group, stable=True)
  shuffled = jnp.argsort(group + drawn)  # drawn is below 1
  return jnp.zeros_like(places).at[places].set(shuffled)
