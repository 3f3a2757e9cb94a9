"""A data set of recordings as another package would add it: event counts, classes, calibration.

It has no depth and no pictures, and a field of its own. Every array can be told from its frame.
"""

import functools

import jax
import ml_collections
import numpy as np

from bicross_jax import fields
from bicross_jax.data import sets
from bicross_jax.data.dataset import Stored
from bicross_jax.data.layouts import frames, readers

SIZE = (20, 30)
LENGTHS = {"train": (7, 3, 9, 1), "validation": (2,), "test": (4, 1, 2)}
OWN = {"tilt": fields.Field("plain", ("float32",), meaning="radians")}


def example(part: str, recording: int, number: int) -> dict[str, np.ndarray]:
  """What stands in the files of a frame."""
  height, width = SIZE
  serial = 16 * recording + number
  rows, columns = np.mgrid[:height, :width]
  events = np.stack([rows, columns, np.full_like(rows, serial)], -1).astype(np.uint16)
  return {
    "events": events[:, :, None],
    "label": ((rows + columns + serial) % 6).astype(np.uint8),
    "intrinsics": np.array([[50, 0, 14.5], [0, 50, 9.5], [0, 0, 1]], np.float32),
    "tilt": np.float32([serial, -serial]),
  }


def write(root) -> None:
  """Writes the whole set, a .npy file a field."""
  for part, lengths in LENGTHS.items():
    for recording, length in enumerate(lengths):
      folder = root / part / f"{recording}"
      folder.mkdir(parents=True)
      for number in range(length):
        for field, x in example(part, recording, number).items():
          np.save(folder / f"{number}.{field}.npy", x)


def _find(root, domain, entries):
  del domain, entries
  if not (root / "test").is_dir():
    return None

  def runs(part):
    return [
      frames.Recording(
        f"{root}/{part}/{recording}",
        tuple(_frame(f"{root}/{part}/{recording}", number) for number in range(length)),
      )
      for recording, length in enumerate(LENGTHS[part])
    ]

  return {part: functools.partial(runs, part) for part in LENGTHS}


def _frame(folder, number):
  key = "/".join(folder.split("/")[-2:]) + f"/{number}"
  return frames.Frame(key, {name: f"{folder}/{number}.{name}.npy" for name in SET.readers})


def _npy(shape, dtype):
  return readers.Reader(
    lambda asked: np.load(asked.path), lambda steps: Stored(shape, np.dtype(dtype).name)
  )


SET = sets.register(
  frames.FrameSet(
    name="recordings",
    title="Recordings",
    published="nowhere",
    trees=("{train,validation,test}/<recording>",),
    domains=("all",),
    find=_find,
    readers={
      "events": _npy((None, None, 1, 3), np.uint16),
      "label": _npy((None, None), np.uint8),
      "intrinsics": _npy((3, 3), np.float32),
      "tilt": _npy((2,), np.float32),
    },
  )
)


def config(root, **overrides) -> ml_collections.ConfigDict:
  """A data section that names the set."""
  section = dict(
    name="recordings",
    domain="all",
    data_dir=str(root),
    height=SIZE[0],
    width=SIZE[1],
    steps=8,
    limit=0,
    labelled=0,
    batch_size=2,
    crop="bottom",
    sequence=0,
  )
  return ml_collections.ConfigDict(section | overrides)


def spec(height=SIZE[0], width=SIZE[1], names=("events", "label", "intrinsics", "tilt")):
  """A batch spec of some fields."""
  known = {
    "events": ((height, width, 1, 3), np.uint16),
    "label": ((height, width), np.uint8),
    "intrinsics": ((3, 3), np.float32),
    "tilt": ((2,), np.float32),
    "crop": ((4,), np.int32),
    "reset": ((), np.bool_),
  }
  return {name: jax.ShapeDtypeStruct(*known[name]) for name in names}
