"""Makes the PNG images of KITTI raw JPEG ones.

  kitti_jpeg.py --data_dir ROOT --output DIR           beside the PNG: another tree
  kitti_jpeg.py --data_dir ROOT --delete_png           in their place

The colour images of both cameras, <date>/<drive>/image_02|image_03/data/NAME.png, become NAME.jpg of
quality 92 with colours of half the resolution (4:2:0). The published networks of monodepth2, Depth Hints and
EPCDepth were trained and tested on such images, made by ImageMagick (`-quality 92 -sampling-factor
2x2,1x1,1x1`); with PNG they are a little worse. They take a sixth of the disk space.

With --output the calibration files are copied too. Depth is not: to read it, link or copy `velodyne_points`
of each drive, or the official ground truth. With --delete_png an image is removed when its JPEG is whole.

What is finished is skipped when the command is given again; nothing is left half written (a run that was
killed outright may leave hidden .NAME.*.part files). --workers N converts so many images at once.
"""

import argparse
from collections.abc import Sequence
import functools
import pathlib
from typing import NamedTuple

from bicross_jax import cli, errors, files

CAMERAS = ("image_02", "image_03")


class Job(NamedTuple):
  """An image to convert: its PNG, and where its JPEG belongs."""

  png: pathlib.Path
  jpeg: pathlib.Path


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Arguments, checked as far as that goes without opening a file; see --help."""
  parser = cli.Parser(
    "kitti_jpeg.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--data_dir", type=pathlib.Path, required=True, help="folder of KITTI raw, with dates in it")
  where = parser.add_mutually_exclusive_group(required=True)
  where.add_argument("--output", type=pathlib.Path, help="folder of the JPEG tree")
  where.add_argument("--delete_png", action="store_true", help="JPEG takes the place of PNG")
  add("--quality", type=int, default=92, help="1 to 95 (default 92)")
  add("--workers", type=int, default=1, help="processes (default 1)")
  args = parser.parse_args(argv)
  if not 1 <= args.quality <= 95:
    parser.error(f"--quality {args.quality} is not in 1 .. 95")
  if args.workers < 1:
    parser.error(f"--workers {args.workers} is not positive")
  if not args.data_dir.is_dir():
    raise errors.UserError(f"{errors.shown(args.data_dir)}: no such folder")
  return args


def main(argv: Sequence[str]) -> int:
  """Converts what the arguments say; returns the exit status."""
  args = parse(argv)
  files.check_output_folder(args.output or args.data_dir)
  import tqdm

  from bicross_jax.data.simulate import parallel

  target = args.output or args.data_dir
  jobs = find(args.data_dir, target)
  if args.output:
    copy_calibration(args.data_dir, target)
  one = functools.partial(convert, quality=args.quality, delete=args.delete_png)
  made = sum(tqdm.tqdm(parallel.each(one, jobs, args.workers), total=len(jobs), unit="image"))
  print(
    f"{made} of {len(jobs)} images made, {len(jobs) - made} were there; in {errors.shown(target)}"
  )
  return 0


def find(root: pathlib.Path, target: pathlib.Path) -> list[Job]:
  """A job for every PNG of the two colour cameras of a tree, whether or not it is done.

  Args:
    root: of KITTI raw.
    target: of the JPEG tree.

  Raises:
    errors.UserError: there is no image, neither PNG nor JPEG.
  """
  from bicross_jax.data.formats import listing

  jobs, others = [], 0
  for date in listing.folders(root):
    for drive in listing.folders(root / date):
      for camera in CAMERAS:
        place = pathlib.Path(date, drive, camera, "data")
        for name in listing.names(root / place, listing.PICTURES):
          picture = root / place / name
          if picture.suffix.lower() == ".png":
            jobs.append(Job(picture, target / place / f"{picture.stem}.jpg"))
          others += picture.suffix.lower() != ".png"
  if not (jobs or others):
    raise errors.UserError(
      f"{errors.shown(root)}: no images in <date>/<drive>/{{{','.join(CAMERAS)}}}/data (KITTI raw)"
    )
  return jobs


def convert(job: Job, quality: int, delete: bool) -> bool:
  """Makes one JPEG, unless it is there whole; returns whether it was made.

  Args:
    job: which.
    quality: 1 .. 95.
    delete: remove the PNG afterwards.

  Raises:
    errors.UserError: the PNG is damaged, the JPEG cannot be written, or another picture is in its place.
  """
  from bicross_jax.data.formats import image

  there = job.jpeg.exists()
  if not there:
    image.write_jpeg(job.jpeg, image.read_rgb(job.png), quality)
  size, wanted = image.size(job.jpeg), image.size(job.png)
  if size != wanted:
    raise errors.BadFileError(
      job.jpeg,
      f"is there and has {size[0]}x{size[1]} pixels",
      f"{wanted[0]}x{wanted[1]}; remove it",
    )
  if delete:
    with errors.writing(job.png):
      job.png.unlink()
  return not there


def copy_calibration(root: pathlib.Path, target: pathlib.Path) -> None:
  """Copies the calibration files of every date."""
  from bicross_jax.data.formats import listing

  for date in listing.folders(root):
    for name in listing.names(root / date, (".txt",), "calib_"):
      with files.write_whole(target / date / name) as file:
        file.write(files.read(root / date / name))
