"""Frames of a video that shows what a network says of a sequence, all on one colour scale."""

from collections.abc import Iterable, Iterator
import itertools
from typing import NamedTuple

import cv2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np

from bicross_jax.viz import colour, panels

SMALLEST = 200  # rows; smaller pictures are enlarged by a whole factor
WIDE = 2.2  # pictures wider than that many times their height stand one above the other
TITLE, BAR, GAP, DPI = 22, 40, 4, 100  # pixels: above a picture, below it, around it; per inch


class _Board(NamedTuple):
  """The part of every frame that stays: titles and colour bars, and where pictures go."""

  background: np.ndarray  # uint8[H, W, 3]
  corners: list[tuple[int, int]]  # row and column of each picture's upper left corner
  size: tuple[int, int]  # height and width of a picture


def frames(
  examples: Iterable[panels.Example], scale: colour.Scale | None = None
) -> Iterator[np.ndarray]:
  """One frame for each example: input, depth and, where there is one, uncertainty.

  Args:
    examples: dicts of "key" (its name, written on the frame), "rgb" or "spike", "prediction" and
      maybe "uncertainty", as `panels.figure` takes them; read one at a time. Pictures of another
      size than the first example's are brought to that.
    scale: of depth; by default that of the first example. The highest uncertainty of the colour
      bar is always the first example's (99th percentile).

  Yields:
    uint8[H, W, 3], all of one size with even sides.
  """
  examples = iter(examples)
  first = next(examples, None)
  if first is None:
    return
  scale = scale or colour.common_scale(first["prediction"])
  highest = 1.0
  if "uncertainty" in first:
    highest = float(np.nanpercentile(first["uncertainty"], 99))
    highest = highest if highest > 0 else 1.0
  board = _board(_pictures(first, scale, highest), {"depth": scale, "uncertainty": highest})
  height, width = board.size
  for example in itertools.chain([first], examples):
    frame = board.background.copy()
    for (row, column), picture in zip(
      board.corners, _pictures(example, scale, highest).values(), strict=True
    ):
      how = cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_NEAREST
      frame[row : row + height, column : column + width] = cv2.resize(
        picture, (width, height), interpolation=how
      )
    row, column = board.corners[0]
    cv2.putText(
      frame,
      str(example["key"]),
      (column + 2, row - 7),
      cv2.FONT_HERSHEY_SIMPLEX,
      0.4,
      (0, 0, 0),
      1,
      cv2.LINE_AA,
    )
    yield frame


def _pictures(example, scale, highest):
  """{title: uint8[h, w, 3]}; the first is the input, which goes by its name."""
  out = {}
  if "rgb" in example:
    out["input"] = np.asarray(example["rgb"])
  else:
    out["input"] = colour.spike_picture(example["spike"])
  out["depth"] = colour.depth_picture(example["prediction"], scale)
  if "uncertainty" in example:
    out["uncertainty"] = colour.uncertainty_picture(example["uncertainty"], highest)
  return out


def _board(pictures, scales) -> _Board:
  height, width = next(iter(pictures.values())).shape[:2]
  factor = max(1, -(-SMALLEST // height))
  height, width = factor * height, factor * width
  cell = (TITLE + height + BAR, width + 2 * GAP)
  down, across = (len(pictures), 1) if width > WIDE * height else (1, len(pictures))
  total = tuple(n + n % 2 for n in (down * cell[0], across * cell[1]))
  drawing = Figure(figsize=(total[1] / DPI, total[0] / DPI), dpi=DPI)
  corners = []
  for i, title in enumerate(pictures):
    top, left = (i * cell[0] if down > 1 else 0), (i * cell[1] if across > 1 else 0)
    corners.append((top + TITLE, left + GAP))
    if title not in scales:
      continue
    drawing.text(
      (left + cell[1] / 2) / total[1],
      1 - (top + TITLE / 2) / total[0],
      title,
      ha="center",
      va="center",
      fontsize=9,
    )
    panels.bar(
      drawing.add_axes(
        (
          (left + 0.1 * width) / total[1],
          1 - (top + TITLE + height + 11) / total[0],
          0.8 * width / total[1],
          7 / total[0],
        )
      ),
      title,
      scales[title],
    )
  canvas = FigureCanvasAgg(drawing)
  canvas.draw()
  return _Board(np.asarray(canvas.buffer_rgba())[..., :3].copy(), corners, (height, width))
