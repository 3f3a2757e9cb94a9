"""Pictures and videos of what networks see, say and get wrong, with scales in metres.

The panel of a network (RGB, spikes, depth, prediction, error, uncertainty, feature activity):

    visualize.py --checkpoint runs/bicross/crossmodality-synthetic-s0 --output panel.png

The strip that compares networks (RGB, spikes, each prediction with its AbsRel, ground truth), on
the data of the last one, which is its target where it was adapted to one:

    visualize.py --strip "source only=RUN" MonoCross=RUN BiCross=RUN --output strip.png

A video of either over a sequence, on one scale throughout:

    visualize.py --checkpoint RUN --video drive.mp4
    visualize.py --strip MonoCross=RUN BiCross=RUN --data.domain=foggy --video drive.gif

The sequence is a drive through the synthetic world, or the frames of a part of another set in
their order (predict.py makes videos of spike streams and folders).
"""

import argparse
import pathlib
import sys

from bicross_jax import cli, errors
from bicross_jax.config import grammar


def main(argv: list[str]) -> int:
  parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument("--checkpoint", help="a run's folder, or one checkpoint in it")
  what.add_argument("--strip", nargs="+", metavar="NAME=RUN", help="networks to compare")
  parser.add_argument("--output", help="the PNG file to write")
  parser.add_argument("--video", help="the .mp4 or .gif file to write")
  parser.add_argument("--part", choices=("train", "validation", "test"), default="test")
  parser.add_argument("--examples", type=int, default=4, help="rows of the picture")
  parser.add_argument("--frames", type=int, default=40, help="of the video")
  parser.add_argument("--first", type=int, default=0, help="frame that the video begins with")
  parser.add_argument("--fps", type=float, default=10.0, help="frames a second")
  args, rest = parser.parse_known_args(argv)
  overrides = grammar.overrides_of(rest, "--")
  for item in overrides:
    if not item.startswith("data."):
      raise errors.UserError(f"unknown argument --{item}; fields are set as --data.key=value")
  _check(args)

  from bicross_jax.commands import stages, visualize
  from bicross_jax.viz import comparison, panels, video

  runs = visualize.parse_runs(args.strip) if args.strip else {"prediction": args.checkpoint}
  models = visualize.load(runs)
  last = list(models.values())[-1]
  show = visualize.Show(models, stages.evaluation_config(last.config, None, overrides))
  if args.output:
    examples = show.examples(args.part, args.examples)
    drawing = comparison.figure(examples) if args.strip else panels.figure(examples)
    panels.save_figure(args.output, drawing)
    print(f"written: {args.output}")
  if args.video:

    def sequence():
      return show.sequence(args.part, first=args.first, count=args.frames, fps=args.fps)

    scales = visualize.sequence_scales(sequence())
    count = video.write(args.video, comparison.frames(sequence(), scales), args.fps)
    print(f"written: {args.video}, {count} frames")
  return 0


def _check(args):
  if not (args.output or args.video):
    raise errors.UserError("nothing to do: give --output FILE.png, --video FILE.mp4 or both")
  for path, suffixes in ((args.output, (".png",)), (args.video, (".mp4", ".gif"))):
    file = pathlib.Path(path or ".")
    if path and (file.suffix not in suffixes or not file.parent.is_dir()):
      raise errors.UserError(f"{path} is no {' or '.join(suffixes)} file in a folder that exists")
  for name in ("examples", "frames"):
    if getattr(args, name) < 1:
      raise errors.UserError(f"--{name} {getattr(args, name)}: at least 1 is needed")
  if args.first < 0 or not args.fps > 0:
    raise errors.UserError(f"--first {args.first} --fps {args.fps}: no such frames")
  if args.checkpoint and not pathlib.Path(args.checkpoint).is_dir():
    raise errors.UserError(f"no folder {args.checkpoint}")


if __name__ == "__main__":
  sys.exit(cli.run(main))
