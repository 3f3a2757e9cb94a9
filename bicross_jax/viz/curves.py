"""Sparsification and reliability of several measures of uncertainty, drawn for comparison."""

from collections.abc import Mapping
from typing import Any

from bicross_jax.viz import backend, panels

# Told apart by colour (Okabe and Ito's, for every kind of sight) and by mark.
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))
SIZE = 3.4  # inches of a plot's side
Judged = Mapping[str, Mapping[str, Any]]


def save(path, judged: Judged, titles: Mapping[str, str], dpi: int = 110) -> None:
  """Writes `figure(judged, titles)` as a PNG; at no moment is there half a file under `path`."""
  panels.save(path, figure(judged, titles), dpi)


def figure(judged: Judged, titles: Mapping[str, str]) -> "backend.Figure":
  """A row of three plots for each domain; all rows share the axes of a column.

  Left: mean error of the pixels that are left when the most uncertain are left out. Middle: the
  error found over the error claimed, in bins of equally many pixels. Right: the same after each
  measure is multiplied by the factor fitted on the source.

  Args:
    judged: {domain: {measure: what was found of it}}, with the fields of `tasks`' Judgement:
      `sparsification`, `reliability`, `factor`, `calibrated`; a measure has one colour throughout.
    titles: {domain: what stands above its row}.
  """
  names = list(dict.fromkeys(name for measures in judged.values() for name in measures))
  if len(names) > len(STYLES):
    raise ValueError(f"{len(names)} measures: no more than {len(STYLES)} can be told apart")
  style = {name: dict(color=c, marker=m, ms=4, lw=1.5) for name, (c, m) in zip(names, STYLES)}
  drawing = backend.figure(3.1 * SIZE, (SIZE + 0.7) * len(judged), layout="constrained")
  grid = drawing.subplots(len(judged), 3, sharex="col", sharey="col", squeeze=False)
  found = [j for measures in judged.values() for j in measures.values()]
  grid[0][0].set_ylim(0, 1.05 * max(j.sparsification.by_error[0] for j in found))
  for axes, factors in ((grid[0][1], [1.0] * len(found)), (grid[0][2], [j.factor for j in found])):
    claimed = [f * j.reliability.claimed.max() for j, f in zip(found, factors, strict=True)]
    axes.set_xlim(0, min(1.0, 1.05 * max(claimed)))
    axes.set_ylim(0, min(1.0, 1.05 * max(j.reliability.found.max() for j in found)))
  for (domain, measures), (left, *others) in zip(judged.items(), grid, strict=True):
    _sparsification(left, measures, style)
    left.set_title(titles[domain], loc="left", fontsize=10)
    for right, calibrated in zip(others, (False, True), strict=True):
      _reliability(right, measures, style, calibrated)
    for axes in (left, *others):
      axes.grid(alpha=0.3)
      axes.tick_params(labelsize=8, labelbottom=True, labelleft=True)
  grid[0][1].set_title("reliability, as claimed", fontsize=10)
  grid[0][2].set_title("reliability, factor fitted on source", fontsize=10)
  return drawing


def _sparsification(axes, measures, style):
  for name, j in measures.items():
    curve = j.sparsification
    axes.plot(
      100 * curve.fractions,
      curve.by_uncertainty,
      label=f"{name}: AUSE {curve.ause:.2f}",
      **style[name],
    )
  axes.plot(100 * curve.fractions, curve.by_error, "k--", lw=1, label="by error: AUSE 0")
  axes.axhline(curve.by_error[0], color="k", ls=":", lw=1, label=f"none: AUSE {curve.random:.2f}")
  axes.set_xlabel("% of pixels left out", fontsize=8)
  axes.set_ylabel("mean error of the rest", fontsize=8)
  _legend(axes)


def _reliability(axes, measures, style, calibrated):
  for name, j in measures.items():
    factor, ece = (j.factor, j.calibrated) if calibrated else (1.0, j.reliability.ece)
    axes.plot(
      factor * j.reliability.claimed,
      j.reliability.found,
      label=f"{name}: ECE {ece:.3f}",
      **style[name],
    )
  axes.axline((0, 0), slope=1, color="k", ls="--", lw=1)
  axes.set_xlabel("claimed error", fontsize=8)
  axes.set_ylabel("found error", fontsize=8)
  _legend(axes)


def _legend(axes):
  """Below the plot, where it hides no curve."""
  axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
