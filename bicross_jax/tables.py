"""Tables of an experiment: rows of configs times seeds, trained, tested and compared."""

import copy
import json
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from bicross_jax import config as grammar
from bicross_jax import stages
from bicross_jax import trained
from bicross_jax.evaluation import bootstrap
from bicross_jax.evaluation import report as reports

COLUMNS = ("abs_rel", "rmse", "d1")


def run(
    table: grammar.Table, seeds: Sequence[int], *, part: str = "test", root="runs", output=None
) -> dict:
  """Trains every row with every seed, tests it, and writes `table.md` and `table.json`.

  Every cell is the mean over seeds and images with its 95 % bootstrap interval; a comparison is
  the paired difference of AbsRel on the same images (negative: this row is better).

  Args:
    table: what to run; runs and results that are already there are taken as they are.
    seeds: one training a row for each.
    part: which part of the data is tested.
    root: folder of all runs.
    output: folder of the table.

  Returns:
    What `table.json` holds.
  """
  system = next(iter(table.rows.values())).config.system
  folder = pathlib.Path(output or pathlib.Path(root) / system / "tables" / table.name)
  scores = {
      label: [_test(row, seed, part, root, folder / _slug(label)) for seed in seeds]
      for label, row in table.rows.items()
  }
  cells, comparisons = {}, {}
  for label, row in table.rows.items():
    values = {m: np.array([[r[m] for r in run_rows] for run_rows in scores[label]]) for m in COLUMNS}
    cells[label] = {m: bootstrap.mean(v) for m, v in values.items()}
    cells[label]["by seed"] = " ".join(f"{v:.3f}" for v in values["abs_rel"].mean(1))
    if row.against:
      other = np.array([[r["abs_rel"] for r in run_rows] for run_rows in scores[row.against]])
      comparisons[label] = {
          "AbsRel minus that of": row.against,
          "difference": bootstrap.difference(values["abs_rel"], other),
      }
  result = {"title": table.title, "part": part, "seeds": list(seeds),
            "rows": cells, "comparisons": comparisons}
  text = [f"# {table.title}", "", f"Part: {part}; seeds: {', '.join(map(str, seeds))}; mean [95 %].", "",
          reports.table(cells, (*COLUMNS, "by seed"), markdown=True)]
  if comparisons:
    text += ["", reports.table(
        comparisons, ("AbsRel minus that of", "difference"), markdown=True)]
  reports.write_json(folder / "table.json", result)
  (folder / "table.md").write_text("\n".join(text) + "\n")
  print("\n".join(text), f"\n\nwritten: {folder / 'table.md'}, {folder / 'table.json'}")
  return result


def _test(row, seed, part, root, folder):
  """Per-image rows of one training, from disk where they are there."""
  workdir = folder / f"s{seed}"
  where = workdir / ("-".join([part, *map(_slug, row.test)]) or part)
  if not (where / "images.json").is_file():
    config = copy.deepcopy(row.config)
    config.seed = seed  # parents follow
    stages.run(config, workdir=workdir, root=root)
    model = trained.load(workdir)
    config = stages.evaluation_config(model.config, None, row.test)
    report, _ = stages.evaluate(model, config, part)
    reports.save(where, report)
  rows = json.loads((where / "images.json").read_text())
  return [r for r in rows if r["pixels"]]


def _slug(label):
  return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")
