"""EvDistill's event images, from counts and from a real recording."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from bicross_jax.data import event_counts
from bicross_jax.data.formats import events
from bicross_jax.ops import event_image


def test_counts_of_each_polarity_are_on_a_scale_of_their_own():
  counts = np.zeros((3, 4, 2), np.uint16)  # ON, OFF
  counts[0, :, 0] = 0, 1, 2, 7
  counts[1, :, 1] = 0, 1, 5, 3
  image = event_image.encode(counts)
  assert image.dtype == np.uint8 and image.shape == (3, 4, 2)
  assert image[0, :, 1].tolist() == [0, 36, 72, 255]  # 255 / 7 = 36.4: cut off
  assert image[1, :, 0].tolist() == [0, 51, 255, 153]
  assert not image[0, :, 0].any() and not image[1:, :, 1].any()
  assert not event_image.encode(np.zeros((3, 4, 2), np.uint8)).any()


def test_arrays_of_jax_and_of_a_batch_are_the_same():
  counts = np.random.default_rng(0).integers(0, 300, (2, 5, 6, 2)).astype(np.uint16)
  counts[1, ..., 0] = 0
  each = np.stack([event_image.encode(x) for x in counts])
  np.testing.assert_array_equal(event_image.encode(counts), each)
  found = jax.jit(event_image.encode)(jnp.asarray(counts))
  assert found.dtype == jnp.uint8
  np.testing.assert_array_equal(found, each)


def test_a_real_recording(samples, tmp_path):
  """Events between two frames of a DAVIS that slides past a desk: text, counts, picture, file.

  What became brighter by its green and darker by its red is what did between the frames.
  """
  folder = samples / "davis_slider_depth"
  begin, end = (float(s.split()[0]) for s in (folder / "images.txt").read_text().splitlines()[1:3])
  rows = np.loadtxt(folder / "events.txt")
  t, x, y, p = rows[(rows[:, 0] > begin) & (rows[:, 0] <= end)].T
  counts = np.zeros((180, 240, 2))
  np.add.at(counts, (y.astype(int), x.astype(int), p.astype(int)), 1)
  assert len(t) == counts.sum() > 11_000
  want = np.floor(255 * counts / counts.max((0, 1))).astype(np.uint8)

  with events.open_events(folder / "events.txt", size=(180, 240)) as file:
    every = file.read(0, file.count)
  window = round(1e6 * begin), round(1e6 * end)
  image = event_counts.image(every, *window, size=(180, 240))
  np.testing.assert_array_equal(image, want)
  assert np.unique(image[..., 0]).tolist() == [0, 42, 85, 127, 170, 212, 255]  # of 6 events
  assert np.unique(image[..., 1]).tolist() == [0, 63, 127, 191, 255]  # of 4

  before, after = (
    np.asarray(Image.open(folder / f"images/frame_0000000{i}.png")).astype(float) for i in (1, 2)
  )
  brighter = 4.0 * image[..., 1] - 6.0 * image[..., 0]
  assert np.corrcoef(brighter.ravel(), (after - before).ravel())[0, 1] > 0.6
  path = tmp_path / "event.png"
  Image.fromarray(np.concatenate([image, np.zeros((180, 240, 1), np.uint8)], -1)).save(path)
  red, green, blue = np.moveaxis(np.asarray(Image.open(path)), -1, 0)
  assert (red == want[..., 0]).all() and (green == want[..., 1]).all() and not blue.any()
