"""Results as a table to read and as JSON to go on with."""

from collections.abc import Iterable, Mapping, Sequence
import pathlib

import numpy as np

from bicross_jax import files
from bicross_jax.evaluation import run


def table(
  results: Mapping[str, Mapping[str, object]],
  columns: Sequence[str],
  titles: Mapping[str, str] | None = None,
  *,
  markdown: bool = False,
) -> str:
  """A table with one line a method.

  Args:
    results: {method: {metric: number, interval or text}}; a missing metric leaves a dash.
    columns: metrics, in order.
    titles: {metric: what stands above its column}, where that is not its name.
    markdown: Markdown; otherwise aligned plain text.
  """
  titles = titles or {}
  cells = [["", *(titles.get(name, name) for name in columns)]]
  cells += [[name, *(_cell(row.get(c)) for c in columns)] for name, row in results.items()]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  lines = []
  for name, *values in cells:
    aligned = [name.ljust(widths[0])]
    aligned += [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
    lines.append("| " + " | ".join(aligned) + " |" if markdown else "  ".join(aligned))
  if markdown:
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, "| " + " | ".join(rules) + " |")
  return "\n".join(line.rstrip() for line in lines)


def shown(results: Iterable[Mapping[str, object]], columns: Iterable[str]) -> list[str]:
  """Those of some columns, in order, for which there is a result."""
  results = list(results)
  return [name for name in columns if any(name in row for row in results)]


def save(folder, report: run.Report | None, **about) -> list[pathlib.Path]:
  """Writes `images.json` (the rows) and `summary.json` (the summary and `about`) into a folder.

  Args:
    folder: it is made where it is missing.
    report: None, where nothing was judged: there is no `images.json` then.
    **about: what else the summary says.

  Returns:
    The paths.

  Raises:
    errors.UserError: the folder cannot be written.
  """
  images, summary = (pathlib.Path(folder) / name for name in ("images.json", "summary.json"))
  if report is None:
    files.write_json(summary, about)
    return [summary]
  files.write_json(images, report.rows)
  files.write_json(summary, {**about, **report.summary})
  return [images, summary]


def _cell(value):
  if value is None:
    return "-"
  return f"{value:.3f}" if isinstance(value, (float, np.floating)) else str(value)
