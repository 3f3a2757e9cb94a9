"""How the files of a field are read: what `FrameSet.readers` is made of."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax.data.dataset import Stored
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image, spikes
from bicross_jax.data.formats.rig import Rig, read_rig

Size = tuple[int, int]  # height and width, pixels
SIDES = ("left", "right")  # of a stereo pair
HINT_KINDS = (".npy", ".npz")  # of files of depth hints; where both are there .npy is read
_SAME_COLUMN = 0.05  # pixels


class Asked(NamedTuple):
  """What a reader is asked for.

  Attributes:
    path: of the field's file.
    size: height and width of the frame's first map; None for that map itself.
    steps: of a spike stream.
    side: which camera of a pair took the frame, one of `SIDES`.
  """

  path: str
  size: Size | None = None
  steps: int = 0
  side: str = "left"

  def known_size(self) -> Size:
    """`size`, for readers that need one; ValueError where it is None."""
    if self.size is None:
      raise ValueError(f"{self.path} is read before any map that says its size")
    return self.size


class Reader(NamedTuple):
  """How the files of one field are read.

  Attributes:
    read: what is asked for -> the field. Raises errors.BadFileError.
    stored: steps of a stream -> how the field is stored; a map has None for both pixel axes.
    says_size: whether it is a map that is read without knowing the size of another one.
  """

  read: Callable[[Asked], np.ndarray]
  stored: Callable[[int], Stored]
  says_size: bool = True


def picture() -> Reader:
  """An sRGB picture: uint8[H, W, 3]."""
  return Reader(
    lambda asked: image.read_rgb(asked.path), lambda steps: Stored((None, None, 3), "uint8")
  )


def grey() -> Reader:
  """A grey picture, such as a map of classes: uint8[H, W]."""
  return Reader(
    lambda asked: image.read_grey(asked.path), lambda steps: Stored((None, None), "uint8")
  )


def spike(*, naive: bool = False) -> Reader:
  """A spike stream in a .npy file, packed along time: uint8[H, W, T/8].

  Args:
    naive: it is stored as `formats.spikes.read_npy` describes under that word.
  """
  return Reader(
    lambda asked: spikes.pack_time(spikes.read_npy(asked.path, steps=asked.steps, naive=naive)),
    lambda steps: Stored((None, None, steps // 8), "uint8"),
  )


def depth(read: Callable[[Asked], np.ndarray]) -> Reader:
  """A depth map: float32[H, W] metres, 0 where unknown.

  Args:
    read: what is asked for -> the map.
  """
  return Reader(read, lambda steps: Stored((None, None), "float32"), says_size=False)


def depth_hint() -> Reader:
  """A depth hint in a .npy or .npz file: float32[H, W] metres, 0 where there is none.

  Hints may be of another size than the frame, and are brought to the frame's by nearest neighbour: row i
  of H is row floor(i h / H) of the h that are stored.
  """

  def read(asked):
    stored = depth_files.read_npy(asked.path)
    rows, columns = (
      np.arange(new) * old // new for new, old in zip(asked.known_size(), stored.shape, strict=True)
    )
    return stored[rows[:, None], columns[None, :]]

  return depth(read)


def intrinsics() -> Reader:
  """The camera matrix of the frame's camera, from the rig's calibration file: float32[3, 3], pixels."""
  return Reader(
    lambda asked: _rig(asked).of(asked.side)[0].astype(np.float32),
    lambda steps: Stored((3, 3), "float32"),
    says_size=False,
  )


def baseline() -> Reader:
  """Metres along +x to the partner, from the rig's calibration file: float32[], negative to the left."""
  return Reader(
    lambda asked: np.array(_rig(asked).of(asked.side)[1], np.float32),
    lambda steps: Stored((), "float32"),
    says_size=False,
  )


def _rig(asked: Asked) -> Rig:
  rig = read_rig(asked.path)
  if rig.size and asked.size and rig.size != asked.size:
    height, width = asked.size
    raise errors.BadFileError(
      asked.path,
      f"is of images of {rig.size[0]}x{rig.size[1]}",
      f"the calibration of the frames, which are {height}x{width}",
    )
  if abs(rig.doffs) > _SAME_COLUMN:
    raise errors.BadFileError(
      asked.path,
      f"the principal points of the two cameras lie {rig.doffs:.6g} columns apart",
      "one column in both images, as CALIB_ZERO_DISPARITY of OpenCV makes them",
    )
  return rig
