"""A confusion matrix as a picture: shares of each true class, with numbers."""

from collections.abc import Sequence

import numpy as np

from bicross_jax.viz import backend, panels

RAMP = "Blues"
_CELL, _MARGIN = 0.52, 1.9  # inches: of a cell; of the names beside the matrix
_DARK = 0.6  # shares beyond which numbers are white


def save(path, counts: np.ndarray, names: Sequence[str], title: str, dpi: int = 110) -> None:
  """Writes `figure(...)` as a PNG; at no moment is there half a file under `path`."""
  panels.save(path, figure(counts, names, title), dpi)


def shares(counts: np.ndarray) -> np.ndarray:
  """Each row of counts int[K, M] over its sum: float64[K, M], NaN in rows of zeros."""
  total = counts.sum(1, keepdims=True)
  return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def figure(counts: np.ndarray, names: Sequence[str], title: str) -> "backend.Figure":
  """A row for every true class, a column for every predicted one; percent of the true class.

  Args:
    counts: int[K, M], true by predicted class; columns beyond K are left out where they are empty.
    names: of the M columns, of which the first K are those of the rows.
    title: above all.
  """
  counts = np.asarray(counts)
  rows = len(counts)
  kept = [j for j in range(counts.shape[1]) if j < rows or counts[:, j].any()]
  counts, names = counts[:, kept], [backend.literal(names[j]) for j in kept]
  found = shares(counts)
  drawing = backend.figure(
    _MARGIN + _CELL * len(kept), _MARGIN + _CELL * rows, layout="constrained"
  )
  axes = drawing.subplots()
  axes.imshow(np.nan_to_num(found), cmap=RAMP, vmin=0, vmax=1)
  for i, j in np.ndindex(found.shape):
    if not np.isnan(found[i, j]):
      colour = "white" if found[i, j] > _DARK else "black"
      axes.text(
        j, i, f"{100 * found[i, j]:.1f}", ha="center", va="center", fontsize=7, color=colour
      )
  axes.set_xticks(range(len(kept)), names, rotation=45, ha="right", fontsize=8, parse_math=False)
  axes.set_yticks(range(rows), names[:rows], fontsize=8, parse_math=False)
  axes.set_xlabel("predicted", fontsize=8)
  axes.set_ylabel("true, % of its pixels", fontsize=8)
  axes.set_title(title, fontsize=9, loc="left", parse_math=False)
  return drawing
