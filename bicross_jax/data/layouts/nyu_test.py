"""NYU v2's 654 labelled test frames as HDF5 files, in the packaging of P2Net: only a test part.

    nyu_test/00001.h5      `rgb` uint8[3, 480, 640], `depth` [480, 640] metres

A frame is what is inside of the white border of the pictures, rows 44 to 470 and columns 40 to 600: 427x561.
"""

from collections.abc import Mapping, Sequence
import functools
import importlib.resources
import pathlib

import numpy as np

from bicross_jax import errors
from bicross_jax.data.formats import hdf5
from bicross_jax.data.layouts import frames, readers
from bicross_jax.data.layouts.frames import Frame, Recording
from bicross_jax.data.layouts.readers import Asked

INSIDE = np.s_[44:471, 40:601]  # Eigen et al.
NATIVE = (480, 640)


@functools.cache
def names() -> tuple[str, ...]:
  """Names of the files without suffix: numbers among NYU v2's 1449 labelled frames, from 1."""
  listed = importlib.resources.files("bicross_jax.data") / "splits" / "nyu_v2_test.txt"
  words = [
    word
    for line in listed.read_text().splitlines()
    if not line.startswith("#")
    for word in line.split()
  ]
  ends = [word.partition("-") for word in words]
  return tuple(
    f"{number:05d}" for low, _, high in ends for number in range(int(low), int(high or low) + 1)
  )


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """One run, of frames that do not follow each other."""
  del domain, parts  # the list says it all
  folder = root / "nyu_test"
  if not folder.is_dir():
    return None
  return {"test": lambda: [_recording(folder)]}


def _recording(folder: pathlib.Path) -> Recording:
  found = [Frame(name, dict.fromkeys(("rgb", "depth"), f"{folder}/{name}.h5")) for name in names()]
  return Recording(str(folder), tuple(found), consecutive=False)


def read_rgb(asked: Asked) -> np.ndarray:
  """The picture of a frame: uint8[427, 561, 3], sRGB."""
  array = _read(asked.path, "rgb", (3, *NATIVE))
  if array.dtype != np.uint8:
    raise errors.BadFileError(asked.path, f"rgb is {array.dtype}", "uint8")
  return np.ascontiguousarray(np.moveaxis(array, 0, -1)[INSIDE])


def read_depth(asked: Asked) -> np.ndarray:
  """Depth of a frame: float32[427, 561] metres, 0 where unknown."""
  metres = _read(asked.path, "depth", NATIVE)[INSIDE].astype(np.float32)
  return np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(0))


def _read(path: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
  with hdf5.open_file(path) as file:
    data = hdf5.dataset(file, name, len(shape))
    if data.shape != shape:
      raise errors.BadFileError(path, f"{name} has shape {data.shape}", f"{shape}")
    hdf5.require_stored(data, name)
    return hdf5.read(data, ...)


SET = frames.FrameSet(
  name="nyu_v2_test",
  title="NYU v2's test frames in the packaging of P2Net",
  published="https://github.com/svip-lab/Indoor-SfMLearner",
  trees=("nyu_test/NUMBER.h5",),
  domains=("test",),
  find=find,
  readers={
    "rgb": readers.Reader(read_rgb, readers.picture().stored),
    "depth": readers.depth(read_depth),
  },
)
