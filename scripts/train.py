"""Trains one stage of a system, and first the stages it stands on.

    python scripts/train.py --config configs/bicross.py:all      # and tests every stage in the end
    python scripts/train.py --config configs/bicross.py:crossmodality
    python scripts/train.py --config configs/bicross.py:pretrain --config.seed=1 --workdir runs/mine

A run that was interrupted goes on where it stopped when the same command is given again.
"""

import sys

from bicross_jax import cli
from bicross_jax.config import grammar


def main(argv: list[str]) -> int:
  parser = cli.Parser(description=__doc__)
  parser.add_argument(
    "--config",
    required=True,
    metavar="FILE[:ARG]",
    help="config file and its argument, stage[,scenario][,key=value...]; "
    "single fields are set with --config.field=value",
  )
  parser.add_argument("--workdir", help="folder of the run (default runs/<system>/<stage>-...)")
  args, rest = parser.parse_known_args(argv)
  config = grammar.from_flags(args.config, rest)

  from bicross_jax.commands import stages

  stages.run(config, workdir=args.workdir)
  if config.get("report"):
    from bicross_jax.commands import table

    table.chain(config, args.workdir)
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
