"""Matplotlib, drawing to files whatever the environment says: the one place that imports it."""

import contextlib
import io
import os
import warnings

import numpy as np

# A backend that the environment names, a notebook's for one, is an error for Matplotlib where it
# is not installed. Figures are drawn by Agg here, so it is only handed on, where there is one.
_named = os.environ.pop("MPLBACKEND", None)
try:
  import matplotlib
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
finally:
  if _named is not None:
    os.environ["MPLBACKEND"] = _named
if _named:
  with contextlib.suppress(ValueError):  # Matplotlib knows no such backend
    matplotlib.rcParams["backend"] = _named

__all__ = ["Figure", "colours", "draw", "font_file", "literal", "png"]


def colours(name: str, x: np.ndarray) -> np.ndarray:
  """Numbers 0..1 in one of Matplotlib's colour maps: float[...] -> uint8[..., 3]."""
  return matplotlib.colormaps[name](x, bytes=True)[..., :3]


def font_file() -> str:
  """The path of DejaVu Sans, which comes with Matplotlib."""
  return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def literal(text) -> str:
  """Words (a file's name, say) as they can be drawn: what nobody can print becomes U+FFFD."""
  return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def png(drawing: Figure, dpi: int) -> io.BytesIO:
  """A figure as the bytes of a PNG file, `dpi` pixels an inch."""
  encoded = io.BytesIO()
  with _boxes_for_what_the_font_lacks():
    FigureCanvasAgg(drawing).figure.savefig(encoded, format="png", dpi=dpi)
  return encoded


def draw(drawing: Figure) -> np.ndarray:
  """A figure at its own resolution: uint8[H, W, 3]."""
  canvas = FigureCanvasAgg(drawing)
  with _boxes_for_what_the_font_lacks():
    canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@contextlib.contextmanager
def _boxes_for_what_the_font_lacks():
  with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Glyph .* missing")
    yield
