"""Makes spike streams of ordinary video with a simulated spike camera.

  simulate_spikes.py VIDEO --output stream.dat                     one stream of the whole video
  simulate_spikes.py FOLDER --fps 10 --output spikes --windows     one window around each picture
  simulate_spikes.py --kitti_raw ROOT --output DIR                 BiCross's layout of KITTI

The input is a video file or a folder of PNG or JPEG files in the order of their names. A stream
is a .dat (the camera's raw format, bottom row first; read it with the same height and width) or
a .npy of shape (T, H, W), uint8 0/1. Windows are .npy files with T = --steps, the frame in the
middle, named like the frame: put them in `spike/npy` beside `rgb`.

The camera fires up to 20000 times a second, video has 10 to 30 frames a second. What happened
between the frames is not known; two guesses are on offer. `--interpolation linear` blends the
two frames in linear light: nothing moves, edges only fade from one place to the other. A
128-step window lasts 6.4 ms of the 100 ms between frames at 10 Hz, so at its ends 3 % of the
neighbour shines through, where in truth the picture would have moved by 3 % of the way to it.
Windows made so are good for learning from what stands still, not for learning motion; a long
stream has ghosts between frames. `--interpolation flow` moves the picture along optical flow
(OpenCV's DIS): motion is right where the flow is, wrong where things are covered or uncovered,
and it is slower.

What is finished is skipped when the command is given again; nothing is left half written.
"""

import argparse
from collections.abc import Sequence
import pathlib
import re
import sys

from bicross_jax import cli, errors


def _positive(text: str) -> float:
  number = float(text)
  if not 0 < number < float("inf"):
    raise argparse.ArgumentTypeError(f"{text} is not positive")
  return number


def _not_negative(text: str) -> float:
  return 0.0 if float(text) == 0 else _positive(text)


def _size(text: str) -> tuple[int, int]:
  match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
  if not match:
    raise argparse.ArgumentTypeError(f"{text} is no size such as 250x400 (height x width)")
  return int(match[1]), int(match[2])


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Arguments, checked as far as that goes without opening a file; see --help."""
  parser = cli.Parser("simulate_spikes.py", description=__doc__,
                      formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add("input", nargs="?", type=pathlib.Path, help="video file or folder of pictures")
  add("--kitti_raw", type=pathlib.Path, help="folder of KITTI raw: <date>/<drive>/image_02/data")
  add("--output", type=pathlib.Path, required=True, help=".dat or .npy file, or a folder")
  add("--windows", action="store_true", help="a window for each frame instead of one stream")
  add("--steps", type=int, default=128, help="steps of a window (default 128)")
  add("--fps", type=_positive, help="frames a second (default: the video's own; KITTI: 10)")
  add("--rate", type=_positive, default=20000.0, help="steps a second (default 20000)")
  add("--interpolation", choices=("linear", "flow"), default="linear")
  add("--size", type=_size, help="resize frames to HEIGHTxWIDTH first")
  add("--gain", type=_positive, default=1.0, help="charge of white in one step (default 1)")
  add("--threshold", type=_positive, default=2.0, help="charge of a spike (default 2)")
  add("--no_random_phase", action="store_true", help="start all pixels empty")
  add("--shot_noise", type=_not_negative, default=0.0, help="charge of one photoelectron")
  add("--dark_current", type=_not_negative, default=0.0, help="charge of one step without light")
  add("--fixed_pattern", type=_not_negative, default=0.0, help="relative spread of pixel gains")
  add("--seed", type=int, default=0)
  add("--overwrite", action="store_true", help="replace outputs of another size")
  args = parser.parse_args(argv)
  if (args.input is None) == (args.kitti_raw is None):
    parser.error("give either an input or --kitti_raw")
  if args.steps < 8 or args.steps % 8:
    parser.error(f"--steps {args.steps} is not a multiple of 8")
  if args.gain + args.dark_current > args.threshold:
    parser.error("--gain and --dark_current together must not exceed --threshold")
  if not 0 <= args.seed < 2**32:
    parser.error(f"--seed {args.seed} is not in 0 .. 4294967295")
  source = args.kitti_raw or args.input
  if not source.exists():
    raise errors.UserError(f"{source}: no such file or folder")
  folder = args.windows or args.kitti_raw is not None
  if not folder and args.output.suffix not in (".dat", ".npy"):
    parser.error(f"--output {args.output}: a stream is a .dat or .npy file (or give --windows)")
  if folder and (args.output.suffix in (".dat", ".npy") or args.output.is_file()):
    parser.error(f"--output {args.output} must be a folder here")
  if args.kitti_raw is not None and (args.size or args.windows):
    parser.error("--size and --windows do not go with --kitti_raw")
  return args


def main(argv: Sequence[str]) -> int:
  """Simulates what the arguments say; returns the exit status."""
  args = parse(argv)
  from bicross_jax.data.formats import video  # noqa: PLC0415 (after the arguments are checked)

  frames = None
  if args.input is not None:
    frames = video.open_frames(args.input)
    args.fps = args.fps or frames.fps
    if args.fps is None:
      raise errors.UserError(f"{args.input} does not say its frame rate; give --fps")

  import tqdm  # noqa: PLC0415

  from bicross_jax.data import kitti_layout, spike_simulation  # noqa: PLC0415
  from bicross_jax.sim import spike_camera, streams  # noqa: PLC0415

  sensor = spike_camera.Sensor(
      gain=args.gain, threshold=args.threshold, random_phase=not args.no_random_phase,
      shot_noise=args.shot_noise, dark_current=args.dark_current, fixed_pattern=args.fixed_pattern)
  timing = streams.Timing(args.fps or kitti_layout.FPS, args.rate, args.interpolation)
  plan = spike_simulation.Plan(timing, args.steps, sensor, args.seed, args.size, args.overwrite)
  if args.kitti_raw is not None or args.windows:
    if frames is None:
      found = kitti_layout.find_frames(args.kitti_raw)
      work, total = kitti_layout.write_all(found, args.output, plan), len(found)
    else:
      work, total = spike_simulation.write_windows(frames, args.output, plan), len(frames.names)
    made = sum(tqdm.tqdm(work, total=total, unit="frame"))
    print(f"{made} of {total} frames made, {total - made} were there; in {args.output}")
    return 0
  total, done = streams.total_steps(len(frames.names), timing), 0
  with tqdm.tqdm(total=total, unit="step") as bar:
    for steps in spike_simulation.write_stream(frames, args.output, plan):
      bar.update(steps)
      done += steps
  height, width = args.size or frames.shape
  print(f"{args.output}: {total} steps of {height}x{width}" + ("" if done else " (was there)"))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
