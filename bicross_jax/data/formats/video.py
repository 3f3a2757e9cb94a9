"""A video file or a folder of pictures as a sequence of colour frames."""

from collections.abc import Callable, Iterator
import math
import os
import pathlib
from typing import NamedTuple

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import image

PICTURES = (".png", ".jpg", ".jpeg")
_MOST_BYTES_A_BYTE = 1 << 15  # black 4K frames are 8000 times smaller in H.264
_ALWAYS_FINE = 1 << 26


class Frames(NamedTuple):
  """Frames that are decoded one by one when they are asked for.

  Attributes:
    path: the video file or the folder.
    names: one name a frame, without suffix: those of the pictures, or the number in the video.
    fps: frames a second as the file says; None for a folder.
    shape: (height, width) of every frame.
    read: makes a new pass over all frames: () -> iterator of uint8[H, W, 3], sRGB.
  """

  path: pathlib.Path
  names: list[str]
  fps: float | None
  shape: tuple[int, int]
  read: Callable[[], Iterator[np.ndarray]]


def open_frames(path) -> Frames:
  """Opens a folder of PNG or JPEG files (in the order of their names) or a video file.

  A video is decoded once to count its frames: what files say about that is often wrong.

  Raises:
    errors.BadFileError: nothing there, no pictures, no video, or (while reading) a damaged frame
      or one of another size than the first.
  """
  path = pathlib.Path(path)
  return _folder(path) if path.is_dir() else _video(path)


def _folder(path: pathlib.Path) -> Frames:
  pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES)
  if not pictures:
    raise errors.BadFileError(path, "holds no pictures", "files " + ", ".join(PICTURES))
  names = [p.stem for p in pictures]
  if len(set(names)) < len(names):
    raise errors.BadFileError(path, "has two pictures of one name with different suffixes")
  shape = image.size(pictures[0])

  def read():
    for picture in pictures:
      yield _checked(picture, image.read_rgb(picture), shape)

  return Frames(path, names, None, shape, read)


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
    fps, count, shape = video.get(cv2.CAP_PROP_FPS), 0, None
    while video.grab():
      if not count:
        found, frame = video.retrieve()
        if not found:
          break
        shape = frame.shape[:2]
      count += 1
  finally:
    video.release()
  if not count:
    raise errors.BadFileError(path, "cannot be decoded", "a video or a folder of pictures")

  def read():
    video = _open_video(path)
    try:
      for i in range(count):
        found, frame = video.read()
        if not found:
          raise errors.BadFileError(path, f"frame {i} cannot be decoded")
        yield _checked(path, np.ascontiguousarray(frame[..., ::-1]), shape)
    finally:
      video.release()

  fps = float(fps) if math.isfinite(fps) and fps > 0 else None
  return Frames(path, [f"{i:06d}" for i in range(count)], fps, shape, read)


def _open_video(path: pathlib.Path):
  """OpenCV's reader, which keeps what it thinks of a damaged file to itself."""
  os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
  import cv2

  level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
  try:
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
  finally:
    cv2.utils.logging.setLogLevel(level)


def _checked(path, frame: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  if frame.shape[:2] != tuple(shape):
    raise errors.BadFileError(
      path, f"a frame is {frame.shape[0]}x{frame.shape[1]}", f"{shape[0]}x{shape[1]} as the first"
    )
  return frame
