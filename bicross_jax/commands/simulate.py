"""Makes spike streams of ordinary video with a simulated spike camera.

  simulate_spikes.py VIDEO --output stream.dat                     one stream of the whole video
  simulate_spikes.py FOLDER --fps 10 --output spikes --windows     one window around each picture
  simulate_spikes.py --data_set vkitti --data_dir DIR              the streams that a set lacks
  simulate_spikes.py --kitti_raw ROOT --output DIR                 BiCross's layout of KITTI

The input is a video file, whose frames are taken at their time stamps, or a folder of PNG or JPEG
files in the order of the numbers in their names. --fps spaces frames evenly instead. A stream is a
.dat (the camera's raw format, bottom row first; read it with the same height and width) or a .npy
of shape (T, H, W), uint8 0/1. Windows are .npy files with T = --steps, the frame in the middle,
named like the frame: put them in `spike/npy` beside `rgb`.

With --data_set (vkitti, kitti, drivingstereo, drivingstereo_weather, nyu; in the published layout
or BiCross's) every frame of --domain (by default the set's first: clone, eigen, selected, sunny,
lists) gets its window where the set's builder looks for it; nothing is given as --output. Frames
around it are the images taken one frame period before and after, by number or time in their
names; where there is none (a run's end, the weather set's chosen frames) the scene rests on that
side. --workers N makes so many frames at once.

The camera fires up to 20000 times a second, video has 10 to 30 frames a second. What happened
between the frames is not known; two guesses are on offer. `--interpolation linear` blends the
two frames in linear light: nothing moves, edges only fade from one place to the other. A
128-step window lasts 6.4 ms of the 100 ms between frames at 10 Hz, so at its ends 3 % of the
neighbour shines through, where in truth the picture would have moved by 3 % of the way to it.
Windows made so are good for learning from what stands still, not for learning motion; a long
stream has ghosts between frames. `--interpolation flow` moves the picture along optical flow
(OpenCV's DIS): motion is right where the flow is, wrong where things are covered or uncovered,
and it is slower. What that costs in truth at 10 Hz: a window's ends lie 3.2 % of the way to the
neighbours, so a flow that is wrong by 10 pixels misplaces an edge by a third of a pixel there, and
not at all in the middle; light that changes between frames (flicker, shadows, exposure) is
blended; speed is constant between two frames. It is the default with --data_set.

What is finished is skipped when the command is given again; nothing is left half written (a run
that was killed outright may leave hidden .NAME.*.part files; with --data_set the next run
removes them after an hour).
"""

import argparse
from collections.abc import Sequence
import pathlib
import re

from bicross_jax import cli, errors, files


def positive(text: str) -> float:
  """A number above 0, of an argument."""
  number = float(text)
  if not 0 < number < float("inf"):
    raise argparse.ArgumentTypeError(f"{text} is not positive")
  return number


def not_negative(text: str) -> float:
  """A number that is not below 0, of an argument."""
  return 0.0 if float(text) == 0 else positive(text)


def size(text: str) -> tuple[int, int]:
  """(height, width) of an argument HEIGHTxWIDTH."""
  match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
  if not match:
    raise argparse.ArgumentTypeError(f"{text} is no size such as 250x400 (height x width)")
  return int(match[1]), int(match[2])


