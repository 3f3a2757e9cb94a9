"""The event camera against closed forms, and against a pixel that goes event by event."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.sim import event_camera
from tests.sim import events_by_hand

SIZE = (6, 8)
PLAIN = event_camera.Sensor(mismatch=0.0, refractory=0.0, leak=0.0, random_phase=False)
KEY = jax.random.key(0)
_start, _between = jax.jit(event_camera.start), jax.jit(event_camera.between)
_counts = jax.jit(event_camera.counts, static_argnames="bins")


def _frames(log):
  """Light of log intensities [K], or [K, H, W], of all pixels."""
  log = np.asarray(log, np.float64)
  log = log if log.ndim == 3 else np.broadcast_to(log[:, None, None], (len(log), *SIZE))
  return jnp.asarray(np.exp(log) - event_camera.DARK, jnp.float32)


def _listed(frames, times, sensor, state=None, begin=0):
  """The camera's events as `events_by_hand.events` lists them, and the state after them."""
  state, found = _start(KEY, frames[0], sensor) if state is None else state, []
  for i, seconds in enumerate(np.diff(times)):
    told, state = _between(state, frames[i], frames[i + 1], np.float32(seconds), sensor)
    count, first, spacing, on = (np.asarray(x) for x in told)
    assert (count >= 0).all()
    for row, column in np.argwhere(count):
      for n in range(count[row, column]):
        time = times[i] + float(first[row, column]) + n * float(spacing[row, column])
        found.append((begin + i, row, column, time, bool(on[row, column])))
  return found, state


def _wild(seed, frames=25, size=SIZE):
  """Log intensities that jump about and rest: [K, H, W], and uneven times [K]."""
  rng = np.random.default_rng(seed)
  steps = rng.normal(0, 0.5, (frames - 1, *size)) * (rng.random((frames - 1, *size)) < 0.7)
  walk = np.cumsum(np.concatenate([np.full((1, *size), -2.0), steps]), 0)
  return np.clip(walk, -4.93, -0.07), np.cumsum(rng.uniform(1e-3, 8e-3, frames))


@pytest.mark.parametrize("slope", [7.3, -7.3])
def test_a_ramp_of_log_light_gives_an_event_each_threshold(slope):
  times = np.array([0.0, 0.1, 0.13, 0.3])
  frames = _frames(-2.5 + slope * times)
  sensor = PLAIN._replace(threshold_on=0.25, threshold_off=0.16)
  found, _ = _listed(frames, times, sensor)
  threshold = 0.25 if slope > 0 else 0.16
  expected = np.arange(1, int(abs(slope) * 0.3 / threshold) + 1) * threshold / abs(slope)
  for row, column in ((0, 0), (5, 7)):
    mine = [event for event in found if event[1:3] == (row, column)]
    np.testing.assert_allclose([time for *_, time, _ in mine], expected, atol=2e-6)
    assert {on for *_, on in mine} == {slope > 0}
  assert len(found) == len(expected) * SIZE[0] * SIZE[1]


def test_changes_below_the_threshold_tell_nothing_and_are_not_forgotten():
  """A pixel that comes back has no event; one that goes on has it where the sum is reached."""
  assert not _listed(_frames([-1, -0.85, -1, -1.15, -1]), np.arange(5.0), PLAIN)[0]
  found, _ = _listed(_frames([-1, -0.88, -0.76]), np.arange(3.0), PLAIN)
  np.testing.assert_allclose([time for *_, time, _ in found], 1 + 0.08 / 0.12, atol=1e-5)


def test_reversed_light_swaps_the_polarities():
  log, _ = _wild(1)
  forth = _counts(KEY, _frames(log), 0.1, 6, PLAIN)
  back = _counts(KEY, _frames(-5 - log), 0.1, 6, PLAIN)
  assert forth.sum() > 200
  np.testing.assert_array_equal(forth, back[..., ::-1])


