"""Figures of the papers' kind: rows of pictures with captions, and colour bars below them."""

from collections.abc import Mapping, Sequence
import itertools
from typing import NamedTuple

import cv2
import numpy as np

from bicross_jax import files
from bicross_jax.viz import backend, colour

WIDTH, GAP, TITLE, BAR = 2.6, 0.06, 0.28, 0.42  # inches: a picture, between two, above, below
KEY, CAPTION = 0.16, 0.18  # inches: a row's name above it, words below its pictures
LEGEND_LINE = 0.15  # inches of a legend's line
LEGEND_NAMES = ((4, 8), (3, 12))  # names in one, where the longest has so many characters; else 2


class Bar(NamedTuple):
  """A colour bar: which number is which colour.

  Attributes:
    label: what the numbers are, with their unit.
    ramp: the colours.
    scale: of the numbers.
  """

  label: str
  ramp: colour.Ramp
  scale: colour.Scale


class Legend(NamedTuple):
  """Colours that stand for names, where a colour bar would make no sense.

  Attributes:
    names: of the colours.
    colours: red, green and blue 0..255 of each.
  """

  names: tuple[str, ...]
  colours: tuple[tuple[int, int, int], ...]


class Cell(NamedTuple):
  """One picture of a figure.

  Attributes:
    picture: uint8[H, W, 3].
    bar: what its colours mean; neighbours with equal bars share one.
    caption: written below.
  """

  picture: np.ndarray
  bar: Bar | Legend | None = None
  caption: str = ""


Row = Mapping[tuple[int, str], Cell]  # {(place, title): cell}


def columns(rows: Sequence[Row]) -> list[tuple[int, str]]:
  """The (place, title) of all cells of some rows, by their places, then as they come."""
  return sorted(dict.fromkeys(key for row in rows for key in row), key=lambda key: key[0])


def save(path, drawing: "backend.Figure", dpi: int = 110) -> None:
  """Writes a figure as a PNG; at no moment is there half a file under `path`."""
  encoded = backend.png(drawing, dpi)
  with files.write_whole(path) as file:
    file.write(encoded.getbuffer())


def joined(row: Row) -> np.ndarray:
  """The pictures of a row side by side, pixel for pixel: uint8[H, W, 3].

  Those of another height than the first are brought to its size by nearest neighbour.
  """
  first, *others = (row[key].picture for key in columns([row]))
  size = first.shape[1::-1]
  fitted = [
    x if x.shape == first.shape else cv2.resize(x, size, interpolation=cv2.INTER_NEAREST)
    for x in others
  ]
  return np.concatenate([first, *fitted], axis=1)


def lay_out(rows: Sequence[Row], keys: Sequence[str | None]) -> "backend.Figure":
  """Draws pictures on a grid, with titles above the columns and colour bars below them.

  All pictures of a row show one view, so they are drawn with the proportions of its first.
  Columns that stand side by side and have equal bars share one.

  Args:
    rows: {(place, title): cell}; columns stand in the order of their places, then as they come.
    keys: of the rows, each written above its row.

  Raises:
    ValueError: there is nothing to draw.
  """
  grid = columns(rows)
  if not grid:
    raise ValueError("no example has a field to draw")
  views = [row[min(row)].picture.shape if row else (1, 1) for row in rows]
  head = KEY if any(keys) else 0.0
  foot = CAPTION if any(cell.caption for row in rows for cell in row.values()) else 0.0
  bars = [next(row[c].bar for row in rows if c in row) for c in grid]
  heights = [WIDTH * view[0] / view[1] for view in views]
  width = GAP + len(grid) * (WIDTH + GAP)
  height = TITLE + sum(heights) + (head + foot + GAP) * len(rows) + max(map(bar_height, bars))
  drawing = backend.figure(width, height)

  def axes(x, y, w, h):  # inches from the upper left corner
    return drawing.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))

  def text(x, y, words, size, **options):
    drawing.text(
      x / width,
      1 - y / height,
      backend.literal(words),
      va="center",
      fontsize=size,
      parse_math=False,
      **options,
    )

  lefts = [GAP + j * (WIDTH + GAP) for j in range(len(grid))]
  for left, (_, title) in zip(lefts, grid, strict=True):
    text(left + WIDTH / 2, 0.18, title, 9, ha="center")
  y = TITLE
  for key, row, row_height in zip(keys, rows, heights, strict=True):
    if key:
      text(GAP, y + head / 2, key, 7, ha="left", color="0.3")
    y += head
    for left, column in zip(lefts, grid, strict=True):
      if column in row:
        place = axes(left, y, WIDTH, row_height)
        place.imshow(row[column].picture, interpolation="nearest", aspect="auto")
        place.set_axis_off()
        if row[column].caption:
          text(left + WIDTH / 2, y + row_height + foot / 2, row[column].caption, 8, ha="center")
    y += row_height + foot + GAP
  j = 0
  for bar, group in itertools.groupby(bars):
    n = len(list(group))
    if bar is not None:
      span = lefts[j + n - 1] + WIDTH - lefts[j]
      w = min(span - 0.3, 2 * WIDTH)
      h = 0.09 if isinstance(bar, Bar) else bar_height(bar) - 0.06
      draw_bar(axes(lefts[j] + (span - w) / 2, y + 0.04, w, h), bar)
    j += n
  return drawing


def bar_height(bar: Bar | Legend | None) -> float:
  """Inches that a colour bar, or a legend, takes below its pictures."""
  if isinstance(bar, Legend):
    return max(BAR, 0.06 + LEGEND_LINE * -(-len(bar.names) // in_a_line(bar)))
  return BAR


def in_a_line(legend: Legend) -> int:
  """How many names of a legend stand beside each other below one picture."""
  longest = max(map(len, legend.names))
  return next((count for count, most in LEGEND_NAMES if longest <= most), 2)


def draw_bar(axes, bar: Bar | Legend) -> None:
  """Draws a colour bar, even in colour, with ticks where their values lie, or a legend.

  Args:
    axes: Matplotlib's, to draw in.
    bar: what to draw.
  """
  axes.set_yticks([])
  if isinstance(bar, Legend):
    _draw_legend(axes, bar)
    return
  ramp = np.linspace(0, 1, 256)[None]
  painted = colour.paint(ramp, bar.ramp, colour.Scale(0.0, 1.0))
  axes.imshow(painted, extent=(0, 1, 0, 1), aspect="auto")
  ticks = bar.scale.ticks()
  axes.set_xticks(bar.scale.place(ticks), [f"{t:.3g}" for t in ticks])
  axes.set_yticks([])
  axes.tick_params(labelsize=7, length=2, pad=1)
  axes.set_xlabel(bar.label, fontsize=7, labelpad=0, parse_math=False)


def _draw_legend(axes, legend):
  """Squares of colour with their names, `in_a_line` of them beside each other."""
  across = in_a_line(legend)
  lines = -(-len(legend.names) // across)
  axes.set_xlim(0, across)
  axes.set_ylim(lines, 0)
  axes.set_axis_off()
  for i, (name, rgb) in enumerate(zip(legend.names, legend.colours, strict=True)):
    x, y = i % across, i // across
    face = tuple(v / 255 for v in rgb)
    wide = 0.0375 * across  # as wide whatever their number
    outline = [x, x, x + wide, x + wide], [y + 0.2, y + 0.8, y + 0.8, y + 0.2]
    axes.fill(*outline, facecolor=face, edgecolor="0.6", linewidth=0.5)
    axes.text(
      x + wide + 0.05, y + 0.5, backend.literal(name), va="center", fontsize=7, parse_math=False
    )
