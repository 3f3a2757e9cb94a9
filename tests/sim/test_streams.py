"""Streams of video: pieces, windows and interpolation against direct simulation and true motion."""

import jax
import numpy as np
import pytest

from bicross_jax.ops import spikes
from bicross_jax.sim import flow, spike_camera, streams

KEY = jax.random.key(0)
simulate = jax.jit(spike_camera.simulate, static_argnames="steps")


def _pattern(shift: float, shape=(48, 64)) -> np.ndarray:
  """A smooth texture moved to the right by `shift` pixels, exact at any shift."""
  y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
  x = x - shift
  waves = (
    np.sin(0.45 * x + 0.2 * y)
    + np.sin(0.23 * x - 0.4 * y + 1)
    + np.sin(0.11 * x + 2)
    + np.cos(0.31 * y - 0.07 * x)
  )
  return (0.5 + waves / 9).astype(np.float32)


def test_stream_equals_one_simulation_and_does_not_depend_on_the_chunk():
  frames = np.random.default_rng(0).random((5, 24, 40)).astype(np.float32)
  timing = streams.Timing(fps=100.0)  # 200 steps between frames, 800 in all
  sensor = spike_camera.Sensor(shot_noise=0.01)
  whole = simulate(KEY, frames, 800, sensor)
  assert streams.total_steps(streams.times_of(5, timing), timing) == 800
  for chunk in (64, 256):
    pieces = list(
      streams.stream(KEY, iter(frames), streams.times_of(5, timing), timing, sensor, chunk)
    )
    got = np.concatenate(pieces, -1)
    assert got.shape == (24, 40, 100)
    # The moments of the steps are computed differently, so a few spikes may move by a step.
    assert (spikes.bits(got) != spikes.bits(np.asarray(whole))).mean() < 1e-3


def test_stream_takes_frames_one_by_one():
  taken = []

  def frames():
    for i in range(30):
      taken.append(i)
      yield np.full((24, 40), i / 29, np.float32)

  timing = streams.Timing(fps=1000.0)  # 20 steps between frames
  pieces = streams.stream(KEY, frames(), streams.times_of(30, timing), timing, chunk=40)
  next(pieces)
  assert len(taken) <= 4
  assert (
    5 + sum(p.shape[-1] for p in pieces)
    == streams.total_steps(streams.times_of(30, timing), timing) // 8
    == 72
  )


def test_total_steps_counts_whole_bytes():
  timing = streams.Timing(30.0)
  for count, steps in ((1, 0), (4, 2000), (2, 664)):
    assert streams.total_steps(streams.times_of(count, timing), timing) == steps


def test_window_has_its_frame_in_the_middle():
  before, middle, after = (np.full((24, 40), v, np.float32) for v in (0.0, 0.5, 1.0))
  frames = np.stack([before, middle, after])
  quiet = spike_camera.Sensor(random_phase=False, threshold=0.25, gain=0.25)
  slow = streams.window(KEY, frames, 128, streams.Timing(10.0), quiet)
  np.testing.assert_allclose(spikes.rate(slow), 0.5, atol=1 / 128)
  # At 20000 / 64 frames a second the window runs from the frame before to the one after.
  assert streams.reach(128, streams.Timing(312.5)) == 1
  fast = streams.window(KEY, frames, 128, streams.Timing(312.5), quiet)
  halves = np.asarray(spikes.bin_counts(fast, 2))[0, 0] / 64
  np.testing.assert_allclose(halves, [0.25, 0.75], atol=1 / 64)
  assert streams.reach(128, streams.Timing(400.0)) == 2
  with pytest.raises(ValueError, match="5 frames"):
    streams.window(KEY, frames, 128, streams.Timing(400.0), quiet)


def test_flow_moves_what_a_blend_only_fades():
  first, second = _pattern(0.0), _pattern(3.0)
  for t in (0.25, 0.5, 0.75):
    (made,) = flow.between(first, second, [t])
    truth = _pattern(3.0 * t)
    inside = (slice(8, -8), slice(8, -8))
    moved = np.abs(made - truth)[inside].mean()
    faded = np.abs((1 - t) * first + t * second - truth)[inside].mean()
    assert moved < 0.35 * faded, (t, moved, faded)
  np.testing.assert_allclose(flow.between(first, second, [0.0, 1.0]), [first, second], atol=1e-6)


