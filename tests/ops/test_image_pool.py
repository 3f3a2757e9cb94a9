"""The pool of earlier images: filled first, then swapped, one image after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import image_pool

SIZE, BATCH = 5, 4


@pytest.fixture(scope="module")
def run():
  return jax.jit(image_pool.exchange)


def _numbered(first, count=BATCH):
  """Images that are all of one number, each another one."""
  return jnp.arange(first, first + count, dtype=jnp.float32)[:, None, None, None] + jnp.zeros(
    (count, 2, 3, 1)
  )


def test_every_image_is_stored_or_shown_as_one_after_the_other_says(run):
  """Replayed by a list: what is shown is the new image, or one that the list holds, which it replaces."""
  pool, held, swapped = image_pool.empty(SIZE, (2, 3, 1)), [], []
  for step in range(60):
    new = _numbered(1 + step * BATCH)
    shown, pool = run(jax.random.key(step), pool, new)
    assert (np.asarray(shown) == np.asarray(shown)[:, :1, :1]).all()
    for image, got in zip(np.asarray(new)[:, 0, 0, 0], np.asarray(shown)[:, 0, 0, 0], strict=True):
      if len(held) < SIZE:
        held.append(image)
        assert got == image
      elif got != image:
        place = held.index(got)  # a stored one, which is not shown again
        held[place] = image
        swapped.append(place)
    assert pool.count == len(held)
    np.testing.assert_array_equal(np.asarray(pool.images)[: len(held), 0, 0, 0], held)
  assert 85 < len(swapped) < 150  # of 235
  assert np.bincount(swapped, minlength=SIZE).min() > 10


def test_no_gradient_goes_through_a_pool():
  pool = image_pool.empty(1, (2, 3, 1))
  gradient = jax.grad(lambda x: image_pool.exchange(jax.random.key(0), pool, x)[0].sum())
  assert not gradient(_numbered(1)).any()


def test_a_pool_without_room_shows_what_there_is():
  pool, images = image_pool.empty(0, (2, 3, 1)), _numbered(1)
  shown, after = image_pool.exchange(jax.random.key(0), pool, images)
  np.testing.assert_array_equal(shown, images)
  assert after is pool
