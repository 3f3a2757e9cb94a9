"""Counts of events against loops over events, area closing against its definition."""

import numpy as np
import pytest
from scipy import ndimage

from bicross_jax.data import event_counts
from bicross_jax.data.formats import events
from bicross_jax.data.formats.events import Events
from tests.data.event_kinds import SIZE, T0, equal, stream


def _each(found: Events):
  return zip(*(column.tolist() for column in found), strict=True)


def _maps(seed=0):
  """Maps that send a third of the pixels outside, some to the very edges, some nowhere."""
  rng = np.random.default_rng(seed)
  height, width = SIZE
  x = rng.uniform(-0.2 * width, 1.2 * width, SIZE)
  y = rng.uniform(-0.2 * height, 1.2 * height, SIZE)
  edges = [0.0, -0.0, -1e-9, -0.5, -0.500001, 0.5, 1.0, 7.999999, np.nan, np.inf, -np.inf]
  for table, most in ((x, width), (y, height)):
    ends = [most - 1.0, most - 0.5, most - 0.500001, most - 1e-9, float(most), most + 1e-9]
    where = rng.permutation(table.size)[: 20 * len(edges + ends)]
    table.ravel()[where] = np.tile(edges + ends, 20)
  return x, y


def test_rectified_events():
  given, (xmap, ymap) = stream(4000), _maps()
  wanted = []
  for x, y, t, p in _each(given):
    column, row = float(xmap[y, x]), float(ymap[y, x])
    if 0 <= column < SIZE[1] and 0 <= row < SIZE[0]:
      wanted.append((int(column), int(row), t, p))
  assert 1000 < len(wanted) < 3000
  x, y, t, p = (list(column) for column in zip(*wanted, strict=True))
  kinds = (np.uint16, np.uint16, np.int64, bool)
  equal(
    event_counts.rectified(given, (xmap, ymap)),
    Events(*(np.array(c, kind) for c, kind in zip((x, y, t, p), kinds, strict=True))),
  )


def test_maps_of_32_bits_rectify_as_those_of_64():
  given, maps = stream(2000), tuple(np.round(table, 1) for table in _maps(1))
  single = tuple(table.astype(np.float32).astype(np.float64) for table in maps)
  equal(
    event_counts.rectified(given, tuple(table.astype(np.float32) for table in maps)),
    event_counts.rectified(given, single),
  )


