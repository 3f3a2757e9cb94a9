"""What a batch field is: its type, what in it is unknown, what cutting and mirroring do to it.

Every room asks this table instead of guessing from shapes. A recipe declares fields of its own in
the same form (`train.state.Recipe.fields`). Functions take NumPy, JAX or TensorFlow arrays: they
only index, add and multiply.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

KINDS = ("map", "intrinsics", "baseline", "crop", "plain")


class Field(NamedTuple):
  """One field of a batch.

  Attributes:
    kind: "map": pixel axes first, [H, W, ...]; "intrinsics": float32[3, 3] in pixels of the maps;
      "baseline": metres along +x; "crop": where the maps lie in the native frame; "plain": neither
      cutting nor mirroring changes it.
    dtypes: NumPy names of the types it may have.
    unknown: the value of a pixel nobody knows, which also fills rows that only pad a batch.
    smooth: whether pixels of a resized map are means of its pixels (Lanczos or bicubic), as those of
      pictures are; otherwise each is one of them (`data.pipeline_records.View` says which).
    truth: whether it is a label: unknown in examples that are to have none.
    low, high: what random numbers for a test or a benchmark are drawn from (integers below `high`).
    meaning: in words, for messages and pages.
  """

  kind: str
  dtypes: tuple[str, ...]
  unknown: float = 0
  smooth: bool = False
  truth: bool = False
  low: float = 0
  high: float = 256
  meaning: str = ""


FIELDS: Mapping[str, Field] = {
  "rgb": Field("map", ("uint8",), smooth=True, meaning="sRGB [H, W, 3]"),
  "rgb_right": Field("map", ("uint8",), smooth=True, meaning="sRGB of the stereo partner"),
  "spike": Field("map", ("uint8",), meaning="spikes packed along time [H, W, T/8]"),
  "spike_right": Field("map", ("uint8",), meaning="spikes of the stereo partner"),
  "events": Field(
    "map",
    ("uint8", "uint16"),
    high=4,
    meaning="event counts [H, W, T, C]; C is L_ON, L_OFF and, of a pair, R_ON, R_OFF",
  ),
  "event_image": Field(
    "map", ("uint8",), smooth=True, meaning="EvDistill's encoding [H, W, 2]: negative, positive"
  ),
  "depth": Field(
    "map", ("float32",), truth=True, low=2, high=50, meaning="metres [H, W], 0 = unknown"
  ),
  "depth_before": Field(
    "map", ("float32",), truth=True, low=2, high=50, meaning="metres when the event window begins"
  ),
  "depth_hint": Field(
    "map", ("float32",), low=2, high=50, meaning="metres by stereo matching [H, W], 0 = none"
  ),
  "label": Field(
    "map", ("uint8",), unknown=255, truth=True, high=6, meaning="class [H, W], 255 = ignore"
  ),
  "intrinsics": Field("intrinsics", ("float32",), meaning="camera matrix [3, 3], pixels"),
  "baseline": Field("baseline", ("float32",), low=0.1, high=0.6, meaning="metres along +x"),
  "frame": Field("plain", ("int32",), low=512, high=513, meaning="native height and width"),
  "crop": Field("crop", ("int32",), high=1, meaning="top, left, height, width in the frame"),
  "mask": Field("plain", ("bool",), meaning="False for a row that only pads the batch"),
  "reset": Field("plain", ("bool",), high=2, meaning="True where a sequence begins"),
}


def get(name: str, own: Mapping[str, Field] | None = None) -> Field:
  """The field of a name: one of `own` (a recipe's), or of `FIELDS`.

  Raises:
    KeyError: nobody has declared it; it says which there are.
  """
  known = {**FIELDS, **(own or {})}
  if name not in known:
    raise KeyError(f"no field {name!r}; there are {', '.join(sorted(known))}")
  return known[name]


def maps(names, own: Mapping[str, Field] | None = None) -> list[str]:
  """Those of some names that are maps, in order."""
  return [name for name in names if get(name, own).kind == "map"]


def cut(field: Field, x: Any, box) -> Any:
  """A field of one example after its maps are cut to a box.

  Args:
    field: which.
    x: its value: a map [H, W, ...], intrinsics [3, 3], ...
    box: top, left, height, width in pixels, of the maps as they are.

  Returns:
    The map inside the box; intrinsics whose principal point has moved with the corner; a crop
    that lies in the native frame where the box lies in the maps; everything else as it was.
  """
  top, left, height, width = box
  if field.kind == "map":
    return x[top : top + height, left : left + width]
  if field.kind == "intrinsics":
    return x - _at_principal_point(left, top)
  if field.kind == "crop":
    return np.array([x[0] + top, x[1] + left, height, width], np.int32)
  return x


def resize(field: Field, x: Any, down: Any, across: Any) -> Any:
  """A field that is no map, of one example after its maps are resized.

  Args:
    field: which.
    x: its value.
    down, across: new height over old height, new width over old width.

  Returns:
    Intrinsics of the new pixels, whose centres lie at whole numbers; everything else as it was.
  """
  if field.kind != "intrinsics":
    return x
  half = _at_principal_point(0.5, 0.5)
  stretch = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0]], np.float32) * across
  stretch += np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]], np.float32) * down
  stretch += np.array([[0, 0, 0], [0, 0, 0], [1, 1, 1]], np.float32)
  return (x + half) * stretch - half


def mirror(field: Field, x: Any, width: int) -> Any:
  """A field of a batch after all its maps are mirrored left to right.

  Args:
    field: which.
    x: its value with the batch in front: a map [B, H, W, ...], intrinsics [B, 3, 3], baseline [B].
    width: of the maps, in pixels; pixel centres lie at whole numbers.

  Returns:
    The mirrored map; intrinsics with the principal point at width - 1 - cx; the negated baseline
    (the partner stands on the other side); everything else as it was.
  """
  if field.kind == "map":
    return x[:, :, ::-1]
  if field.kind == "intrinsics":
    sign = np.ones((1, 3, 3), np.float32)
    sign[0, 0, 2] = -1
    return x * sign + _at_principal_point(width - 1, 0)[None]
  return -x if field.kind == "baseline" else x


def upend(field: Field, x: Any, height: int) -> Any:
  """A field of a batch after all its maps are turned upside down.

  Args:
    field, x: as for `mirror`; `height` is that of the maps, in pixels.

  Returns:
    The map with its rows in reverse order; intrinsics with the principal point at height - 1 - cy;
    everything else as it was: the stereo partner stays where it is.
  """
  if field.kind == "map":
    return x[:, ::-1]
  if field.kind == "intrinsics":
    sign = np.ones((1, 3, 3), np.float32)
    sign[0, 1, 2] = -1
    return x * sign + _at_principal_point(0, height - 1)[None]
  return x


def random(rng: np.random.Generator, field: Field, shape, dtype) -> np.ndarray:
  """Random numbers that a field may hold, for benchmarks and tests.

  Args:
    rng: NumPy's.
    field: which.
    shape: with the batch in front.
    dtype: one of the field's.
  """
  if field.kind == "intrinsics":
    matrix = np.array([[100, 0, 50], [0, 100, 50], [0, 0, 1]], dtype)
    return np.broadcast_to(matrix, shape).copy()
  if np.issubdtype(dtype, np.floating):
    return rng.uniform(field.low, field.high, shape).astype(dtype)
  if np.dtype(dtype) == bool:
    return np.ones(shape, bool) if field.high > 2 else rng.integers(0, 2, shape).astype(bool)
  return rng.integers(int(field.low), int(field.high), shape).astype(dtype)


def _at_principal_point(x, y):
  """float32[3, 3], zero but for the place of the principal point."""
  column = np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]], np.float32)
  row = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32)
  return x * column + y * row
