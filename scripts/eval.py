"""Evaluates a checkpoint: metrics table with the two baselines, per-image JSON, summary JSON.

python scripts/eval.py --checkpoint runs/bicross/crossmodality-synthetic-s0
python scripts/eval.py --checkpoint RUN --data.domain=foggy      # the same network elsewhere
python scripts/eval.py --checkpoint RUN --config configs/bicross.py:pretrain,scene
"""

import pathlib
import sys

from bicross_jax import cli, errors
from bicross_jax.config import grammar


def main(argv: list[str]) -> int:
  parser = cli.Parser(description=__doc__)
  cli.add_checkpoint(parser)
  parser.add_argument(
    "--config",
    metavar="FILE[:ARG]",
    help="take data and protocol from this config instead of the checkpoint's",
  )
  parser.add_argument("--output", help="folder of the JSON files (default: the run's folder)")
  args, rest = parser.parse_known_args(argv)
  overrides = grammar.overrides_of(rest, "--")
  for item in overrides:
    if not item.startswith(("data.", "eval.")):
      raise errors.UserError(f"unknown argument --{item}; fields are set as --data.key=value")
  other = grammar.load(args.config) if args.config else None
  if not pathlib.Path(args.checkpoint).is_dir():
    raise errors.UserError(f"no folder {args.checkpoint}")

  from bicross_jax import inference
  from bicross_jax.commands import stages
  from bicross_jax.evaluation import report as reports

  model = inference.load(args.checkpoint, args.which)
  config = stages.evaluation_config(model.config, other, overrides)
  report = stages.evaluate(model, config, args.part)
  baselines = stages.baselines(model, config, args.part)
  domain = f"{config.data.name}/{config.data.domain}/{args.part}"
  print(f"{domain}: {report.summary['images']} images, checkpoint step {model.meta['step']}")
  rows = {f"{model.config.system} {model.config.stage}": report.summary, **baselines}
  task = stages.TASK
  print(reports.table(rows, reports.shown(rows.values(), task.columns), task.titles))
  name = f"eval-{config.data.name}-{config.data.domain}-{args.part}"
  folder = pathlib.Path(args.output or pathlib.Path(args.checkpoint) / name)
  paths = reports.save(
    folder, report, data=domain, checkpoint_step=model.meta["step"], baselines=baselines
  )
  print("written:", ", ".join(map(str, paths)))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
