"""Spike streams of ordinary video: frames at 10 to 1000 Hz, spikes at 20 kHz.

The light between two frames is either their blend in linear light ("linear") or made by optical
flow ("flow"). A blend does not move anything: over the 6.4 ms of a 128-step window at 10 Hz an
edge fades by 3 % towards where it was and will be, instead of moving by 6 % of its way from frame
to frame. Flow moves it, with the faults of estimated flow where things are covered and uncovered.
"""

from collections.abc import Iterable, Iterator
import math
from typing import NamedTuple

import jax
import numpy as np

from bicross_jax.sim import flow, spike_camera

FLOW_KEYFRAMES = 16  # frames made per interval between two frames of a long stream
_WINDOW_KEYFRAMES = 5  # frames made per window
_integrate = jax.jit(spike_camera.integrate)
_simulate = jax.jit(spike_camera.simulate, static_argnames="steps")
_start = jax.jit(spike_camera.initial_charge, static_argnames="shape")


class Timing(NamedTuple):
  """How frames and spike steps lie in time.

  Attributes:
    fps: frames a second; None where every frame has its own time.
    rate: spike steps a second.
    interpolation: "linear" or "flow".
  """

  fps: float | None
  rate: float = spike_camera.READOUT_RATE
  interpolation: str = "linear"


def times_of(count: int, timing: Timing) -> np.ndarray:
  """When evenly spaced frames are: float64[count], seconds after the first."""
  return np.arange(count) / timing.fps


def total_steps(times: np.ndarray, timing: Timing) -> int:
  """The length of the stream from the first frame to the last: a multiple of 8.

  Args:
    times: float64[count], seconds after the first frame.
    timing: see `Timing`.
  """
  return int(times[-1] * timing.rate / 8 + 1e-9) * 8


def reach(steps: int, timing: Timing, times: np.ndarray | None = None) -> int:
  """How many frames on either side a window of `steps` steps around a frame touches, at least 1.

  Args:
    steps: length of the window.
    timing: see `Timing`.
    times: float64[count], seconds, of the frames that have windows; the answer is the most for any
      of them. Left out where frames are 1 / timing.fps apart.
  """
  if times is None:
    return math.ceil(steps / 2 * timing.fps / timing.rate)
  half, index = steps / 2 / timing.rate, np.arange(len(times))
  first = np.maximum(np.searchsorted(times, times - half, "right") - 1, 0)
  last = np.minimum(np.searchsorted(times, times + half, "left"), len(times) - 1)
  return max(1, *(index - first), *(last - index))


def window(
  key,
  frames: np.ndarray,
  steps: int,
  timing: Timing,
  sensor: spike_camera.Sensor = spike_camera.Sensor(),
  times: np.ndarray | None = None,
) -> np.ndarray:
  """The spikes around the middle one of some frames.

  Args:
    key: PRNG key.
    frames: float32[2 n + 1, H, W], linear luminance; without `times` n = reach(steps, timing).
      Where a frame has no neighbour, put its own light: the scene then rests on that side.
    steps: length of the window, a multiple of 8; its middle is the frame's moment.
    timing: see `Timing`.
    sensor: the sensor.
    times: float64[2 n + 1], when the frames are, in seconds, increasing; those of frames
      1 / timing.fps apart when left out. Before the first and after the last the scene rests.

  Returns:
    uint8[H, W, steps/8], packed along time.
  """
  if times is None:
    n = reach(steps, timing)
    if frames.ndim != 3 or frames.shape[0] != 2 * n + 1:
      raise ValueError(f"a window of {steps} steps needs {2 * n + 1} frames, not {frames.shape}")
    times = times_of(2 * n + 1, timing)
  elif frames.ndim != 3 or len(times) % 2 == 0 or len(frames) != len(times):
    raise ValueError(f"frames {frames.shape} with {len(times)} times")
  half = steps / 2 / timing.rate
  index, offset = np.arange(len(times)), times - times[len(times) // 2]
  if timing.interpolation == "flow":
    moments = np.interp(np.linspace(-half, half, _WINDOW_KEYFRAMES), offset, index)
    return np.asarray(_simulate(key, _at(frames, moments), steps, sensor))
  position = np.interp((np.arange(steps) + 0.5 - steps / 2) / timing.rate, offset, index)
  charge = _start(key, frames.shape[1:], sensor)
  return np.asarray(_integrate(key, charge, frames, position.astype(np.float32), sensor)[0])


def stream(
  key,
  frames: Iterable[np.ndarray],
  times: np.ndarray,
  timing: Timing,
  sensor: spike_camera.Sensor = spike_camera.Sensor(),
  chunk: int = 256,
) -> Iterator[np.ndarray]:
  """The spikes of a whole video, piece by piece, in memory that does not grow with its length.

  Args:
    key: PRNG key.
    frames: yields the frames, float32[H, W] linear luminance.
    times: float64[count], when each is, in seconds after the first, increasing; at least 2.
    timing: see `Timing`.
    sensor: the sensor.
    chunk: steps a piece, a multiple of 8; the spikes do not depend on it.

  Yields:
    uint8[H, W, c/8], packed along time; the lengths c add up to total_steps(times, timing).
  """
  parts = FLOW_KEYFRAMES if timing.interpolation == "flow" else 1
  keyframes = subdivided(iter(frames), parts)
  last = (len(times) - 1) * parts
  moments = np.interp(np.arange(last + 1) / parts, np.arange(len(times)), times)  # of keyframes
  total = total_steps(times, timing)
  starts = range(0, total, chunk)

  def position(step):  # among the keyframes
    return np.interp((step + 0.5) / timing.rate, moments, np.arange(last + 1))

  ends = np.array([(position(start), position(start + chunk - 1)) for start in starts]).reshape(
    -1, 2
  )
  lowest = ends[:, 0].astype(int)
  highest = np.minimum(ends[:, 1].astype(int) + 1, last)
  room = max(highest - lowest, default=0) + 1
  held, first, charge = [], 0, None
  for start, low, high in zip(starts, lowest, highest, strict=True):
    while first + len(held) <= high:
      held.append(next(keyframes))
    del held[: low - first]
    first = low
    padded = np.stack(held + held[-1:] * (room - len(held)))
    if charge is None:
      charge = _start(key, padded.shape[1:], sensor)
    among = position(start + np.arange(chunk)) - first
    packed, charge = _integrate(key, charge, padded, among.astype(np.float32), sensor, start)
    yield np.asarray(packed)[..., : (total - start) // 8]


def _at(frames: np.ndarray, moments: np.ndarray) -> np.ndarray:
  """Frames at moments on the axis of `frames`, by flow: float32[len(moments), H, W]."""
  interval = np.clip(np.floor(moments).astype(int), 0, len(frames) - 2)
  made = []
  for i in sorted(set(interval)):
    made += flow.between(frames[i], frames[i + 1], (moments - i)[interval == i])
  return np.stack(made)


def subdivided(frames: Iterator[np.ndarray], parts: int) -> Iterator[np.ndarray]:
  """The frames float32[H, W], with parts - 1 frames made by flow between each two."""
  before = next(frames)
  yield before
  for after in frames:
    yield from flow.between(before, after, np.arange(1, parts) / parts) if parts > 1 else ()
    yield after
    before = after