def _counted(found, begin, end, bins, strict):
  """By the definition: bin k is begin + k d < t <= begin + (k + 1) d, whole numbers alone."""
  out = np.zeros((*SIZE, bins, 2), int)
  length = end - begin
  for x, y, t, p in _each(found):
    for k in range(bins):
      low, high, time = length * k, length * (k + 1), (t - begin) * bins
      if low < time < high or (time == high and not strict):
        out[y, x, k, 0 if p else 1] += 1
  return out


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("length", "bins"), [(20_000, 1), (20_000, 5), (20_001, 10), (7, 3)])
def test_counts_of_a_window(length, bins, strict):
  begin = T0 + 5000
  rng = np.random.default_rng(bins)
  edges = begin + (np.arange(-1, bins + 2)[:, None] * length // bins + [-1, 0, 1]).ravel()
  many = stream(1500)
  t = np.sort(np.concatenate([many.t, edges, edges]))
  n = len(t)
  x, y = rng.integers(0, SIZE[1], n), rng.integers(0, SIZE[0], n)
  found = Events(x.astype(np.uint16), y.astype(np.uint16), t, rng.random(n) < 0.5)
  counts = event_counts.histogram(found, begin, begin + length, bins=bins, size=SIZE, strict=strict)
  assert counts.dtype == np.uint16 and counts.shape == (*SIZE, bins, 2)
  wanted = _counted(found, begin, begin + length, bins, strict)
  assert wanted.sum() > (500 if length > 10_000 else 5)
  np.testing.assert_array_equal(counts, wanted)


@pytest.mark.parametrize("bins", [1, 2, 5])
def test_legacy_windows_are_those_of_the_publication(bins):
  """Open intervals of relative seconds, counted from the first event that stays in the frame."""
  given, maps = stream(3000, length=160_000), _maps()
  found = event_counts.rectified(given, maps)
  origin, step = int(found.t[0]), 0.05 / bins
  for chunk in range(3):
    wanted = np.zeros((*SIZE, bins, 2), int)
    for x, y, t, p in _each(found):
      seconds = (t - origin) / 1e6
      for k in range(bins):
        if chunk * 0.05 + k * step < seconds < chunk * 0.05 + (k + 1) * step:
          wanted[y, x, k, 1 - p] += 1
    begin = origin + 50_000 * chunk
    counts = event_counts.histogram(found, begin, begin + 50_000, bins=bins, size=SIZE, strict=True)
    np.testing.assert_array_equal(counts, wanted)
    assert counts[..., 0].sum() > 100
  assert (
    event_counts.histogram(found, origin, origin + 1, bins=1, size=SIZE, strict=True).sum() == 0
  )


def test_one_event_lies_where_it_should():
  one = Events(np.uint16([7]), np.uint16([3]), np.array([T0 + 31_000]), np.array([False]))
  counts = event_counts.histogram(one, T0, T0 + 50_000, bins=5, size=SIZE)
  np.testing.assert_array_equal(np.argwhere(counts), [[3, 7, 3, 1]])
  none = Events(*(column[:0] for column in one))
  assert not event_counts.histogram(none, T0, T0 + 50_000, bins=5, size=SIZE).any()
  assert not event_counts.histogram(one, T0 + 31_000, T0 + 60_000, bins=5, size=SIZE).any()


def test_more_events_than_16_bits_hold_do_not_overflow():
  n = 70_000
  same = np.ones(n, np.uint16)
  found = Events(same, 2 * same, np.arange(n) // 10, np.arange(n) < 65_534)
  counts = event_counts.histogram(found, -1, n, bins=1, size=SIZE)
  assert counts[2, 1, 0].tolist() == [65_534, 4466]
  many = found._replace(p=np.ones(n, bool))
  assert event_counts.histogram(many, -1, n, bins=1, size=SIZE)[2, 1, 0].tolist() == [65_535, 0]


def test_counts_of_real_events(samples):
  with events.open_events(samples / "davis_slider_depth" / "events.txt", size=(180, 240)) as file:
    begin = file.first + 20_000
    found = file.read(0, file.count)
    start, stop = file.find(np.array([begin, begin + 50_000]) + 1)
    counts = event_counts.histogram(
      file.read(int(start), int(stop)), begin, begin + 50_000, bins=5, size=(180, 240)
    )
  wanted = np.zeros((180, 240, 5, 2), int)
  for k in range(5):
    low = begin + 10_000 * k
    chosen = (found.t > low) & (found.t <= low + 10_000)
    place = (found.y[chosen], found.x[chosen], k, np.where(found.p[chosen], 0, 1))
    np.add.at(wanted, place, 1)
  assert wanted.sum() == stop - start > 10_000
  np.testing.assert_array_equal(counts, wanted)


# Area closing


def _closed(depth, pixels):
  """The least level at which a pixel's component of what is no higher has enough pixels."""
  out = np.full(depth.shape, -1.0)
  for level in np.unique(depth):
    parts, _ = ndimage.label(depth <= level)  # 4 neighbours
    large = np.bincount(parts.ravel())[parts] >= pixels
    out = np.where((out < 0) & large & (parts > 0), level, out)
  return out


@pytest.mark.parametrize("levels", [3, 8, 500])
@pytest.mark.parametrize("seed", range(4))
def test_area_closing_is_what_its_definition_says(levels, seed):
  rng = np.random.default_rng([levels, seed])
  depth = rng.integers(0, levels, (17, 23)).astype(np.float32) * np.float32(0.37) + 1
  depth[rng.random(depth.shape) < 0.3] = 0
  depth[rng.integers(12) :, rng.integers(18) :] = 0
  if seed % 2:
    depth = ndimage.grey_opening(depth, 3)
  found = event_counts.area_closing(depth)
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, _closed(depth, 24))
  np.testing.assert_array_equal(event_counts.area_closing(depth, 7), _closed(depth, 7))


def _hole(count, value=0.0):
  depth = np.full((20, 30), 5.0, np.float32)
  depth[:, 15:] = 7
  place = np.argwhere(np.ones((4, 6)))[:count] + [4, 3]
  depth[tuple(place.T)] = value
  return depth


def test_holes_of_23_pixels_are_filled_and_those_of_24_are_not():
  np.testing.assert_array_equal(event_counts.area_closing(_hole(23)), _hole(0))
  np.testing.assert_array_equal(event_counts.area_closing(_hole(24)), _hole(24))
  diagonal = np.full((40, 40), 3.0, np.float32)
  diagonal[np.arange(40), np.arange(40)] = 0  # corners do not join
  assert (event_counts.area_closing(diagonal) == 3).all()


def test_small_near_things_are_filled_and_small_far_ones_stay():
  np.testing.assert_array_equal(event_counts.area_closing(_hole(10, 2.0)), _hole(0))
  np.testing.assert_array_equal(event_counts.area_closing(_hole(10, 9.0)), _hole(10, 9.0))


def test_depth_below_a_metre_keeps_all_but_its_last_bit():
  depth = np.full((20, 30), 0.1, np.float32)
  np.testing.assert_allclose(event_counts.area_closing(depth), depth, rtol=0, atol=2**-24)
  assert not event_counts.area_closing(np.zeros((20, 30), np.float32)).any()
