"""Makes the depth hints of stereo pairs, by semi-global matching (Watson et al. 2019).

  depth_hints.py --data kitti_stereo --data_dir ROOT --workers 8
  depth_hints.py --data custom --data_dir RIG --dry_run        how many files, how large; makes nothing

Of every view that the chosen parts of a set hold, in its domain (by default the set's first: eigen, both), the
hint is written where the set's reader looks for it: below ROOT/depth_hints, NAME.npy, or with --compress
NAME.npz: float[H, W], depth in metres of the set's own camera, 0 where there is none. A network learns from
hints with config.loss.hints=True and depth_hint among config.data.sensors, from training views alone: others
need none.

Pictures are resized to --height and --width first (Lanczos; 320x1024, as published), so hints have that size.
Eight matchers of OpenCV (StereoSGBM), of two windows and four ranges, propose disparities, and of each pixel
the one stays by which the partner's picture is most like the view. The ranges are shares of the width. The
published script has 12 matchers, of which four find what four others find: --matchers 12 runs them as well, and
changes nothing but the time. A view takes about a second of one core at 320x1024.

Hints that are there whole are left as they are: the same command goes on where it was interrupted. Nothing is
left half written (a run that was killed outright may leave hidden .NAME.*.part files).
"""

import argparse
from collections.abc import Sequence
import functools
import pathlib
from typing import NamedTuple

from bicross_jax import cli, errors, files

PARTS = ("train", "validation", "test")
_PACKED = {"float32": 0.23, "float16": 0.4}  # of a compressed hint's bytes on a pair of KITTI
_FLOAT16 = 65504.0  # its largest number
_WIDEST = 16384  # pixels


class Job(NamedTuple):
  """A hint to be made.

  Attributes:
    picture, partner: files of the view and of the other camera's picture.
    calibration: file of the rig.
    side: which camera took the view, "left" or "right".
    output: the hint that is there, or where a .npy would be.
  """

  picture: str
  partner: str
  calibration: str
  side: str
  output: str


