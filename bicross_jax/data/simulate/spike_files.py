"""Spike streams made from frames, as files: one long stream, or a window for each frame.

A finished file is never made again: one that is there and has the right size is skipped, one that
has another size is an error unless it may be replaced. A file takes its name only when complete.
"""

from collections.abc import Iterator, Sequence
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import image, npy, spikes, video
from bicross_jax.ops.keys import named_key
from bicross_jax.sim import spike_camera, streams

_light = jax.jit(spike_camera.light)


class Plan(NamedTuple):
  """What is simulated.

  Attributes:
    timing: step rate, interpolation, and the frame rate of images that have no times.
    steps: length of a window around a frame; a multiple of 8.
    sensor: the spike camera.
    seed: of all random draws; every output draws its own by its name.
    size: (height, width) the frames are resized to, or None.
    overwrite: whether files of another size are replaced.
  """

  timing: streams.Timing
  steps: int = 128
  sensor: spike_camera.Sensor = spike_camera.Sensor()
  seed: int = 0
  size: tuple[int, int] | None = None
  overwrite: bool = False


def light_of(frame: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
  """Linear luminance of a frame, resized in linear light by pixel area where asked.

  Args:
    frame: uint8[H, W, 3], sRGB.
    size: (h, w) or None.

  Returns:
    float32[h, w].
  """
  light = np.asarray(_light(frame))
  if size is not None and light.shape != tuple(size):
    import cv2

    light = cv2.resize(light, (size[1], size[0]), interpolation=cv2.INTER_AREA)
  return light


def lights_of(pictures: Sequence, shape: tuple[int, int]) -> list[np.ndarray]:
  """The light of some pictures of one size, float32[H, W] each; one that comes twice is read once.

  Raises:
    errors.BadFileError: a picture is missing, damaged or of another size than `shape`.
  """
  lights = {}
  for path in pictures:
    if path not in lights:
      picture = image.read_rgb(path)
      if picture.shape[:2] != tuple(shape):
        raise errors.BadFileError(
          path, f"is {picture.shape[0]}x{picture.shape[1]}", f"{shape[0]}x{shape[1]}"
        )
      lights[path] = light_of(picture)
  return [lights[path] for path in pictures]


def write_stream(frames: video.Frames, output, plan: Plan) -> Iterator[int]:
  """Writes one stream from the first frame to the last, as .dat or .npy (T, H, W).

  Args:
    frames: with their times.
    output: the file.
    plan: what is simulated.

  Yields:
    the number of steps that each piece added; nothing when the file is already there.
  """
  output = pathlib.Path(output)
  height, width = plan.size or frames.shape
  total = streams.total_steps(frames.times, plan.timing)
  if not total:
    raise errors.UserError(f"{frames.path}: {len(frames.names)} frame(s) last less than 8 steps")
  if output.suffix not in (".dat", ".npy"):
    raise errors.UserError(f"{output}: a stream is written as .dat or .npy")
  shape = (total, height, width)
  if is_finished(output, shape, plan.overwrite):
    return
  files.require_space(output, total * height * width // (1 if output.suffix == ".npy" else 8))
  key = named_key(plan.seed, output.name)
  lights = (light_of(frame, plan.size) for frame in frames.read())
  with files.write_whole(output) as file:
    if output.suffix == ".npy":
      file.write(npy.header_bytes(shape, np.uint8))
    for packed in streams.stream(key, lights, frames.times, plan.timing, plan.sensor):
      bits = spikes.unpack_time(packed)
      file.write(bits.tobytes() if output.suffix == ".npy" else spikes.dat_bytes(bits))
      yield bits.shape[0]


def write_windows(frames: video.Frames, folder, plan: Plan) -> Iterator[bool]:
  """Writes folder/NAME.npy for each frame: a window (steps, H, W) with the frame in its middle.

  Args:
    frames: with their times.
    folder: where the files go.
    plan: what is simulated.

  Yields:
    for each frame whether its file was made (or was there already).
  """
  folder = pathlib.Path(folder)
  count, n = len(frames.names), streams.reach(plan.steps, plan.timing, frames.times)
  shape = (plan.steps, *(plan.size or frames.shape))
  source, held, lights = frames.read(), {}, {}
  ready = 0
  for i, name in enumerate(frames.names):
    while ready < min(i + n + 1, count):
      held[ready] = next(source)
      ready += 1
    output = folder / f"{name}.npy"
    if is_finished(output, shape, plan.overwrite):
      yield False
    else:
      places = np.arange(i - n, i + n + 1)
      around = np.clip(places, 0, count - 1)
      times = frames.times[around] + (places - around)  # beyond the ends the scene rests
      for j in around:
        if j not in lights:
          lights[j] = light_of(held[j], plan.size)
      write_window(output, [lights[j] for j in around], plan, name, times)
      yield True
    held.pop(i - n, None)
    lights.pop(i - n, None)


def write_window(
  output, lights: list[np.ndarray], plan: Plan, name: str, times: np.ndarray | None = None
) -> None:
  """Writes the window around the middle one of some frames as .npy (steps, H, W).

  Args:
    output: the file.
    lights: 2 n + 1 frames, float32[H, W], as `streams.window` takes them.
    plan: what is simulated.
    name: of the frame, for its random draws.
    times: when the frames are, as `streams.window` takes them.
  """
  packed = streams.window(
    named_key(plan.seed, name), np.stack(lights), plan.steps, plan.timing, plan.sensor, times
  )
  spikes.write_npy(output, spikes.unpack_time(packed))


def is_finished(path, shape: tuple[int, int, int], overwrite: bool = False) -> bool:
  """Whether a stream of `shape` (T, H, W) is in the file already.

  Raises:
    errors.UserError: something else is there, and `overwrite` is off.
  """
  path = pathlib.Path(path)
  if path.suffix == ".dat":
    length = shape[0] * spikes.dat_step_bytes(*shape[1:])
    same = path.exists() and files.size(path) == length
  else:
    same = path.exists() and _is_npy(path, shape)
  if path.exists() and not same and not overwrite:
    raise errors.UserError(
      f"{path} is there and is not the expected stream {shape}; "
      "remove it or allow overwriting (--overwrite)"
    )
  return same


def _is_npy(path, shape) -> bool:
  try:
    header = npy.read_header(path)
  except errors.BadFileError:
    return False
  return header.shape == shape and header.dtype == np.uint8
