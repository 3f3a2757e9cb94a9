"""Results as a table to read and as JSON to go on with."""

from collections.abc import Iterable, Mapping, Sequence
import json
import math
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


def save(folder, report: run.Report, **about) -> tuple[pathlib.Path, pathlib.Path]:
  """Writes `images.json` (the rows) and `summary.json` (the summary and `about`) into a folder.

  Returns:
    Both paths.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  paths = folder / "images.json", folder / "summary.json"
  write_json(paths[0], report.rows)
  write_json(paths[1], {**about, **report.summary})
  return paths


def write_json(path, value) -> None:
  """Writes JSON that every reader accepts; at no moment is there half a file under `path`.

  NumPy numbers and arrays become numbers and lists, NaN and infinities null.
  """
  with files.write_whole(path) as file:
    file.write(json.dumps(_plain(value), indent=1, allow_nan=False).encode() + b"\n")


def _cell(value):
  if value is None:
    return "-"
  return f"{value:.3f}" if isinstance(value, (float, np.floating)) else str(value)


def _plain(value):
  if isinstance(value, Mapping):
    return {str(k): _plain(v) for k, v in value.items()}
  if hasattr(value, "_asdict"):  # named tuples keep their names
    return _plain(value._asdict())
  if isinstance(value, (list, tuple)):
    return [_plain(v) for v in value]
  if isinstance(value, (np.ndarray, np.generic)):
    return _plain(value.tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
