"""Trains and tests the rows of a table over several seeds, and writes it as JSON and Markdown.

    python scripts/table.py --table configs/bicross.py:cfkd --seeds 0,1,2

The tables of a system stand in its config file (`get_tables`). What is finished is not done
again: an interrupted table goes on where it stopped, and stages that several rows start from are
trained once.
"""

import sys

from bicross_jax import cli, errors
from bicross_jax.config import grammar


def main(argv: list[str]) -> int:
  parser = cli.Parser(description=__doc__)
  parser.add_argument("--table", required=True, metavar="FILE:NAME")
  parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
  parser.add_argument("--part", choices=("validation", "test"), default="test")
  parser.add_argument("--root", default="runs", help="folder of all runs")
  parser.add_argument(
    "--output", help="folder of the table (default <root>/<system>/tables/<name>)"
  )
  args, rest = parser.parse_known_args(argv)
  overrides = grammar.overrides_of(rest, "--config.")
  rows = grammar.load_table(args.table, overrides)
  try:
    seeds = [int(s) for s in args.seeds.split(",")]
  except ValueError:
    raise errors.UserError(f"--seeds {args.seeds!r} is no list of whole numbers") from None

  from bicross_jax.commands import table

  table.run(rows, seeds, part=args.part, root=args.root, output=args.output)
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
