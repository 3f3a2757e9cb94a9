"""A video file or a folder of pictures as a sequence of colour frames."""

from collections.abc import Callable, Iterator
import math
import os
import pathlib
from typing import NamedTuple

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import image, listing

_MOST_BYTES_A_BYTE = 1 << 15  # black 4K frames are 8000 times smaller in H.264
_ALWAYS_FINE = 1 << 26
_TICK = 1e-3  # seconds; Matroska and WebM round time stamps to this


class Frames(NamedTuple):
  """Frames that are decoded one by one when they are asked for.

  Attributes:
    path: the video file or the folder.
    names: one name a frame, without suffix: those of the pictures, or the number in the video.
    fps: frames a second where they are evenly spaced in time; None where they are not, and where
      that is not known: for a folder, and a video without time stamps.
    times: float64[count], seconds after the first frame, increasing; None where not known.
    shape: (height, width) of every frame.
    read: makes a new pass over all frames: () -> iterator of uint8[H, W, 3], sRGB.
  """

  path: pathlib.Path
  names: list[str]
  fps: float | None
  times: np.ndarray | None
  shape: tuple[int, int]
  read: Callable[[], Iterator[np.ndarray]]


def open_frames(path) -> Frames:
  """Opens a folder of PNG or JPEG files (in natural order of their names) or a video file.

  A video is decoded once to count its frames and to learn when each is shown: what files say about
  their number and rate is often wrong.

  Raises:
    errors.BadFileError: nothing there, no pictures, no video, or (while reading) a damaged frame
      or one of another size than the first.
  """
  path = pathlib.Path(path)
  return _folder(path) if path.is_dir() else _video(path)


def _folder(path: pathlib.Path) -> Frames:
  pictures = [path / name for name in listing.names(path, listing.PICTURES)]
  if not pictures:
    raise errors.BadFileError(path, "holds no pictures", "files " + ", ".join(listing.PICTURES))
  names = [p.stem for p in pictures]
  if len(set(names)) < len(names):
    raise errors.BadFileError(path, "has two pictures of one name with different suffixes")
  shape = image.size(pictures[0])

  def read():
    for picture in pictures:
      yield _checked(picture, image.read_rgb(picture), shape)

  return Frames(path, names, None, None, shape, read)


def _video(path: pathlib.Path) -> Frames:
  length = files.size(path)
  import cv2

  video = _open_video(path)
  try:
    height, width = video.get(cv2.CAP_PROP_FRAME_HEIGHT), video.get(cv2.CAP_PROP_FRAME_WIDTH)
    if 3 * height * width > max(_ALWAYS_FINE, _MOST_BYTES_A_BYTE * length):
      raise errors.BadFileError(
        path, f"declares frames of {height:.0f}x{width:.0f} pixels in {length} bytes"
      )
    fps, stamps, shape = video.get(cv2.CAP_PROP_FPS), [], None
    while video.grab():
      if not stamps:
        found, frame = video.retrieve()
        if not found:
          break
        shape = frame.shape[:2]
      stamps.append(video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
  finally:
    video.release()
  if not stamps:
    raise errors.BadFileError(path, "cannot be decoded", "a video or a folder of pictures")

  def read():
    video = _open_video(path)
    try:
      for i in range(len(stamps)):
        found, frame = video.read()
        if not found:
          raise errors.BadFileError(path, f"frame {i} cannot be decoded")
        yield _checked(path, np.ascontiguousarray(frame[..., ::-1]), shape)
    finally:
      video.release()

  fps, times = _timing(np.array(stamps), float(fps))
  return Frames(path, [f"{i:06d}" for i in range(len(stamps))], fps, times, shape, read)


def _timing(stamps: np.ndarray, fps: float) -> tuple[float | None, np.ndarray | None]:
  """(`Frames.fps`, `Frames.times`) of a video.

  Stamps that lie on an even grid but for the container's rounding are put back on it: on that of
  the rate that the file declares, or else on the one from the first stamp to the last.

  Args:
    stamps: float64[count], seconds.
    fps: what the file declares.
  """
  number, stamps = np.arange(len(stamps)), stamps - stamps[0]
  if not np.isfinite(stamps).all() or (np.diff(stamps) <= 0).any():
    return None, None  # as bare H.264, which has no stamps (and declares a rate of its own making)
  rates = [fps] if math.isfinite(fps) and fps > 0 else []
  rates += [number[-1] / stamps[-1]] if stamps[-1] > 0 else []
  for rate in rates:
    if (abs(stamps - number / rate) <= _TICK).all():
      return rate, number / rate
  return None, stamps if rates else None


def _open_video(path: pathlib.Path):
  """OpenCV's reader, which keeps what it thinks of a damaged file to itself."""
  os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
  import cv2

  level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
  try:
    # FFmpeg takes what stands before a colon for a protocol, but not in an absolute path; OpenCV
    # ends the process on names that are not UTF-8, unless it gets their bytes.
    return cv2.VideoCapture(os.fsencode(os.path.abspath(path)), cv2.CAP_FFMPEG)
  finally:
    cv2.utils.logging.setLogLevel(level)


def _checked(path, frame: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  if frame.shape[:2] != tuple(shape):
    raise errors.BadFileError(
      path, f"a frame is {frame.shape[0]}x{frame.shape[1]}", f"{shape[0]}x{shape[1]} as the first"
    )
  return frame