def test_the_level_leaks_at_its_rate():
  """Without change: ON events, `leak` a second, evenly spaced. Falling light is leaked against."""
  leaky = PLAIN._replace(leak=3.0)
  times = np.linspace(0, 2.5, 11)
  found, _ = _listed(_frames(np.full(11, -1.0)), times, leaky)
  mine = [(time, on) for _, row, column, time, on in found if (row, column) == (2, 3)]
  np.testing.assert_allclose([time for time, _ in mine], np.arange(1, 8) / 3, atol=1e-4)
  assert all(on for *_, on in found) and len(found) == 7 * SIZE[0] * SIZE[1]
  found, _ = _listed(_frames(-1 - 0.4 * times), times, leaky)  # falls by 2 thresholds a second
  assert len(found) == 2 * SIZE[0] * SIZE[1] and all(on for *_, on in found)
  found, _ = _listed(_frames(-1 - 1.0 * times), times, leaky)  # by 5: OFF, 2 a second
  assert len(found) == 5 * SIZE[0] * SIZE[1] and not any(on for *_, on in found)


def test_a_blind_pixel_follows_silently():
  """Crossings 20 ms apart, blind for 50 ms: each third is told, over all borders of frames."""
  blind = PLAIN._replace(refractory=0.05)
  times = np.array([0, 0.07, 0.1, 0.101, 0.3, 0.5])
  found, _ = _listed(_frames(-5 + 10 * times), times, blind)
  mine = [time for _, row, column, time, _ in found if (row, column) == (1, 1)]
  np.testing.assert_allclose(mine, np.arange(0.02, 0.5001, 0.06), atol=1e-5)
  once = PLAIN._replace(refractory=1e9)
  found, state = _listed(_frames(-5 + 10 * times), times, once)
  assert len(found) == SIZE[0] * SIZE[1]
  np.testing.assert_allclose(state.level, 0, atol=1e-3)


def test_thresholds_are_the_sensors_own():
  sensor = event_camera.Sensor(threshold_on=0.2, threshold_off=0.3, mismatch=0.03)
  on, off = event_camera.thresholds((200, 200), sensor)
  for threshold, nominal in ((on, 0.2), (off, 0.3)):
    assert threshold.mean() == pytest.approx(nominal, abs=1e-3)
    assert threshold.std() == pytest.approx(0.03, rel=0.03)
  assert abs(np.corrcoef(on.ravel(), off.ravel())[0, 1]) < 0.02
  other, _ = event_camera.thresholds((200, 200), sensor._replace(pattern_seed=1))
  assert abs(np.corrcoef(on.ravel(), other.ravel())[0, 1]) < 0.02
  wide, _ = event_camera.thresholds((200, 200), sensor._replace(mismatch=0.5))
  assert wide.min() == pytest.approx(0.02)


def test_phases_are_uniform_between_the_thresholds():
  light = jnp.full((200, 200), 0.5)
  sensor = event_camera.Sensor(threshold_on=0.2, threshold_off=0.4, mismatch=0.0)
  phase = np.asarray(event_camera.start(KEY, light, sensor).level - np.log(0.5 + 1e-3))
  quantiles = np.quantile(phase, np.linspace(0, 1, 11))
  np.testing.assert_allclose(quantiles, np.linspace(-0.2, 0.4, 11), atol=0.01)
  still = sensor._replace(leak=0.0)
  assert _counts(KEY, jnp.stack([light] * 2), 1.0, 1, still).sum() == 0
  # A rise by an ON threshold: whoever is less than that away tells it, a third of all.
  rise = _frames(np.log([0.5, 0.5 * np.exp(0.2)]))
  rise = jnp.broadcast_to(rise[:, :1, :1], (2, 200, 200))
  assert _counts(KEY, rise, 1.0, 1, still)[..., 0, 0].mean() == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize(
  "sensor",
  [
    event_camera.Sensor(),
    event_camera.Sensor(0.15, 0.3, mismatch=0.05, refractory=4e-3, leak=20.0, pattern_seed=3),
    PLAIN,
  ],
)
def test_events_are_those_of_a_pixel_that_goes_event_by_event(sensor):
  log, times = _wild(2)
  frames = _frames(log)
  mine, _ = _listed(frames, times, sensor)
  level = event_camera.start(KEY, frames[0], sensor).level
  thresholds = event_camera.thresholds(SIZE, sensor)
  by_hand = events_by_hand.events(frames, times, level, thresholds, sensor)
  assert len(by_hand) > 300
  key = lambda event: (event[0], event[1], event[2], event[3])
  mine, by_hand = sorted(mine, key=key), sorted(by_hand, key=key)
  assert [e[:3] + e[4:] for e in mine] == [e[:3] + e[4:] for e in by_hand]
  np.testing.assert_allclose([e[3] for e in mine], [e[3] for e in by_hand], atol=5e-6)


