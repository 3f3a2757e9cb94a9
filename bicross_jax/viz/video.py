"""Frames to a video file."""

from collections.abc import Iterable
import importlib.util
import itertools
import os
import pathlib
import subprocess

import numpy as np
from PIL import Image

from bicross_jax import errors, files

SLOWEST, FASTEST = 0.01, 1000  # frames a second


def write(path, frames: Iterable[np.ndarray], fps: float = 10.0) -> int:
  """Writes frames as a video; the suffix says which kind, and at no moment is there half a file.

  Args:
    path: ending in ".mp4" (H.264, by the ffmpeg of imageio-ffmpeg; an odd height or width gets one
      more row or column, a copy of the last) or ".gif" (256 colours a frame; all
      frames are held until the end).
    frames: uint8[H, W, 3] each, all of one size; read one at a time.
    fps: frames a second. A GIF holds hundredths of a second a frame, so it is rounded.

  Returns:
    The number of frames.

  Raises:
    errors.UserError: another suffix, no frames, .mp4 where imageio-ffmpeg is not installed, or a
      file that cannot be written whole.
    ValueError: frames that are not uint8[H, W, 3] of one size.
  """
  path = pathlib.Path(path)
  check(path, fps)
  frames = _checked(frames)
  first = next(frames, None)
  if first is None:
    raise errors.UserError(f"{path}: no frames to write")
  writer = {".mp4": _write_mp4, ".gif": _write_gif}[path.suffix]
  with files.write_whole(path) as file:
    return writer(file, itertools.chain([first], frames), fps)


def check(path: pathlib.Path, fps: float = 10.0) -> None:
  """Looks whether a video of that kind can be made, before there are frames.

  Raises:
    errors.UserError: another suffix, .mp4 where imageio-ffmpeg is not installed, or frames a second
      that no player shows.
  """
  if path.suffix not in (".mp4", ".gif"):
    raise errors.UserError(f"{path}: a video ends in .mp4 or .gif")
  if path.suffix == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
    raise errors.UserError(f"{path}: .mp4 needs the package imageio-ffmpeg; .gif works without")
  if not SLOWEST <= fps <= FASTEST:
    raise errors.UserError(f"{path}: {fps} frames a second is not in {SLOWEST} .. {FASTEST}")


def _checked(frames):
  shape = None
  for frame in frames:
    shape = shape or frame.shape
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
      raise ValueError(
        f"frames must be uint8[H, W, 3] of one size, got {frame.dtype} {frame.shape} after {shape}"
      )
    yield frame


def _write_mp4(file, frames, fps):
  import imageio_ffmpeg  # for its ffmpeg

  first = next(frames)
  odd = [(0, n % 2) for n in first.shape[:2]]
  height, width = (n + pad for n, (_, pad) in zip(first.shape, odd))
  command = [
    imageio_ffmpeg.get_ffmpeg_exe(),
    "-loglevel",
    "quiet",
    "-f",
    "rawvideo",
    "-pix_fmt",
    "rgb24",
    "-s",
    f"{width}x{height}",
    "-r",
    str(fps),
    "-i",
    "-",
    "-c:v",
    "libx264",
    "-pix_fmt",
    "yuv420p",
    "-crf",
    "18",
    "-f",
    "mp4",
    "-y",
    file.name,
  ]
  count = 0
  # A group of its own, so that an interrupt from the keyboard is ours alone.
  with subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0) as ffmpeg:
    try:
      for count, frame in enumerate(itertools.chain([first], frames), 1):  # noqa: B007
        frame = np.ascontiguousarray(np.pad(frame, (*odd, (0, 0)), mode="edge"))
        try:
          ffmpeg.stdin.write(frame.data)
        except BrokenPipeError:
          break
      ffmpeg.communicate()
    except BaseException:
      ffmpeg.kill()
      raise
  if ffmpeg.returncode:
    raise errors.UserError(
      f"{os.path.dirname(file.name)}: the video cannot be written: ffmpeg stopped early (is the "
      "disk full?)"
    )
  return count


def _write_gif(file, frames, fps):
  count = 0

  def pictures():
    nonlocal count
    for frame in frames:
      count += 1
      yield Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE)

  pictures = pictures()
  hundredths = max(round(100 / fps), 2)  # players slow down what is faster than 50 a second
  next(pictures).save(
    file, "GIF", save_all=True, append_images=pictures, duration=10 * hundredths, loop=0
  )
  return count
