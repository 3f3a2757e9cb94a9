"""Matplotlib, drawing to files whatever the environment says: the one place that imports it.

It is imported when the first thing is drawn, not before.
"""

from collections.abc import Iterator
import contextlib
import functools
import io
import os
from typing import TYPE_CHECKING
import warnings

import numpy as np

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def colours(name: str, x: np.ndarray) -> np.ndarray:
  """Numbers 0..1 in one of Matplotlib's colour maps: float[...] -> uint8[..., 3]."""
  return _matplotlib().colormaps[name](x, bytes=True)[..., :3]


def figure(width: float, height: float, **options) -> "Figure":
  """An empty figure.

  Args:
    width, height: inches.
    **options: of `matplotlib.figure.Figure`.
  """
  _matplotlib()
  from matplotlib.figure import Figure

  return Figure(figsize=(width, height), **options)


def font_file() -> str:
  """The path of DejaVu Sans, which comes with Matplotlib."""
  return os.path.join(_matplotlib().get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def literal(text) -> str:
  """Words (a file's name, say) as they can be drawn: what nobody can print becomes U+FFFD."""
  return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def png(drawing: "Figure", dpi: int) -> io.BytesIO:
  """A figure as the bytes of a PNG file, `dpi` pixels an inch."""
  encoded = io.BytesIO()
  with _canvas(drawing):
    drawing.savefig(encoded, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
  return encoded


def draw(drawing: "Figure") -> np.ndarray:
  """A figure at its own resolution: uint8[H, W, 3]."""
  with _canvas(drawing) as canvas:
    canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@functools.cache
def _matplotlib():
  """The module.

  A backend that the environment names, a notebook's for one, is an error for Matplotlib where it is
  not installed. Figures are drawn by Agg here, so it is only handed on, where there is one.
  """
  named = os.environ.pop("MPLBACKEND", None)
  try:
    import matplotlib
  finally:
    if named is not None:
      os.environ["MPLBACKEND"] = named
  if named:
    with contextlib.suppress(ValueError):  # Matplotlib knows no such backend
      matplotlib.rcParams["backend"] = named
  return matplotlib


@contextlib.contextmanager
def _canvas(drawing) -> Iterator:
  """Agg's canvas of a figure; characters that the font lacks are drawn as boxes, without a word."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg

  with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Glyph .* missing")
    yield FigureCanvasAgg(drawing)
