"""A pool of images that were made earlier, which a critic sees beside those of now (Shrivastava et al., CVPR 2017)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Pool(NamedTuple):
  """Images made in earlier steps.

  Attributes:
    images: float32[N, H, W, C]; what lies at `count` and beyond is not filled yet.
    count: int32[], how many there are.
  """

  images: jax.Array
  count: jax.Array


def empty(size: int, shape: tuple[int, ...], dtype=jnp.float32) -> Pool:
  """A pool of `size` images of a shape (H, W, C), none of which is there yet."""
  return Pool(jnp.zeros((size, *shape), dtype), jnp.zeros((), jnp.int32))


def exchange(key: jax.Array, pool: Pool, images: jax.Array) -> tuple[jax.Array, Pool]:
  """What a critic is shown in place of new images, and the pool after that.

  One image after the other: while there is room it is stored, and shown itself; later, as often as not, a
  stored one is drawn, shown in its place and replaced by it (Zhu et al., CycleGAN, 2017). A pool of size 0 shows the
  images as they are. No gradient goes through.

  Args:
    key: PRNG key.
    pool: so far.
    images: float32[B, H, W, C].

  Returns:
    (float32[B, H, W, C], the pool).
  """
  images = jax.lax.stop_gradient(images)
  size = len(pool.images)
  if not size:
    return images, pool
  drawing, choosing = jax.random.split(key)
  swaps = jax.random.bernoulli(drawing, 0.5, (len(images),))
  places = jax.random.randint(choosing, (len(images),), 0, size)

  def one(pool, new):
    image, swap, place = new
    filling = pool.count < size
    place = jnp.where(filling, pool.count, place)
    stored = jax.lax.dynamic_index_in_dim(pool.images, place, keepdims=False)
    shown = jnp.where(swap & ~filling, stored, image)
    kept = jnp.where(swap | filling, image, stored).astype(stored.dtype)
    kept = jax.lax.dynamic_update_index_in_dim(pool.images, kept, place, 0)
    return Pool(kept, pool.count + filling), shown

  pool, shown = jax.lax.scan(one, pool, (images, swaps, places))
  return shown, pool
