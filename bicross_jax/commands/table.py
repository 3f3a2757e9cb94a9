"""Tables of an experiment: rows of configs times seeds, trained, tested and compared."""

from collections.abc import Sequence
import copy
import json
import pathlib
import re

import jax
import numpy as np

from bicross_jax import files, inference, tasks
from bicross_jax.commands import stages
from bicross_jax.config import grammar
from bicross_jax.evaluation import bootstrap
from bicross_jax.evaluation import report as reports

TASK = tasks.create("depth")
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
    label: [test(row, seed, part, root) for seed in seeds] for label, row in table.rows.items()
  }
  cells, comparisons = {}, {}
  for label, row in table.rows.items():
    values = {
      m: np.array([[r[m] for r in run_rows] for run_rows in scores[label]]) for m in COLUMNS
    }
    cells[label] = {m: bootstrap.mean(v) for m, v in values.items()}
    cells[label]["by seed"] = " ".join(f"{v:.3f}" for v in values["abs_rel"].mean(1))
    if row.against:
      other = np.array([[r["abs_rel"] for r in run_rows] for run_rows in scores[row.against]])
      comparisons[label] = {
        "AbsRel minus that of": row.against,
        "difference": bootstrap.difference(values["abs_rel"], other),
      }
  result = {
    "title": table.title,
    "part": part,
    "seeds": list(seeds),
    "rows": cells,
    "comparisons": comparisons,
  }
  text = [
    f"# {table.title}",
    "",
    f"Part: {part}; seeds: {', '.join(map(str, seeds))}; mean [95 %].",
    "",
    reports.table(cells, (*COLUMNS, "by seed"), TASK.titles, markdown=True),
  ]
  if comparisons:
    text += ["", reports.table(comparisons, ("AbsRel minus that of", "difference"), markdown=True)]
  files.write_json(folder / "table.json", result)
  with files.write_whole(folder / "table.md") as file:
    file.write(("\n".join(text) + "\n").encode())
  print("\n".join(text), f"\n\nwritten: {folder / 'table.md'}, {folder / 'table.json'}")
  return result


def test(row: grammar.Row, seed: int, part: str = "test", root="runs") -> list[dict]:
  """Metrics of each image for one row and one seed; trained and tested only where that is new.

  The run lies where a stage that starts from it looks for it (`stages.run_folder`), so it serves
  all rows that stand on it or differ in the test alone.
  """
  config = copy.deepcopy(row.config)
  config.seed = seed  # parents follow
  workdir = pathlib.Path(stages.run_folder(config, root, spare_default=True)[0])
  where = workdir / "-".join([part, *map(_slug, row.test)])
  if not (where / "images.json").is_file():
    stages.run(config, workdir=workdir, root=root)
    model = inference.load(workdir)
    report = stages.evaluate(model, stages.evaluation_config(model.config, None, row.test), part)
    reports.save(where, report)
    # Every compiled network maps thousands of pieces of memory, and a process may have some 65,000
    # (vm.max_map_count of Linux): past that XLA aborts. No row needs the networks of another.
    jax.clear_caches()
  return [r for r in json.loads((where / "images.json").read_text()) if r["pixels"]]


def chain(config, workdir=None, root="runs") -> dict:
  """Tests every stage that a finished run stands on, and itself, on its source and its target.

  Args:
    config: of the last stage; `target`, where it has one, is the second domain.
    workdir, root: as for `stages.run`.

  Returns:
    {stage and modality: {domain and metric: mean over the test images}}, which is also printed and
    written to `chain.md` and `chain.json` in the run's folder.
  """
  folders, rows = stages.chain(config, workdir, root), {}
  sections = [name for name in ("data", "target") if name in config]
  for folder in folders:
    model = inference.load(folder)
    row = rows[f"{model.config.stage} ({model.config.input.modality})"] = {}
    for section in sections:
      where = copy.deepcopy(config)
      with where.unlocked():  # a stage without a target has no such field
        where.target = where[section]
      report = stages.evaluate(model, stages.evaluation_config(model.config, where), "test")
      row.update({f"{where.target.domain} {m}": report.summary[m] for m in COLUMNS})
  columns = tuple(next(iter(rows.values())))
  text = reports.table(rows, columns, markdown=True)
  files.write_json(folders[-1] / "chain.json", rows)
  with files.write_whole(folders[-1] / "chain.md") as file:
    file.write(f"{text}\n".encode())
  print(f"\n{text}\n\nwritten: {folders[-1] / 'chain.md'}, {folders[-1] / 'chain.json'}")
  return rows


def _slug(label):
  return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")
