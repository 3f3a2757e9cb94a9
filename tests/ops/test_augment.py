"""The strong augmentation against what it promises, bit by bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import augment

B, H, W, T = 4, 20, 30, 128


def _stream():
  bits = np.random.default_rng(0).random((B, H, W, T)) < 0.4
  return bits, jnp.asarray(np.packbits(bits, axis=-1, bitorder="little"))


def _bits(packed):
  return np.unpackbits(np.asarray(packed), axis=-1, bitorder="little").astype(bool)


@pytest.mark.parametrize("groups", [4, 8, 16])
def test_steps_move_within_their_groups_and_all_pixels_alike(groups):
  bits, packed = _stream()
  out = _bits(augment.strong(jax.random.key(0), packed, groups=groups, drop=0, area=(0, 0)))
  seen = out.reshape(B, H * W, groups, T // groups)
  given = bits.reshape(seen.shape)
  orders = set()
  for b in range(B):
    for g in range(groups):
      match = (seen[b, :, g, :, None] == given[b, :, g, None, :]).mean(0)  # [after, before]
      order = match.argmax(1)
      assert match.max(1).min() > 1 - 2 / (H * W)  # all but the one erased pixel
      assert sorted(order) == list(range(T // groups))
      orders.add(tuple(order))
  assert len(orders) > 0.9 * B * groups


def test_drop_removes_its_share_and_adds_nothing():
  bits, packed = _stream()
  one = augment.strong(jax.random.key(1), packed, drop=0.0, area=(0, 0))
  dropped = _bits(augment.strong(jax.random.key(1), packed, drop=0.1, area=(0, 0)))
  kept = _bits(one)
  assert not (dropped & ~kept).any()
  share = 1 - dropped.sum() / kept.sum()
  assert abs(share - 26 / 256) < 4 * np.sqrt(0.1 * 0.9 / kept.sum())
  assert not _bits(augment.strong(jax.random.key(1), packed, drop=1.0)).any()


def test_one_rectangle_of_each_picture_is_erased():
  packed = jnp.full((64, 40, 60, 16), 255, jnp.uint8)
  out = _bits(augment.strong(jax.random.key(2), packed, drop=0.0, area=(0.01, 0.05)))
  assert (out.all(-1) | ~out.any(-1)).all()  # a pixel is erased for all time or not at all
  shares = []
  for hole in ~out.any(-1):
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    assert hole[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].all()
    assert hole.sum() == len(rows) * len(columns)
    shares.append(hole.mean())
  assert 0.007 < min(shares) and max(shares) < 0.06 and np.std(shares) > 0.005


def test_other_groups_are_refused():
  with pytest.raises(ValueError, match="groups"):
    augment.strong(jax.random.key(0), _stream()[1], groups=3)
