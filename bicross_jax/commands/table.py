"""Trains and tests the rows of a table over several seeds, and writes it as JSON and Markdown.

    python scripts/table.py --table configs/bicross.py:cfkd --seeds 0,1,2

The tables of a system stand beside its config file (configs/tables). What is finished is not done
again: an interrupted table goes on where it stopped, and stages that several rows start from are
trained once.
"""

import argparse
from collections.abc import Sequence
import copy
import pathlib
import re

from bicross_jax import cli, errors, files, tasks
from bicross_jax.commands.tested import apart, test_config
from bicross_jax.config import grammar, rules, tables

_SEEDS = rules.several(rules.whole(0, rules.SEEDS - 1), least=1)


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments, with `table` loaded and `seeds` as numbers.

  Raises:
    errors.UserError: a wrong argument, table, seed or place.
  """
  parser = cli.Parser(
    "table.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--table", required=True, metavar="FILE:NAME")
  add("--seeds", default="0,1,2", help="comma-separated")
  add("--part", choices=("validation", "test"), default="test")
  add("--root", default="runs", help="folder of all runs")
  add("--output", help="folder of the table (default <root>/<system>/tables/<name>)")
  args, rest = parser.parse_known_args(argv)
  words = args.seeds
  try:
    args.seeds = tuple(int(s) for s in words.split(","))
  except ValueError:
    raise errors.UserError(f"--seeds {words!r} is no list of whole numbers") from None
  problem = rules.wrong(_SEEDS, args.seeds)
  if problem or len(set(args.seeds)) < len(args.seeds):
    raise errors.UserError(f"--seeds {words!r}: {problem or 'one comes twice'}")
  args.table = tables.load(args.table, grammar.overrides_of(rest, "--config."))
  for place in (args.root, args.output):
    if place is not None:
      files.check_output_folder(place)
  return args


def main(argv: Sequence[str]) -> int:
  """Makes the table that the arguments name; returns the exit status."""
  args = parse(argv)
  run(args.table, args.seeds, part=args.part, root=args.root, output=args.output)
  return 0


def run(
  table: tables.Table, seeds: Sequence[int], *, part: str = "test", root="runs", output=None
) -> dict:
  """Trains every row with every seed, tests it, and writes `table.md` and `table.json`.

  Every cell is the mean over seeds and images with its 95 % bootstrap interval; a comparison is
  the paired difference of the first column on the same images.

  Args:
    table: what to run; runs and results that are already there are taken as they are.
    seeds: one training a row for each.
    part: which part of the data is tested.
    root: folder of all runs.
    output: folder of the table.

  Returns:
    What `table.json` holds.
  """
  import numpy as np

  from bicross_jax.evaluation import bootstrap
  from bicross_jax.evaluation import report as reports

  config = next(iter(table.rows.values())).config
  task = tasks.create(config.task)
  columns = tuple(table.columns or task.columns)
  titles = {**task.titles, **task.called(test_config(config).protocol)}
  titles["against"] = f"{titles.get(columns[0], columns[0])} minus that of"
  folder = pathlib.Path(output or pathlib.Path(root) / config.system / "tables" / table.name)
  scores = {
    label: [test(row, seed, part, root) for seed in seeds] for label, row in table.rows.items()
  }
  values = {
    label: {
      c: np.array([[row[c] for row in rows] for rows in found])
      for c in columns
      if all(c in row for rows in found for row in rows)
    }
    for label, found in scores.items()
  }
  cells, comparisons = {}, {}
  for label, row in table.rows.items():
    cells[label] = {c: bootstrap.mean(v) for c, v in values[label].items()}
    first = values[label][columns[0]]
    cells[label]["by seed"] = " ".join(f"{v:.3f}" for v in first.mean(1))
    if row.against:
      comparisons[label] = {
        "against": row.against,
        "difference": bootstrap.difference(first, values[row.against][columns[0]]),
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
    reports.table(cells, (*columns, "by seed"), titles, markdown=True),
  ]
  if comparisons:
    text += ["", reports.table(comparisons, ("against", "difference"), titles, markdown=True)]
  paths = _write(folder / "table", text, result)
  print("\n".join(text), f"\n\nwritten: {', '.join(map(str, paths))}")
  return result


def test(row: tables.Row, seed: int, part: str = "test", root="runs") -> list[dict]:
  """What the task found of each image, for one row and one seed.

  It is trained and tested only where that is new. The run lies where a stage that starts from it
  looks for it (`training.run_folder`), so it serves all rows that stand on it or differ in the
  test alone.
  """
  import jax

  from bicross_jax import inference
  from bicross_jax.commands import evaluate, training
  from bicross_jax.evaluation import report as reports

  config = copy.deepcopy(row.config)
  config.seed = seed  # parents follow
  workdir = pathlib.Path(training.run_folder(config, root, spare_default=True)[0])
  where = workdir / "-".join([part, *map(_slug, row.test)])
  file = where / "images.json"
  if not file.is_file():
    training.run(config, workdir=workdir, root=root)
    changes, overrides = apart(row.test)
    model = inference.load(workdir, plugins=grammar.trusted(config), changes=changes)
    tested = evaluate.test_config(model.config, overrides=overrides)
    report = evaluate.evaluate(model, tested, part)
    reports.save(where, report)
    # Every compiled network maps thousands of pieces of memory, and a process may have some 65,000
    # (vm.max_map_count of Linux): past that XLA aborts. No row needs the networks of another.
    jax.clear_caches()
  return [r for r in files.read_json(file) if r["pixels"]]


def chain(config, workdir=None, root="runs") -> dict:
  """Tests every stage that a finished run stands on, and itself, on each of its `evals`.

  Args:
    config: of the last stage.
    workdir, root: as for `training.run`.

  Returns:
    {stage and inputs: {domain and metric: mean over the test images}}, which is also printed and
    written to `chain.md` and `chain.json` in the run's folder.
  """
  from bicross_jax import inference
  from bicross_jax.commands import evaluate, training
  from bicross_jax.evaluation import report as reports

  folders, rows = training.chain(config, workdir, root), {}
  for folder in folders:
    model = inference.load(folder, plugins=grammar.trusted(config))
    own = model.config
    row = rows[f"{own.stage} ({', '.join(model.recipe.inputs)})"] = {}
    # A stage of another system, or task, is tested where it says itself.
    said = config if (own.system, own.task) == (config.system, config.task) else own
    task = tasks.create(own.task)
    for name in said.evals:
      where = evaluate.test_config(own, said, evaluation=name)
      titles = {**task.titles, **task.called(where.protocol)}
      report = evaluate.evaluate(model, where, "test")
      row.update(
        {
          f"{where.data.domain} {titles.get(c, c)}": report.summary[c]
          for c in tuple(task.columns)[:3]
          if c in report.summary
        }
      )
  columns = tuple(dict.fromkeys(c for row in rows.values() for c in row))
  text = [reports.table(rows, columns, {}, markdown=True)]
  paths = _write(folders[-1] / "chain", text, rows)
  print(f"\n{text[0]}\n\nwritten: {', '.join(map(str, paths))}")
  return rows


def _write(stem: pathlib.Path, text: Sequence[str], result) -> tuple[pathlib.Path, pathlib.Path]:
  """Writes STEM.md and STEM.json."""
  paths = stem.with_suffix(".md"), stem.with_suffix(".json")
  files.write_json(paths[1], result)
  with files.write_whole(paths[0]) as file:
    file.write(("\n".join(text) + "\n").encode())
  return paths


def _slug(label):
  return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")
