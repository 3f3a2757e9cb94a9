"""Judges what a network says of its own uncertainty, on every set of its config's evals.

    python scripts/uncertainty.py --checkpoint runs/bicross/crossdomain-synthetic-s0

Compared are the measures that the recipe offers (of BiCross's crossdomain the learned head, the
disagreement of teacher and student, and the variance over augmented views), by AUSE and
reliability. Labels of a target serve this comparison alone.
"""

import argparse
from collections.abc import Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

import numpy as np

from bicross_jax import cli, errors, files
from bicross_jax.evaluation import bootstrap
from bicross_jax.evaluation import report as reports
from bicross_jax.tasks.depth import uncertainty

COLUMNS = (
  "AUSE",
  "AUSE of an image [95 %]",
  "error of surer half",
  "ECE",
  "ECE calibrated",
  "factor",
)
FITTED = "data"  # the section that the network learned from, on which factors are fitted


class Domain(NamedTuple):
  """What was found on one set.

  Attributes:
    data: "name/domain/part".
    images: number of images with a pixel to compare.
    pixels: number of pixels compared.
    error: mean of |d - gt| / gt clipped at 1 over them.
    random: AUSE of an uncertainty that says nothing.
    measures: {measure: Judgement}.
  """

  data: str
  images: int
  pixels: int
  error: float
  random: float
  measures: dict[str, uncertainty.Judgement]


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments, with `output` filled in.

  Raises:
    errors.UserError: a wrong argument or place.
  """
  parser = cli.Parser(
    "uncertainty.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  cli.add_checkpoint(parser)
  parser.add_argument(
    "--pixels", type=int, default=20_000, help="of an image that count at most, drawn at random"
  )
  parser.add_argument("--output", help="folder (default: eval-uncertainty-PART in the run's)")
  args = parser.parse_args(argv)
  if args.pixels < 1:
    raise errors.UserError(f"--pixels {args.pixels}: at least 1 is needed")
  cli.check_checkpoint(args.checkpoint)
  args.output = args.output or pathlib.Path(args.checkpoint) / f"eval-uncertainty-{args.part}"
  files.check_output_folder(args.output)
  return args


def main(argv: Sequence[str]) -> int:
  """Judges the network that the arguments name; returns the exit status."""
  args = parse(argv)
  found = run(args.checkpoint, args.which, args.part, most=args.pixels, plugins=args.plugin)
  paths = save(args.output, found, checkpoint=args.checkpoint)  # saved before it is printed
  print(text(found))
  print("written:", ", ".join(map(str, paths)))
  return 0


def run(
  path, which: str = "best", part: str = "test", *, most: int = 20_000, plugins: Sequence[str] = ()
) -> dict[str, Domain]:
  """Judges every measure of a run on every set of its config's `evals`.

  Factors are fitted on validation data of the set that the network learned from, so that no label
  of a target is used.

  Args:
    path: a run's folder, or the folder of one checkpoint in it.
    which: "best" or "last", where `path` is a run's folder.
    part: which part of the sets is looked at.
    most: pixels of an image that count, drawn at random where there are more.
    plugins: modules outside this package whose recipe the checkpoint may name.

  Returns:
    {entry of evals: Domain}.

  Raises:
    errors.UserError: no such run, one without measures of uncertainty, or data that is not there.
  """
  from bicross_jax import inference
  from bicross_jax.train import checkpoints, devices

  devices.prepare()
  model = inference.load(path, which, plugins)
  config, measures = model.config, model.recipe.uncertainty
  if measures is None or config.task != "depth":
    raise errors.UserError(
      f"{path} is a run of stage {config.stage}, which has no measures of uncertainty of depth"
    )
  fitted = [name for name, entry in config.evals.items() if entry.data == FITTED]
  if not fitted:
    raise errors.UserError(f"none of the config's evals is on section {FITTED!r}: {path}")
  folder = checkpoints.find(path, which)
  parts = {}
  for name, place in measures.parts.items():
    parts[name] = checkpoints.restore_part(folder, place)
    if parts[name] is None:
      raise errors.BadFileError(folder, f"its state has no {'.'.join(place)}")

  def measure(batch, number):
    return measures.measure(model.variables, parts, batch, number)

  factor = uncertainty.factors(_pixels(model, measure, fitted[0], "validation", most))
  out = {}
  for name, entry in config.evals.items():
    data = config[entry.data]
    images = _pixels(model, measure, name, part, most)
    together = uncertainty.pool(images)
    judged = uncertainty.judge(images, factor)
    out[name] = Domain(
      f"{data.name}/{data.domain}/{part}",
      sum(len(i.error) > 0 for i in images),
      len(together.error),
      float(together.error.mean(dtype=np.float64)),
      next(iter(judged.values())).sparsification.random,
      judged,
    )
  return out


def _pixels(model, measure, name, part, most) -> list[uncertainty.Pixels]:
  """The compared pixels of every image of a part of the data of an entry of `evals`."""
  from bicross_jax.commands import evaluate

  where = evaluate.test_config(model.config, evaluation=name)
  images = []
  for number, (batch, truths) in enumerate(evaluate.batches(model, where, part, ("depth",))):
    maps = {key: np.asarray(x) for key, x in measure(batch, number).items()}
    depth = maps.pop("depth")
    for i, truth in enumerate(truths):  # real rows stand before those that pad
      found = {key: u[i] for key, u in maps.items()}
      images.append(
        uncertainty.pixels(
          depth[i],
          found,
          truth["depth"],
          truth["crop"],
          where.protocol,
          most=most,
          seed=len(images),
        )
      )
  return images


def table(domain: Domain) -> str:
  """What was found on one set, in Markdown; the last row is an uncertainty that says nothing."""
  rows: dict[str, dict[str, Any]] = {}
  for name, j in domain.measures.items():
    rows[name] = dict(
      zip(
        COLUMNS,
        (
          j.sparsification.ause,
          str(bootstrap.mean(j.ause)),
          j.surer_half,
          j.reliability.ece,
          j.calibrated,
          j.factor,
        ),
        strict=True,
      )
    )
  rows["none"] = {"AUSE": domain.random, "error of surer half": domain.error}
  return reports.table(rows, COLUMNS, markdown=True)


def differences(domain: Domain) -> dict[str, bootstrap.Interval]:
  """AUSE of an image by each other measure minus that by the first; negative: better than it."""
  (first, judged), *others = domain.measures.items()
  return {
    f"{name} minus {first}": bootstrap.difference(other.ause, judged.ause) for name, other in others
  }


def text(found: Mapping[str, Domain]) -> str:
  """Everything as Markdown."""
  lines = ["# Uncertainty"]
  for name, domain in found.items():
    lines += [
      "",
      f"## {name.capitalize()}: {domain.data}",
      "",
      f"{domain.images} images, {domain.pixels} pixels, mean error {domain.error:.3f}",
      "",
      table(domain),
    ]
    lines += ["", *(f"- AUSE of an image, {k}: {v}" for k, v in differences(domain).items())]
  lines += [
    "",
    "The error of a pixel is |d - gt| / gt clipped at 1. AUSE: area between the curves of"
    " mean error over the share of pixels left out, by uncertainty and by error, over the mean"
    " error (0 is perfect; none: an uncertainty that says nothing). Surer half: the pixels below the"
    " median uncertainty, which a pseudo-label filter keeps. ECE: mean of |claimed - found error|"
    " over ten bins; calibrated: after multiplication by the factor fitted on validation data of"
    " the set that the network learned from.",
  ]
  return "\n".join(lines) + "\n"


def save(folder, found: Mapping[str, Domain], **about) -> list[pathlib.Path]:
  """Writes `uncertainty.json` (`about` and all numbers), `uncertainty.md` and `uncertainty.png`.

  Raises:
    errors.UserError: the disk is full, or the place cannot be written.
  """
  folder = pathlib.Path(folder)
  paths = [folder / f"uncertainty.{suffix}" for suffix in ("json", "md", "png")]
  domains = {
    name: domain._asdict() | {"differences": differences(domain)} for name, domain in found.items()
  }
  files.write_json(paths[0], {**about, "domains": domains})
  with files.write_whole(paths[1]) as file:
    file.write(text(found).encode())
  from bicross_jax.viz import curves

  curves.save(
    paths[2],
    {name: d.measures for name, d in found.items()},
    {name: f"{name}: {d.data}" for name, d in found.items()},
  )
  return paths
