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

INTERPOLATIONS = ("linear", "flow")
_FLOW_KEYFRAMES = 16  # frames made per interval between two frames of a long stream
_WINDOW_KEYFRAMES = 5  # frames made per window
_integrate = jax.jit(spike_camera.integrate)
_simulate = jax.jit(spike_camera.simulate, static_argnames="steps")
_start = jax.jit(spike_camera.initial_charge, static_argnames="shape")


class Timing(NamedTuple):
  """How frames and spike steps lie in time.

  Attributes:
    fps: frames a second.
    rate: spike steps a second.
    interpolation: "linear" or "flow".
  """

  fps: float
  rate: float = spike_camera.READOUT_RATE
  interpolation: str = "linear"


def total_steps(count: int, timing: Timing) -> int:
  """The length of the stream from the first of `count` frames to the last: a multiple of 8."""
  return int((count - 1) * timing.rate / timing.fps / 8 + 1e-9) * 8


def reach(steps: int, timing: Timing) -> int:
  """How many frames on either side a window of `steps` steps around a frame touches."""
  return math.ceil(steps / 2 * timing.fps / timing.rate)


def window(
  key,
  frames: np.ndarray,
  steps: int,
  timing: Timing,
  sensor: spike_camera.Sensor = spike_camera.Sensor(),
) -> np.ndarray:
  """The spikes around the middle one of some frames.

  Args:
    key: PRNG key.
    frames: float32[2 n + 1, H, W], linear luminance; n = reach(steps, timing). Where a frame has
      no neighbour, put its own light: the scene then rests on that side.
    steps: length of the window, a multiple of 8; its middle is the frame's moment.
    timing: see `Timing`.
    sensor: the sensor.

  Returns:
    uint8[H, W, steps/8], packed along time.
  """
  n = reach(steps, timing)
  if frames.ndim != 3 or frames.shape[0] != 2 * n + 1:
    raise ValueError(f"a window of {steps} steps needs {2 * n + 1} frames, not {frames.shape}")
  half = steps / 2 * timing.fps / timing.rate
  if timing.interpolation == "flow":
    moments = np.linspace(n - half, n + half, _WINDOW_KEYFRAMES)
    return np.asarray(_simulate(key, _at(frames, moments), steps, sensor))
  position = n + (np.arange(steps) + 0.5 - steps / 2) * timing.fps / timing.rate
  charge = _start(key, frames.shape[1:], sensor)
  return np.asarray(_integrate(key, charge, frames, position.astype(np.float32), sensor)[0])


def stream(
  key,
  frames: Iterable[np.ndarray],
  count: int,
  timing: Timing,
  sensor: spike_camera.Sensor = spike_camera.Sensor(),
  chunk: int = 256,
) -> Iterator[np.ndarray]:
  """The spikes of a whole video, piece by piece, in memory that does not grow with its length.

  Args:
    key: PRNG key.
    frames: yields `count` frames, float32[H, W] linear luminance.
    count: number of frames, at least 2.
    timing: see `Timing`.
    sensor: the sensor.
    chunk: steps a piece, a multiple of 8; the spikes do not depend on it.

  Yields:
    uint8[H, W, c/8], packed along time; the lengths c add up to total_steps(count, timing).
  """
  parts = _FLOW_KEYFRAMES if timing.interpolation == "flow" else 1
  keyframes = _subdivided(iter(frames), parts)
  spacing = timing.rate / timing.fps / parts  # steps from keyframe to keyframe
  last = (count - 1) * parts
  held, first, charge = [], 0, None
  room = math.ceil(chunk / spacing) + 2
  total = total_steps(count, timing)
  for start in range(0, total, chunk):
    position = (start + np.arange(chunk) + 0.5) / spacing
    lowest, highest = (min(int(position[0]), last), min(int(position[-1]) + 1, last))
    while first + len(held) <= highest:
      held.append(next(keyframes))
    del held[: lowest - first]
    first = lowest
    padded = np.stack(held + held[-1:] * (room - len(held)))
    if charge is None:
      charge = _start(key, padded.shape[1:], sensor)
    packed, charge = _integrate(
      key, charge, padded, (position - first).astype(np.float32), sensor, start
    )
    yield np.asarray(packed)[..., : (total - start) // 8]


def _at(frames: np.ndarray, moments: np.ndarray) -> np.ndarray:
  """Frames at moments on the axis of `frames`, by flow: float32[len(moments), H, W]."""
  interval = np.clip(np.floor(moments).astype(int), 0, len(frames) - 2)
  made = []
  for i in sorted(set(interval)):
    made += flow.between(frames[i], frames[i + 1], (moments - i)[interval == i])
  return np.stack(made)


def _subdivided(frames: Iterator[np.ndarray], parts: int) -> Iterator[np.ndarray]:
  """The frames, with parts - 1 frames made by flow between each two."""
  before = next(frames)
  yield before
  for after in frames:
    yield from flow.between(before, after, np.arange(1, parts) / parts) if parts > 1 else ()
    yield after
    before = after
