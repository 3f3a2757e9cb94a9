"""Judges the uncertainty of a cross-domain run on its source and target: curves and numbers.

    python scripts/uncertainty.py --checkpoint runs/bicross/crossdomain-synthetic-s0

Compared are the learned head, the disagreement of teacher and student, and the variance over
augmented views, by AUSE and reliability. Labels of the target serve this comparison alone.
"""

import pathlib
import sys

from bicross_jax import cli, errors


def main(argv: list[str]) -> int:
  parser = cli.Parser(description=__doc__)
  cli.add_checkpoint(parser)
  parser.add_argument(
    "--pixels", type=int, default=20_000, help="of an image that count at most, drawn at random"
  )
  parser.add_argument("--output", help="folder (default: eval-uncertainty-PART in the run's)")
  args = parser.parse_args(argv)
  if not pathlib.Path(args.checkpoint).is_dir():
    raise errors.UserError(f"no folder {args.checkpoint}")
  if args.pixels < 1:
    raise errors.UserError(f"--pixels {args.pixels}: at least 1 is needed")
  default = pathlib.Path(args.checkpoint) / f"eval-uncertainty-{args.part}"
  folder = pathlib.Path(args.output or default)
  if folder.exists() and not folder.is_dir():
    raise errors.UserError(f"--output {folder} is a file, not a folder")

  from bicross_jax.commands import uncertainty

  found = uncertainty.run(args.checkpoint, args.which, args.part, most=args.pixels)
  print(uncertainty.text(found))
  paths = uncertainty.save(folder, found, checkpoint=args.checkpoint)
  print("written:", ", ".join(map(str, paths)))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
