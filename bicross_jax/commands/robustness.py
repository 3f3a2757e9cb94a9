"""Judges an RGB depth network under the 18 corruptions of RoboDepth: depth errors, mRR and mCE.

    python scripts/robustness.py --checkpoint runs/bicross/pretrain-synthetic-s0
    python scripts/robustness.py --checkpoint RUN --corruptions fog,snow,motion --severities 1,3,5
    python scripts/robustness.py --checkpoint RUN --data.domain=other_town

The test set is gone through once as it is, and once for each severity of each corruption. What was
measured is kept in robustness.json: an interrupted command goes on, and one that asks for more measures
only what is not there yet. mCE compares with a baseline network: --baseline OTHER/robustness.json.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
import math
import pathlib
from typing import Any

import numpy as np

from bicross_jax import cli, errors
from bicross_jax.commands import corrupted, evaluate
from bicross_jax.evaluation import report as reports
from bicross_jax.names import nearest
from bicross_jax.sim import corruptions
from bicross_jax.tasks.depth import robustness


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments: corruptions and severities as lists, in order; `other`: what --baseline holds.

  Raises:
    errors.UserError: a wrong argument, place or baseline.
  """
  parser = cli.Parser(
    "robustness.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  evaluate.add_test(parser)
  add = parser.add_argument
  add(
    "--corruptions", metavar="A,B", help=f"of {', '.join(corruptions.CORRUPTIONS)} (default: all)"
  )
  add("--severities", metavar="1,2", help="of 1 to 5 (default: all)")
  add(
    "--baseline",
    metavar="FILE",
    help=f"{corrupted.REPORT} of another network: mCE compares with it",
  )
  add("--output", help="folder (default: robustness-... in the run's)")
  args = evaluate.parse_test(parser, argv)
  args.corruptions = _chosen("--corruptions", args.corruptions, corruptions.CORRUPTIONS)
  severities = {str(severity): severity for severity in corruptions.SEVERITIES}
  args.severities = [severities[x] for x in _chosen("--severities", args.severities, severities)]
  args.other = corrupted.read(args.baseline) if args.baseline else None
  for name in args.corruptions if args.other else ():
    lacking = set(args.severities) - set(args.other.cells.get(name, ()))
    if lacking:
      raise errors.BadFileError(args.baseline, f"has no {name} of severity {min(lacking)}")
  return args


def main(argv: Sequence[str]) -> int:
  """Judges the network that the arguments name; returns the exit status."""
  args = parse(argv)

  from bicross_jax import inference
  from bicross_jax.train import devices

  devices.prepare()
  model = inference.load(args.checkpoint, args.which, args.plugin)
  check(model, args.checkpoint)
  where = evaluate.test_config(
    model.config, evaluation=args.eval, protocol=args.protocol, overrides=args.overrides
  )
  folder = evaluate.output_folder(args, where, "robustness")
  path = folder / corrupted.REPORT
  source = evaluate.opened(model, where)
  test = corrupted.tester(model, where, source, args.part)
  measured = corrupted.begin(test, corrupted.describe(model, where, args.part), path)
  if args.other:
    check_baseline(args.baseline, args.other, measured)
  corrupted.go_on(test, measured, args.corruptions, args.severities, path)
  judged = judge(measured, args.corruptions, args.severities, args.other)
  found = {"baseline": args.baseline, **means(judged), "corruptions": judged}
  corrupted.save(path, measured, found)
  batch, _ = next(iter(source.evaluation(args.part, truth=())))
  pictures = draw(folder, measured, judged, batch[corrupted.INPUT][0])
  about = measured.about
  print(f"{about['data']}: {measured.clean['images']} images, checkpoint step {about['step']}")
  print(text(measured, judged, args.baseline))
  print("written:", ", ".join(map(str, (path, *pictures))))
  return 0


def check(model, path) -> None:
  """Nothing, for a depth network that sees an RGB image and no other map.

  Raises:
    errors.UserError: it is another.
  """
  from bicross_jax import fields

  seen = fields.maps(model.recipe.inputs, model.recipe.fields)
  if model.config.task != "depth" or seen != [corrupted.INPUT]:
    raise errors.UserError(
      f"{errors.shown(path)} is a run of stage {model.config.stage}, whose network reads "
      f"{', '.join(seen)} for task {model.config.task}; corruptions are for depth from {corrupted.INPUT} alone"
    )


def check_baseline(path, other: corrupted.Measured, measured: corrupted.Measured) -> None:
  """Nothing, where a baseline was tested on the same pixels of the same images.

  Args:
    path: of its report.
    other: what that holds.
    measured: of the network.

  Raises:
    errors.BadFileError: it was tested on others.
  """
  there, here = corrupted.compared(other), corrupted.compared(measured)
  for name, value in here.items():
    if there[name] != value:
      raise errors.BadFileError(path, f"was measured with {name} {there[name]}, not {value}")


def judge(
  measured: corrupted.Measured,
  names: Sequence[str],
  severities: Sequence[int],
  other: corrupted.Measured | None = None,
) -> dict[str, robustness.Judgement]:
  """{corruption: what it does to the network}.

  Args:
    measured: of the network.
    names, severities: that count.
    other: of the baseline network.
  """
  return {
    name: robustness.judge(
      measured.clean,
      {severity: measured.cells[name][severity] for severity in severities},
      other.cells[name] if other else None,
    )
    for name in names
  }


def means(judged: Mapping[str, robustness.Judgement]) -> dict[str, float]:
  """mRR and mCE (NaN without a baseline), percent."""
  return {
    "mRR": robustness.mean(j.rr for j in judged.values()),
    "mCE": robustness.mean(j.ce for j in judged.values()),
  }


def text(
  measured: corrupted.Measured, judged: Mapping[str, robustness.Judgement], baseline: str | None
) -> str:
  """The table, a line a corruption, and the two means; DEE of each severity has its number above."""
  titles = robustness.METRICS
  rows: dict[str, dict[str, Any]] = {
    "clean": {"DEE": robustness.dee(measured.clean)}
    | {title: measured.clean[name] for name, title in titles.items()}
  }
  for name, j in judged.items():
    rows[name] = {str(severity): value for severity, value in j.dee.items()}
    rows[name] |= {"DEE": j.mean_dee, "RR [%]": _percent(j.rr), "CE [%]": _percent(j.ce)}
    rows[name] |= {title: j.metrics[metric] for metric, title in titles.items()}
  severities = [str(severity) for severity in next(iter(judged.values())).dee]
  columns = [*severities, "DEE", *titles.values(), "RR [%]", *(["CE [%]"] if baseline else [])]
  found = means(judged)
  lines = [reports.table(rows, columns), f"mRR {_percent(found['mRR'])} %"]
  if baseline:
    lines.append(f"mCE {_percent(found['mCE'])} % of {errors.shown(baseline)}")
  else:
    lines.append("no mCE without a baseline network: its report is given by --baseline")
  count, every = len(judged), len(corruptions.CORRUPTIONS)
  if (count, len(severities)) != (every, len(corruptions.SEVERITIES)):
    lines.append(
      f"means of {count} of {every} corruptions in {len(severities)} of "
      f"{len(corruptions.SEVERITIES)} severities: not those of the whole benchmark"
    )
  return "\n".join(lines)


def draw(
  folder: pathlib.Path,
  measured: corrupted.Measured,
  judged: Mapping[str, robustness.Judgement],
  image: np.ndarray,
) -> list[pathlib.Path]:
  """Writes a bar for every corruption, and an image (uint8[H, W, 3]) with each; returns the paths."""
  from bicross_jax.viz import bars, panels

  metric, title = next(iter(robustness.METRICS.items()))
  paths = [folder / name for name in ("robustness.png", "corruptions.png")]
  severities = list(next(iter(judged.values())).dee)
  bars.save(
    paths[0],
    {name: j.metrics[metric] for name, j in judged.items()},
    f"{measured.about['network']}, {measured.about['data']}: clean {100 * measured.clean[metric]:.1f} %",
    f"{title} [%], mean over severities {', '.join(map(str, severities))}",
  )
  rows = sheet(image, list(judged), severities[len(severities) // 2])
  panels.save(paths[1], panels.lay_out(list(rows.values()), list(rows)))
  return paths


def sheet(image: np.ndarray, names: Sequence[str], severity: int) -> dict[str, Any]:
  """{group: row of `viz.panels`} of an image with corruptions of a severity."""
  from bicross_jax.viz import panels

  rows: dict[str, dict] = {}
  for name in names:
    row = rows.setdefault(f"{corruptions.CORRUPTIONS[name].group}, severity {severity}", {})
    picture = corruptions.corrupt(image, name, severity, seed=0)
    row[len(row), ""] = panels.Cell(picture, caption=name)
  return rows


def _chosen(flag: str, text: str | None, every: Iterable[str]) -> list[str]:
  """Those of `every` that a list "a,b" names, in the order of `every`; all without a list."""
  every = list(every)
  if text is None:
    return every
  named = [word.strip() for word in text.split(",")]
  for word in named:
    if word not in every:
      raise errors.UserError(f"{flag}: there is no {word!r}{nearest(word, every)}")
  return [word for word in every if word in named]


def _percent(value: float) -> str:
  return "-" if math.isnan(value) else f"{value:.1f}"