def test_flow_interpolation_brings_spikes_nearer_to_truth():
  """A stream with true motion, rendered densely, against both guesses from its frames."""
  sensor = spike_camera.Sensor(random_phase=False)
  truth = simulate(KEY, np.stack([_pattern(4 * i / 16) for i in range(17)]), 640, sensor)
  frames = [_pattern(0.0), _pattern(4.0)]
  error = {}
  for interpolation in ("linear", "flow"):
    timing = streams.Timing(fps=20_000 / 640, interpolation=interpolation)
    made = np.concatenate(
      list(streams.stream(KEY, iter(frames), streams.times_of(2, timing), timing, sensor)), -1
    )
    assert made.shape == truth.shape
    difference = spikes.bin_counts(made, 10) - spikes.bin_counts(np.asarray(truth), 10)
    error[interpolation] = np.abs(difference[8:-8, 8:-8]).mean()
  assert error["flow"] < 0.6 * error["linear"], error


def _closed_form(times, lights, moments):
  """Light at some moments of a scene of one grey that changes linearly between its frames."""
  return np.interp(moments, times, lights)


@pytest.mark.parametrize("interpolation", ["linear", "flow"])
def test_frames_stand_at_their_own_times(interpolation):
  """Unevenly spaced frames of one grey: charge and spikes follow from the blend's integral."""
  times = np.array([0.0, 0.0031, 0.0040, 0.0200, 0.0210, 0.0452])
  lights = np.array([0.1, 0.9, 0.3, 0.8, 0.0, 1.0])
  frames = [np.full((16, 24), v, np.float32) for v in lights]
  quiet = spike_camera.Sensor(random_phase=False)
  timing = streams.Timing(None, interpolation=interpolation)
  total = streams.total_steps(times, timing)
  assert total == 904  # 0.0452 s at 20 kHz
  steps = (np.arange(total) + 0.5) / timing.rate
  fired = np.floor(np.cumsum(_closed_form(times, lights, steps)) / quiet.threshold + 1e-4)
  for chunk in (64, 256):
    made = np.concatenate(
      list(streams.stream(KEY, iter(frames), times, timing, quiet, chunk)), axis=-1
    )
    counts = np.cumsum(np.asarray(spikes.bits(made), np.int64)[8, 12])
    assert abs(counts - fired).max() <= 1, interpolation
  assert streams.reach(128, timing, times) == 2  # 3.2 ms to either side: 0.0040 reaches to 0.0
  window = streams.window(KEY, np.stack(frames[:5]), 128, timing, quiet, times[:5])
  around = times[2] + (np.arange(128) + 0.5 - 64) / timing.rate
  total = _closed_form(times, lights, around).sum() / quiet.threshold
  tolerance = 1 if interpolation == "linear" else 4  # by flow five keyframes stand for the window
  assert abs(np.asarray(spikes.bits(window))[8, 12].sum() - total) <= tolerance


def test_window_by_flow_moves():
  sensor = spike_camera.Sensor(random_phase=False)
  frames = np.stack([_pattern(s) for s in (-6.0, 0.0, 6.0)])
  timing = streams.Timing(fps=100.0, interpolation="flow")  # 0.32 frames on either side
  made = streams.window(KEY, frames, 128, timing, sensor)
  truth = simulate(KEY, np.stack([_pattern(1.92 * s) for s in np.linspace(-1, 1, 9)]), 128, sensor)
  blend = streams.window(KEY, frames, 128, timing._replace(interpolation="linear"), sensor)
  count = lambda p: np.asarray(spikes.bin_counts(np.asarray(p), 4))[10:-10, 10:-10]
  error = lambda p: np.abs(count(p) - count(truth)).mean()
  assert error(made) < 0.75 * error(blend)
