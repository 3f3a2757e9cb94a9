"""Makes events of ordinary video with a simulated event camera.

  simulate_events.py VIDEO --output events.h5
  simulate_events.py FOLDER --fps 30 --interpolation flow --output events.h5

The input is a video file, whose frames are taken at their time stamps, or a folder of PNG or JPEG
files in the order of the numbers in their names, --fps of them a second. The output has DSEC's layout (events/x,
y, t, p, ms_to_idx, t_offset; times in microseconds after the first frame) for a sensor of the frames' size.

A pixel makes an event whenever its log intensity has changed by a threshold. Between two frames log
intensity is linear in time (`--interpolation linear`): edges that move by more than a pixel a frame
fade where they would move, and their events come all over the interval. `--interpolation flow` makes 15
frames between each two by optical flow (OpenCV's DIS) first, which is slower.
"""

import argparse
from collections.abc import Sequence
import pathlib

from bicross_jax import cli, errors, files
from bicross_jax.commands import simulate


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Arguments, checked as far as that goes without opening a file; see --help."""
  parser = cli.Parser(
    "simulate_events.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  number, not_negative = simulate.positive, simulate.not_negative
  add("input", type=pathlib.Path, help="a video, or a folder of pictures")
  add("--output", type=pathlib.Path, required=True, help=".h5 file")
  add("--fps", type=number, help="frames a second (default: the video's times)")
  add("--size", type=simulate.size, help="resize frames to HEIGHTxWIDTH first")
  add("--interpolation", choices=("linear", "flow"), default="linear")
  add("--threshold_on", type=number, default=0.2, help="log intensity (default 0.2)")
  add("--threshold_off", type=number, default=0.2, help="log intensity (default 0.2)")
  add("--mismatch", type=not_negative, default=0.03, help="deviation of thresholds (default 0.03)")
  add("--refractory", type=not_negative, default=1e-3, help="seconds (default 0.001)")
  add("--leak", type=not_negative, default=0.1, help="ON events a second and pixel (default 0.1)")
  add("--seed", type=int, default=0)
  add("--overwrite", action="store_true", help="replace an output that is there")
  args = parser.parse_args(argv)
  if not 0 <= args.seed < 2**32:
    parser.error(f"--seed {args.seed} is not in 0 .. 4294967295")
  if not args.input.exists():
    raise errors.UserError(f"{errors.shown(args.input)}: no such file or folder")
  if args.output.suffix.lower() not in (".h5", ".hdf5"):
    parser.error(f"--output {args.output}: events are written as .h5")
  if args.output.exists() and not args.overwrite:
    raise errors.UserError(f"{errors.shown(args.output)} is there; --overwrite replaces it")
  return args


def main(argv: Sequence[str]) -> int:
  """Simulates what the arguments say; returns the exit status."""
  args = parse(argv)
  frames = simulate.open_frames(args.input, args.fps)
  files.check_output_folder(args.output.absolute().parent)
  import tqdm

  from bicross_jax.data.simulate import event_files
  from bicross_jax.sim import event_camera

  sensor = event_camera.Sensor(
    threshold_on=args.threshold_on,
    threshold_off=args.threshold_off,
    mismatch=args.mismatch,
    refractory=args.refractory,
    leak=args.leak,
  )
  plan = event_files.Plan(sensor, args.interpolation, args.seed, args.size)
  pieces = event_files.write(frames, args.output, plan)
  count = sum(tqdm.tqdm(pieces, unit="frame"))
  height, width = args.size or frames.shape
  print(
    f"{errors.shown(args.output)}: {count} events of {height}x{width} in {frames.times[-1]:.3f} s"
  )
  return 0
