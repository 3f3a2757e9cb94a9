"""Trains one stage of a system, and first the stages it stands on.

    python scripts/train.py --config configs/bicross.py:all      # and tests every stage in the end
    python scripts/train.py --config configs/bicross.py:crossmodality
    python scripts/train.py --config configs/bicross.py:pretrain --config.seed=1 --workdir runs/mine

A run that was interrupted goes on where it stopped when the same command is given again.
"""

import argparse
from collections.abc import Sequence
import pathlib

from bicross_jax import cli, errors
from bicross_jax.config import grammar


def parse(argv: Sequence[str]):
  """(config, workdir, root) of the arguments.

  Raises:
    errors.UserError: a wrong argument or config; one without a stage lists those there are.
  """
  parser = cli.Parser(
    "train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "--config",
    required=True,
    metavar="FILE:STAGE[,SCENARIO][,KEY=VALUE...]",
    help="config file and what of it; single fields are set with --config.field=value",
  )
  parser.add_argument("--workdir", help="folder of the run (default runs/<system>/<stage>-...)")
  parser.epilog = "\n\n".join(map(_listed, sorted(map(str, pathlib.Path("configs").glob("*.py")))))
  args, rest = parser.parse_known_args(argv)
  if ":" not in args.config:
    stages, scenarios = grammar.choices(args.config)
    raise errors.UserError(
      f"say which stage: --config {args.config}:STAGE[,SCENARIO]; stages: {', '.join(stages)}; "
      f"scenarios: {', '.join(scenarios)}"
    )
  config = grammar.load(args.config, grammar.overrides_of(rest, "--config."))
  return config, args.workdir


def _listed(path: str) -> str:
  """A config file's stages and scenarios, for --help."""
  try:
    stages, scenarios = grammar.choices(path)
  except errors.UserError as error:
    return f"{path}: {error}"
  return f"{path}\n  stages     {', '.join(stages)}\n  scenarios  {', '.join(scenarios)}"


def main(argv: Sequence[str]) -> int:
  """Trains what the arguments say; returns the exit status."""
  config, workdir = parse(argv)

  from bicross_jax.commands import training  # heavy, so only once the arguments are right

  training.run(config, workdir)
  if config.get("report"):
    from bicross_jax.commands import table

    table.chain(config, workdir)
  return 0