def _check_unused(parser, args, what: str, *names: str) -> None:
  for name in names:
    if getattr(args, name):
      parser.error(f"--{name} does not go with {what}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Arguments, checked as far as that goes without opening a file; see --help."""
  parser = cli.Parser(
    "simulate_spikes.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("input", nargs="?", type=pathlib.Path, help="video file or folder of pictures")
  add("--kitti_raw", type=pathlib.Path, help="folder of KITTI raw: <date>/<drive>/image_02/data")
  add("--data_set", help="real set whose missing streams are made")
  add("--data_dir", type=pathlib.Path, help="its folder")
  add("--domain", nargs="+", metavar="NAME", help="its domains (default: the first)")
  add("--listed", nargs="+", metavar="DRIVE[/FRAME]", help="KITTI: these instead of a domain")
  add("--allow_missing", action="store_true", help="leave out frames of a set without image")
  add(
    "--workers", type=int, default=1, help="processes, for --data_set and --kitti_raw (default 1)"
  )
  add("--output", type=pathlib.Path, help=".dat or .npy file, or a folder")
  add("--windows", action="store_true", help="a window for each frame instead of one stream")
  add("--steps", type=int, default=128, help="steps of a window (default 128)")
  add("--fps", type=positive, help="frames a second (default: the video's times, the set's rate)")
  add("--rate", type=positive, default=20000.0, help="steps a second (default 20000)")
  add("--interpolation", choices=("linear", "flow"), help="default linear; of a set flow")
  add("--size", type=size, help="resize frames to HEIGHTxWIDTH first")
  add("--gain", type=positive, default=1.0, help="charge of white in one step (default 1)")
  add("--threshold", type=positive, default=2.0, help="charge of a spike (default 2)")
  add("--no_random_phase", action="store_true", help="start all pixels empty")
  add("--shot_noise", type=not_negative, default=0.0, help="charge of one photoelectron")
  add("--dark_current", type=not_negative, default=0.0, help="charge of one step without light")
  add("--fixed_pattern", type=not_negative, default=0.0, help="relative spread of pixel gains")
  add("--seed", type=int, default=0)
  add("--overwrite", action="store_true", help="replace outputs of another size")
  args = parser.parse_args(argv)
  if [args.input, args.kitti_raw, args.data_set].count(None) != 2:
    parser.error("give one of an input, --kitti_raw and --data_set")
  args.interpolation = args.interpolation or ("flow" if args.data_set else "linear")
  if args.steps < 8 or args.steps % 8:
    parser.error(f"--steps {args.steps} is not a multiple of 8")
  if args.gain + args.dark_current > args.threshold:
    parser.error("--gain and --dark_current together must not exceed --threshold")
  if not 0 <= args.seed < 2**32:
    parser.error(f"--seed {args.seed} is not in 0 .. 4294967295")
  if args.workers < 1:
    parser.error(f"--workers {args.workers} is not positive")
  source = args.data_dir if args.data_set else args.kitti_raw or args.input
  if source is None:
    parser.error("--data_set needs --data_dir")
  if not (args.data_set or args.output):
    parser.error("--output is needed")
  if not source.exists():
    raise errors.UserError(f"{errors.shown(source)}: no such file or folder")
  if args.data_set:
    _check_unused(parser, args, "--data_set", "output", "size", "windows")
    if args.domain and args.listed:
      parser.error("give either --domain or --listed")
    return args
  _check_unused(
    parser, args, "an input or --kitti_raw", "data_dir", "domain", "listed", "allow_missing"
  )
  folder = _is_folder(args)
  if not folder and args.output.suffix not in (".dat", ".npy"):
    parser.error(f"--output {args.output}: a stream is a .dat or .npy file (or give --windows)")
  if folder and (args.output.suffix in (".dat", ".npy") or args.output.is_file()):
    parser.error(f"--output {args.output} must be a folder here")
  if args.kitti_raw is not None:
    _check_unused(parser, args, "--kitti_raw", "size", "windows")
  elif args.workers > 1:
    parser.error("--workers is for --data_set and --kitti_raw")
  return args


def _is_folder(args) -> bool:
  """Whether --output is a folder."""
  return args.windows or args.kitti_raw is not None


def main(argv: Sequence[str]) -> int:
  """Simulates what the arguments say; returns the exit status."""
  args = parse(argv)
  frames = open_frames(args.input, args.fps) if args.input is not None else None
  if args.output:
    files.check_output_folder(args.output if _is_folder(args) else args.output.parent)
  import tqdm

  from bicross_jax.data.simulate import kitti_raw, missing, spike_files
  from bicross_jax.sim import spike_camera, streams

  sensor = spike_camera.Sensor(
    gain=args.gain,
    threshold=args.threshold,
    random_phase=not args.no_random_phase,
    shot_noise=args.shot_noise,
    dark_current=args.dark_current,
    fixed_pattern=args.fixed_pattern,
  )
  fps = args.fps or (missing.FPS.get(args.data_set, kitti_raw.FPS) if frames is None else None)
  timing = streams.Timing(fps, args.rate, args.interpolation)
  plan = spike_files.Plan(timing, args.steps, sensor, args.seed, args.size, args.overwrite)
  if frames is None or args.windows:
    place = args.output or args.data_dir
    if args.data_set:
      jobs = _jobs(args, timing)
      work, total = missing.write_all(jobs, plan, args.workers), len(jobs)
    elif args.kitti_raw:
      found = kitti_raw.find_frames(args.kitti_raw)
      work, total = kitti_raw.write_all(found, place, plan, args.workers), len(found)
    else:
      work, total = spike_files.write_windows(frames, place, plan), len(frames.names)
    made = sum(tqdm.tqdm(work, total=total, unit="frame"))
    print(f"{made} of {total} frames made, {total - made} were there; in {errors.shown(place)}")
    return 0
  total, done = streams.total_steps(frames.times, timing), 0
  with tqdm.tqdm(total=total, unit="step") as bar:
    for steps in spike_files.write_stream(frames, args.output, plan):
      bar.update(steps)
      done += steps
  height, width = args.size or frames.shape
  print(
    f"{errors.shown(args.output)}: {total} steps of {height}x{width}"
    + ("" if done else " (was there)")
  )
  return 0


def open_frames(path: pathlib.Path, fps: float | None):
  """The frames of a video or a folder (`formats.video.Frames`), with their times.

  Args:
    path: of the input.
    fps: frames a second; None: as the video says.

  Raises:
    errors.UserError: nothing says when the frames were taken.
  """
  import numpy as np

  from bicross_jax.data.formats import video

  frames = video.open_frames(path)
  if fps:
    frames = frames._replace(times=np.arange(len(frames.names)) / fps)
  if frames.times is None:
    raise errors.UserError(
      f"{errors.shown(path)} does not say when its frames were taken; give --fps"
    )
  return frames


def _jobs(args, timing):
  """What is to be made for --data_set."""
  from bicross_jax.data import sets
  from bicross_jax.data.simulate import missing
  from bicross_jax.sim import streams

  domains = ["listed"] if args.listed else args.domain
  if domains is None and args.data_set in sets.SETS:
    domains = sets.SETS[args.data_set].domains[:1]
  return missing.find(
    args.data_set,
    args.data_dir,
    domains or [""],
    timing.fps,
    streams.reach(args.steps, timing),
    args.listed or (),
    args.allow_missing,
  )
