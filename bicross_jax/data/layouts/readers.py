"""How the files of a field are read: what `FrameSet.readers` is made of."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bicross_jax.data.dataset import Stored
from bicross_jax.data.formats import image, spikes

Size = tuple[int, int]  # height and width, pixels


class Reader(NamedTuple):
  """How the files of one field are read.

  Attributes:
    read: (path, size of the frame's first map, or None for that map itself, steps of a stream) ->
      the field. Raises errors.BadFileError.
    stored: steps of a stream -> how the field is stored; a map has None for both pixel axes.
  """

  read: Callable[[str, Size | None, int], np.ndarray]
  stored: Callable[[int], Stored]


def picture() -> Reader:
  """An sRGB picture: uint8[H, W, 3]."""
  return Reader(
    lambda path, size, steps: image.read_rgb(path), lambda steps: Stored((None, None, 3), "uint8")
  )


def grey() -> Reader:
  """A grey picture, such as a map of classes: uint8[H, W]."""
  return Reader(
    lambda path, size, steps: image.read_grey(path), lambda steps: Stored((None, None), "uint8")
  )


def spike(*, naive: bool = False) -> Reader:
  """A spike stream in a .npy file, packed along time: uint8[H, W, T/8].

  Args:
    naive: it is stored as `formats.spikes.read_npy` describes under that word.
  """

  def read(path, size, steps):
    del size
    return spikes.pack_time(spikes.read_npy(path, steps=steps, naive=naive))

  return Reader(read, lambda steps: Stored((None, None, steps // 8), "uint8"))


def depth(read: Callable[[str, Size], np.ndarray]) -> Reader:
  """A depth map: float32[H, W] metres, 0 where unknown.

  Args:
    read: (path, size of the picture) -> the map.
  """
  return Reader(
    lambda path, size, steps: read(path, size), lambda steps: Stored((None, None), "float32")
  )
