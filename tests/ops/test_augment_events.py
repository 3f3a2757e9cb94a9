"""What augmentation does to event counts, each to an example of its own."""

import jax
import numpy as np

from bicross_jax.ops import augment_events


def _batch(rows=64):
  rng = np.random.default_rng(0)
  return {
    "events": rng.integers(0, 5, (rows, 4, 6, 3, 4)).astype(np.uint8),
    "depth": rng.uniform(1, 9, (rows, 4, 6)).astype(np.float32),
    "depth_before": rng.uniform(1, 9, (rows, 4, 6)).astype(np.float32),
    "key": np.arange(rows),
  }


def test_reversed_time():
  """Bins the other way round, ON and OFF exchanged for each camera, depth of the other end."""
  batch = _batch()
  batch["depth_before"][:8] = 0  # unknown: these cannot be reversed
  out = jax.device_get(augment_events.reverse_time(jax.random.key(1), batch, share=0.5))
  turned = (out["depth"] != batch["depth"]).any((1, 2))
  assert not turned[:8].any() and 16 < turned.sum() < 40
  want = batch["events"][:, :, :, ::-1][..., [1, 0, 3, 2]]
  np.testing.assert_array_equal(out["events"][turned], want[turned])
  np.testing.assert_array_equal(out["depth"][turned], batch["depth_before"][turned])
  np.testing.assert_array_equal(out["depth_before"][turned], batch["depth"][turned])
  for name, x in batch.items():
    np.testing.assert_array_equal(out[name][~turned], x[~turned])
  assert out["events"].dtype == np.uint8


def test_time_reversed_twice_is_time():
  batch = _batch(4)
  twice = batch
  for seed in range(2):
    twice = augment_events.reverse_time(jax.random.key(seed), twice, share=1.0)
  for name, x in batch.items():
    np.testing.assert_array_equal(twice[name], x)


def test_dropped_cells_are_lost_to_each_camera_alone():
  events = np.full((200, 8, 8, 2, 4), 3, np.uint8)
  out = np.asarray(augment_events.drop(jax.random.key(2), events, share=0.5, most=0.4))
  assert out.dtype == np.uint8 and set(np.unique(out)) == {0, 3}
  lost = (out == 0).mean((1, 2, 3, 4))
  assert 60 < (lost == 0).sum() < 140
  some = lost[lost > 0]
  assert some.max() < 0.47 and abs(some.mean() - 0.2) < 0.03
  most = out[lost.argmax()] == 0
  assert (most[..., 0] != most[..., 2]).any()  # the right camera is not a copy of the left
