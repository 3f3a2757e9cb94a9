"""Frames of a video: the cells of `panels` on a board that is drawn once."""

from collections.abc import Iterable, Iterator
import itertools
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bicross_jax.viz import backend, panels

SMALLEST = 200  # rows; smaller pictures are enlarged by a whole factor
WIDEST = 1920  # columns of a frame; larger pictures are made smaller
ASPECT = 16 / 9  # of a frame, as nearly as whole columns of pictures can make it
KEY, TITLE, CAPTION, BAR, GAP = 20, 22, 18, 42, 4  # pixels: above all; around a picture
DPI = 100


class _Board(NamedTuple):
  """The part of every frame that stays: titles and colour bars, and where pictures go."""

  background: np.ndarray  # uint8[H, W, 3], even sides
  corners: dict[tuple[int, str], tuple[int, int]]  # row and column of upper left corners
  size: tuple[int, int]  # height and width of a picture


def frames(
  rows: Iterable[tuple[str, panels.Row]], template: panels.Row | None = None
) -> Iterator[np.ndarray]:
  """One frame for each row, all of one size.

  Args:
    rows: (key, {(place, title): cell}); the key is written on the frame. Read one at a time.
      Pictures of another size than the first row's first are brought to that.
    template: a row that has every cell that any row has, with its bar, and a caption if any has
      one (`template` of all rows); by default the first row. Its pictures do not matter.

  Yields:
    uint8[H, W, 3], all of one size with even sides. Where a row lacks a cell its place is empty.

  Raises:
    ValueError: a row with a cell that the template lacks, or nothing to draw.
  """
  rows = iter(rows)
  first = next(rows, None)
  if first is None:
    return
  template = first[1] if template is None else template
  if not first[1] or not template:
    raise ValueError("no example has a field to draw")
  board = _board(template, first[1][min(first[1])].picture.shape[:2])
  words = ImageFont.truetype(backend.font_file(), 11)
  height, width = board.size
  for key, row in itertools.chain([first], rows):
    frame = board.background.copy()
    said = [(GAP, KEY // 2, "lm", key)]
    for column, cell in row.items():
      if column not in board.corners:
        raise ValueError(f"a row has {column}, which the template lacks")
      top, left = board.corners[column]
      smaller = cell.picture.shape[0] > height
      how = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
      frame[top : top + height, left : left + width] = cv2.resize(
        np.ascontiguousarray(cell.picture), (width, height), interpolation=how
      )
      if cell.caption:
        said.append((left + width // 2, top + height + CAPTION // 2, "mm", cell.caption))
    yield _written(frame, said, words)


def template(rows: Iterable[panels.Row]) -> dict[tuple[int, str], panels.Cell]:
  """A row with every cell that any of some rows has, with a caption where any has one."""
  out = {}
  for row in rows:
    for column, cell in row.items():
      if column not in out or cell.caption:
        out[column] = cell
  return out


def _written(frame, said, font):
  """A frame with words on it: (x, y, anchor, words) each."""
  image = Image.fromarray(frame)
  draw = ImageDraw.Draw(image)
  for x, y, anchor, words in said:
    draw.text((x, y), backend.literal(words), (0, 0, 0), font, anchor)
  return np.asarray(image)


def _board(template: panels.Row, shape: tuple[int, int]) -> _Board:
  grid = panels.columns([template])
  factor = max(1, -(-SMALLEST // shape[0]))
  foot = CAPTION if any(cell.caption for cell in template.values()) else 0
  bars = [template[c].bar for c in grid]
  below = round(DPI * max(map(panels.bar_height, bars))) if any(bars) else GAP
  around = (TITLE + foot + below, 2 * GAP)

  def total(height, width, across):
    down = -(-len(grid) // across)
    return KEY + down * (height + around[0]), across * (width + around[1])

  height, width = factor * shape[0], factor * shape[1]

  def strangeness(across):
    h, w = total(height, width, across)
    return abs(np.log(w / h / ASPECT))

  across = min(range(1, len(grid) + 1), key=strangeness)
  widest = WIDEST // across - around[1]
  if width > widest:
    height, width = max(1, round(height * widest / width)), widest
  size = tuple(n + n % 2 for n in total(height, width, across))
  drawing = backend.figure(size[1] / DPI, size[0] / DPI, dpi=DPI)
  corners = {}
  for i, (column, bar) in enumerate(zip(grid, bars, strict=True)):
    top = KEY + i // across * (height + around[0])
    left = i % across * (width + around[1]) + GAP
    corners[column] = top + TITLE, left
    drawing.text(
      (left + width / 2) / size[1],
      1 - (top + TITLE / 2) / size[0],
      backend.literal(column[1]),
      ha="center",
      va="center",
      fontsize=9,
      parse_math=False,
    )
    if bar is not None:
      y = top + TITLE + height + foot + 4
      h = 7 if isinstance(bar, panels.Bar) else below - 8
      place = ((left + 0.1 * width) / size[1], 1 - (y + h) / size[0])
      panels.draw_bar(drawing.add_axes((*place, 0.8 * width / size[1], h / size[0])), bar)
  return _Board(backend.draw(drawing), corners, (height, width))
