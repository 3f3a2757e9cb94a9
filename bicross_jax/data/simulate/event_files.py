"""Events of ordinary video, as files in DSEC's layout."""

from collections.abc import Iterator
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from bicross_jax import errors
from bicross_jax.data.formats import dsec, video
from bicross_jax.data.formats.events import MICRO, NOTHING, Events
from bicross_jax.data.simulate import spike_files
from bicross_jax.ops.keys import named_key
from bicross_jax.sim import event_camera, streams

_start = jax.jit(event_camera.start)
_between = jax.jit(event_camera.between)


class Plan(NamedTuple):
  """What is simulated.

  Attributes:
    sensor: the event camera.
    interpolation: "linear": log intensity is linear from frame to frame; "flow": frames are made
      in between by optical flow first.
    seed: of the pixels' phases; every output draws its own by its name.
    size: (height, width) the frames are resized to, or None.
  """

  sensor: event_camera.Sensor = event_camera.Sensor()
  interpolation: str = "linear"
  seed: int = 0
  size: tuple[int, int] | None = None


def stream(key: jax.Array, frames: video.Frames, plan: Plan) -> Iterator[Events]:
  """The events of a video, in pieces from frame to frame; memory does not grow with its length.

  Args:
    key: PRNG key.
    frames: with their times.
    plan: what is simulated.

  Yields:
    Events in the order of time; microseconds after the first frame.
  """
  parts = streams.FLOW_KEYFRAMES if plan.interpolation == "flow" else 1
  number = np.arange(len(frames.times))
  every = np.arange((len(number) - 1) * parts + 1) / parts
  moments = np.interp(every, number, frames.times)
  lights = (spike_files.light_of(frame, plan.size) for frame in frames.read())
  before, state = None, None
  for i, light in enumerate(streams.subdivided(lights, parts)):
    if before is None:
      state = _start(key, light, plan.sensor)
    else:
      seconds = np.float32(moments[i] - moments[i - 1])
      told, state = _between(state, before, light, seconds, plan.sensor)
      yield listed(jax.device_get(told), *np.rint(moments[i - 1 : i + 1] * MICRO).astype(np.int64))
    before = light


def listed(told: event_camera.Told, begin: int, end: int) -> Events:
  """The events between two frames, one by one in the order of time.

  Args:
    told: NumPy arrays.
    begin, end: microseconds of the two frames.
  """
  pixels = np.nonzero(told.count)
  count = told.count[pixels]
  if not len(count):
    return NOTHING
  each = lambda values: np.repeat(values[pixels], count)
  number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)  # in its pixel
  after = each(told.first).astype(np.float64) + number * each(told.spacing)
  t = np.clip(begin + np.rint(after * MICRO).astype(np.int64), begin, end)
  order = np.argsort(t, kind="stable")
  y, x = (np.repeat(places, count).astype(np.uint16) for places in pixels)
  return Events(x[order], y[order], t[order], each(told.on)[order])


def write(frames: video.Frames, output, plan: Plan) -> Iterator[int]:
  """Writes the events of a video as an events.h5 of DSEC's layout.

  Args:
    frames: with their times, at least two.
    output: the file.
    plan: what is simulated.

  Yields:
    how many events each piece (`stream`) has.

  Raises:
    errors.UserError: a single frame, or a video of more than 71 minutes.
  """
  output = pathlib.Path(output)
  if len(frames.times) < 2:
    raise errors.UserError(f"{errors.shown(frames.path)} has one frame; events need a change")
  events = stream(named_key(plan.seed, output.name), frames, plan)
  yield from dsec.write_pieces(output, events, plan.size or frames.shape)