def test_counts_are_the_histogram_of_the_events():
  sensor = event_camera.Sensor(mismatch=0.05, leak=10.0)
  log, _ = _wild(3)
  frames, times = _frames(log), np.linspace(0, 0.06, 25)
  found, _ = _listed(frames, times, sensor)
  for bins in (1, 4, 24):
    got = _counts(KEY, frames, 0.06, bins, sensor)
    assert got.shape == (*SIZE, bins, 2) and got.dtype == jnp.uint8
    np.testing.assert_array_equal(got, events_by_hand.counts(found, 24, bins, SIZE))


def test_counts_stop_at_255():
  busy = PLAIN._replace(threshold_on=0.01, threshold_off=0.02)
  got = _counts(KEY, _frames(np.array([-5.0, -0.5, -5.0])), 0.1, 1, busy)
  assert (got[..., 0, 0] == 255).all() and (got[..., 0, 1] == 225).all()
  assert _counts(KEY, _frames([-5.0, -0.5, -5.0]), 0.1, 2, busy).max() == 255


def test_a_video_may_be_cut_anywhere():
  """The state carries all: two halves, and frames put in on the way, give the same events."""
  sensor = event_camera.Sensor(refractory=6e-3, leak=5.0)
  log, times = _wild(4)
  whole, end = _listed(_frames(log), times, sensor)
  first, state = _listed(_frames(log[:11]), times[:11], sensor)
  second, last = _listed(_frames(log[10:]), times[10:], sensor, state, begin=10)
  assert first + second == whole
  jax.tree.map(np.testing.assert_array_equal, end, last)
  finer = np.interp(np.arange(73) / 3, np.arange(25), np.arange(25))
  at = finer.astype(int).clip(0, 23)
  weight = (finer - at)[:, None, None]
  between = (1 - weight) * log[at] + weight * log[at + 1]
  parts, _ = _listed(_frames(between), np.interp(finer, np.arange(25), times), sensor)
  key = lambda event: (event[1], event[2], event[3])
  parts, whole = sorted(parts, key=key), sorted(whole, key=key)
  assert [e[1:3] + e[4:] for e in parts] == [e[1:3] + e[4:] for e in whole]
  np.testing.assert_allclose([e[3] for e in parts], [e[3] for e in whole], atol=5e-6)


def test_black_and_bright_light_have_numbers():
  frames = jnp.stack([jnp.zeros(SIZE), jnp.full(SIZE, 50.0), jnp.zeros(SIZE)])
  found, state = _listed(frames, np.array([0.0, 1e-6, 2e-6]), PLAIN)
  change = np.log(50 / 1e-3 + 1)
  assert len(found) == 2 * int(change / 0.2) * SIZE[0] * SIZE[1]
  assert all(np.isfinite(x).all() for x in state)


def test_a_level_that_is_reached_but_for_rounding_is_reached_in_its_interval():
  """Where light hardly moves the exact moment may be ages away; the pixel does not wait for it."""
  frames = _frames([-1.0, -1.0, -1.5])
  state = _start(KEY, frames[0], PLAIN)
  state = state._replace(level=state.level + 0.2 * (1 - 5e-5))
  found, state = _listed(frames, np.array([0.0, 0.1, 0.2]), PLAIN._replace(refractory=1e-3), state)
  mine = [(time, on) for _, row, column, time, on in found if (row, column) == (0, 0)]
  assert [on for _, on in mine] == [False] * 3
  np.testing.assert_allclose([time for time, _ in mine], [0.1, 0.14, 0.18], atol=1e-4)
  assert (state.last <= 0).all()


@pytest.mark.parametrize("frames, bins", [(4, 2), (2, 2), (1, 1)])
def test_bins_divide_the_intervals(frames, bins):
  count = functools.partial(event_camera.counts, seconds=0.1, bins=bins)
  with pytest.raises(ValueError, match="bins do not divide"):
    jax.eval_shape(count, KEY, jnp.zeros((frames, *SIZE)))
