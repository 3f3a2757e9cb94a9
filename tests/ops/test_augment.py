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
    assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert hole.sum() == len(rows) * len(columns)
    shares.append(hole.mean())
  assert 0.007 < min(shares) and max(shares) < 0.06 and np.std(shares) > 0.005


def test_other_groups_are_refused():
  with pytest.raises(ValueError, match="groups"):
    augment.strong(jax.random.key(0), _stream()[1], groups=3)


def _frames(n=64):
  """One picture of colours with a vertical edge in its middle, n times: float32[n, H, W, 3]."""
  one = np.random.default_rng(1).uniform(-0.6, 0.0, (H, W, 3)).astype(np.float32)
  one[:, W // 2 :] += 0.8
  return jnp.asarray(np.broadcast_to(one, (n, H, W, 3)))


def test_every_frame_is_changed_its_own_way_and_edges_stay():
  x = _frames()
  out = np.asarray(augment.photometric(jax.random.key(0), x))
  assert out.shape == x.shape and out.dtype == np.float32 and abs(out).max() <= 1
  np.testing.assert_array_equal(out, augment.photometric(jax.random.key(0), x))
  grey = out.mean(-1)
  assert len(np.unique(grey.mean((1, 2)))) == len(x)
  step = grey[:, :, W // 2 :].mean((1, 2)) - grey[:, :, : W // 2].mean((1, 2))
  assert step.min() > 0.1 and step.std() > 0.1


def test_photometric_changes_grow_with_their_strength():
  x = jnp.repeat(_frames().mean(-1, keepdims=True), 3, axis=-1)
  changes = [
    float(jnp.abs(augment.photometric(jax.random.key(1), x, s) - x).mean())
    for s in (0.0, 0.25, 1.0, 1.5)
  ]
  assert changes[0] < 1e-3 and changes == sorted(changes) and changes[2] > 4 * changes[0]


def test_colour_goes_in_part():
  out = np.asarray(augment.photometric(jax.random.key(2), _frames(), 0.0))
  colour = out.std(-1).mean((1, 2)) / np.asarray(_frames()).std(-1).mean((1, 2))
  assert colour.min() < 0.1 and colour.max() > 0.9 and 0.35 < colour.mean() < 0.65