class Plan(NamedTuple):
  """How hints are made.

  Attributes:
    size: height and width in which pictures are matched.
    matchers: how many, 8 or 12.
    dtype: "float32" or "float16", of the files.
    compress: write .npz.
  """

  size: tuple[int, int] = (320, 1024)
  matchers: int = 8
  dtype: str = "float32"
  compress: bool = False

  def bytes(self) -> int:
    """Of one hint, about."""
    height, width = self.size
    whole = height * width * {"float32": 4, "float16": 2}[self.dtype]
    return round(whole * (_PACKED[self.dtype] if self.compress else 1))


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Arguments, checked as far as that goes without opening a file; see --help."""
  parser = cli.Parser(
    "depth_hints.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--data", required=True, help="set of stereo pairs: kitti_stereo, custom")
  add("--data_dir", required=True, type=pathlib.Path, help="the folder that holds its tree")
  add("--domain", help="of the set (default: its first)")
  add("--listed", nargs="+", metavar="DRIVE[/FRAME]", help="KITTI: these instead of a domain")
  add("--parts", default="train", help="of the set, such as train,validation (default train)")
  add("--allow_missing", action="store_true", help="leave out views that lack files")
  add("--height", type=int, default=320, help="in which pictures are matched (default 320)")
  add("--width", type=int, default=1024, help="in which pictures are matched (default 1024)")
  add("--matchers", type=int, choices=(8, 12), default=8, help="how many (default 8)")
  add("--dtype", choices=("float32", "float16"), default="float32", help="of the files")
  add("--compress", action="store_true", help="write .npz: a quarter of the bytes")
  add("--workers", type=int, default=1, help="processes (default 1)")
  add("--overwrite", action="store_true", help="make hints anew that are there")
  add("--dry_run", action="store_true", help="say how many hints there would be, and how large")
  args = parser.parse_args(argv)
  args.parts = tuple(args.parts.split(","))
  for part in args.parts:
    if part not in PARTS:
      parser.error(f"--parts {part}: choose from {', '.join(PARTS)}")
  for name, least in (("height", 8), ("width", 32)):
    if not least <= getattr(args, name) <= _WIDEST:
      parser.error(f"--{name} {getattr(args, name)} is not in {least} .. {_WIDEST}")
  if args.workers < 1:
    parser.error(f"--workers {args.workers} is not positive")
  if args.domain and args.listed:
    parser.error("give either --domain or --listed")
  if not args.data_dir.is_dir():
    raise errors.UserError(f"{errors.shown(args.data_dir)}: no such folder")
  return args


def main(argv: Sequence[str]) -> int:
  """Makes the hints that the arguments ask for; returns the exit status."""
  args = parse(argv)
  plan = Plan((args.height, args.width), args.matchers, args.dtype, args.compress)
  jobs = find(
    args.data, args.data_dir, args.domain, args.parts, args.listed or (), args.allow_missing
  )
  todo = jobs if args.overwrite else [job for job in jobs if not finished(job.output, plan.size)]
  there = len(jobs) - len(todo)
  size = plan.bytes() * len(todo)
  about = "about " if plan.compress else ""
  print(
    f"{len(todo)} hints of {args.height}x{args.width} to make, {about}{size / 1e9:.3g} GB; {there} "
    "are there",
    flush=True,
  )
  if args.dry_run or not todo:
    return 0
  files.check_output_folder(args.data_dir)
  files.require_space(args.data_dir, size)
  import tqdm

  from bicross_jax.data.simulate import parallel

  one = functools.partial(make, known=args.data, plan=plan)
  work = parallel.each(one, todo, args.workers)
  covered = sum(tqdm.tqdm(work, total=len(todo), unit="hint")) / len(todo)
  print(
    f"{len(todo)} hints made, {there} were there; {covered:.1%} of the pixels have one; in "
    f"{errors.shown(args.data_dir)}"
  )
  return 0


def find(
  name: str,
  data_dir: pathlib.Path,
  domain: str | None,
  parts: Sequence[str],
  listed: Sequence[str] = (),
  allow_missing: bool = False,
) -> list[Job]:
  """A job for every view of some parts of a set, each once, whether or not it is done.

  Args:
    name: of the set.
    data_dir: the folder that holds one of its trees.
    domain: of the set; None: its first.
    parts: of the set.
    listed: drives and frames of the domain "listed", instead.
    allow_missing: leave out views that lack a picture or the calibration, and say how many.

  Raises:
    errors.UserError: no such set, domain or tree, a set without hints, or files that are missing.
  """
  from bicross_jax.data import sets
  from bicross_jax.data.layouts.frames import FrameSet

  known = sets.get(name)
  if not (isinstance(known, FrameSet) and "depth_hint" in known.readers):
    able = [s.name for s in sets.SETS.values() if "depth_hint" in getattr(s, "readers", ())]
    raise errors.UserError(
      f"{name} is no set that hints are written for: choose from {', '.join(able)}"
    )
  domain = "listed" if listed else domain or known.domains[0]
  jobs = {}
  for part in parts:
    recordings = known.recordings(
      data_dir,
      domain,
      part,
      fields=("rgb", "rgb_right", "baseline", "intrinsics"),
      entries={part: tuple(listed)},
      allow_missing=allow_missing,
      remedy="--allow_missing leaves such frames out",
    )
    for f in (f for frames in recordings for f in frames):
      hint = f.files["depth_hint"]
      jobs[hint] = Job(f.files["rgb"], f.files["rgb_right"], f.files["baseline"], f.side, hint)
  return list(jobs.values())


def finished(path: str, size: tuple[int, int]) -> bool:
  """Whether a hint of a size is in the file already.

  Raises:
    errors.UserError: something else is there.
  """
  if not pathlib.Path(path).exists():
    return False
  from bicross_jax.data.formats import npy

  remedy = "remove it, or give --overwrite"
  try:
    header = (npy.npz_header if path.endswith(".npz") else npy.read_header)(path)
  except errors.BadFileError as error:
    raise errors.UserError(f"{error}; {remedy}") from error
  if header.shape != tuple(size) or header.dtype.kind != "f":
    raise errors.BadFileError(
      path,
      f"is there and holds {header.dtype}{list(header.shape)}",
      f"a hint [{size[0]}, {size[1]}]; {remedy}",
    )
  return True


def make(job: Job, known: str, plan: Plan) -> float:
  """Makes one hint; returns the share of its pixels that have one.

  Args:
    job: which.
    known: the name of its set.
    plan: how.

  Raises:
    errors.UserError: a picture or the calibration is damaged, or they are of different sizes.
  """
  import numpy as np
  from PIL import Image

  from bicross_jax.data import depth_hints, sets
  from bicross_jax.data.formats import image, npy
  from bicross_jax.data.layouts.readers import Asked

  pictures = [image.read_rgb(path) for path in (job.picture, job.partner)]
  size, other = (picture.shape[:2] for picture in pictures)
  if other != size:
    raise errors.BadFileError(
      job.partner,
      f"its size is {other[0]}x{other[1]}",
      f"{size[0]}x{size[1]} like {errors.shown(job.picture)}",
    )
  readers = sets.SETS[known].readers
  baseline, intrinsics = (
    readers[name].read(Asked(job.calibration, size, side=job.side))
    for name in ("baseline", "intrinsics")
  )
  height, width = plan.size
  fitted = [
    np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
    for picture in pictures
  ]
  focal = float(intrinsics[0, 0]) * width / size[1]
  hint = depth_hints.hints(*fitted, float(baseline), focal, plan.matchers)
  kept = (np.minimum(hint, _FLOAT16) if plan.dtype == "float16" else hint).astype(plan.dtype)
  output = pathlib.Path(job.output)
  target = output.with_suffix(".npz" if plan.compress else ".npy")
  if plan.compress:
    with files.write_whole(target) as file:
      np.savez_compressed(file, depth=kept)
  else:
    npy.write_npy(target, kept)
  if target != output and output.exists():
    with errors.writing(output):
      output.unlink()  # of the other kind, which would be read
  return float((hint > 0).mean())
