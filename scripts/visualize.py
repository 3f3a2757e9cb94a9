"""The panel of the papers: RGB, spikes, depth, prediction, error, uncertainty.

    python scripts/visualize.py --checkpoint runs/bicross/crossmodality-synthetic-s0 --output panel.png
"""

import pathlib
import sys

from bicross_jax import cli
from bicross_jax import config as grammar
from bicross_jax import errors


def main(argv: list[str]) -> int:
  parser = cli.Parser(description=__doc__)
  parser.add_argument("--checkpoint", required=True, help="a run's folder, or one checkpoint in it")
  parser.add_argument("--output", required=True, help="the PNG file to write")
  parser.add_argument("--part", choices=("train", "validation", "test"), default="test")
  parser.add_argument("--examples", type=int, default=4, help="rows of the panel")
  args, rest = parser.parse_known_args(argv)
  overrides = grammar.overrides_of(rest, "--")
  for item in overrides:
    if not item.startswith("data."):
      raise errors.UserError(f"unknown argument --{item}; fields are set as --data.key=value")
  if not pathlib.Path(args.checkpoint).is_dir():
    raise errors.UserError(f"no folder {args.checkpoint}")
  output = pathlib.Path(args.output)
  if output.suffix.lower() != ".png" or not output.parent.is_dir():
    raise errors.UserError(f"--output {output} is no .png file in a folder that exists")

  from bicross_jax import stages
  from bicross_jax import trained
  from bicross_jax.viz import panels

  model = trained.load(args.checkpoint)
  config = stages.evaluation_config(model.config, None, overrides)
  panels.save(output, stages.examples(model, config, args.part, args.examples))
  print(f"written: {output}")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
