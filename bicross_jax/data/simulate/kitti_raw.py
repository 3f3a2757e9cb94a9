"""KITTI raw drives made into the layout that the authors of BiCross train on.

<output>/input/<date>/<drive>/rgb/NAME.png         the colour image as it is
<output>/input/<date>/<drive>/spike/npy/NAME.npy   (T, H, W) spikes around the frame
<output>/input/<date>/<drive>/depth/NAME.png       metres * 256, for frames with a velodyne scan
"""

from collections.abc import Iterator
import functools
import os
import pathlib
from typing import NamedTuple

from bicross_jax import errors, files
from bicross_jax.data.formats import depth, image, kitti, listing
from bicross_jax.data.simulate import missing, parallel, spike_files
from bicross_jax.sim import streams

FPS = 10.0  # of the cameras and the laser
_UNRECTIFIED = "_extract"  # what KITTI calls "unsynced+unrectified data"


class Frame(NamedTuple):
  """A frame of a raw drive.

  Attributes:
    date, drive: folder names.
    index: number of the frame in the drive.
    rgb: the left colour image (camera 2).
    scan: its velodyne scan, or None.
    near: index -> image, all frames of the drive that are there.
  """

  date: str
  drive: str
  index: int
  rgb: pathlib.Path
  scan: pathlib.Path | None
  near: dict[int, pathlib.Path]


def find_frames(root) -> list[Frame]:
  """All frames under <root>/<date>/<drive>/image_02/data, in order.

  Drives named `_extract` are left out with a word: their images are not rectified, as calibration
  and depth are. Images may be missing, and scans; of several kinds of one image the PNG is taken.

  Raises:
    errors.UserError: there are none.
  """
  root = pathlib.Path(root)
  found, unrectified = [], []
  for date in listing.folders(root):
    for drive in listing.folders(root / date):
      images = listing.pictures(root / date / drive / "image_02" / "data")
      if images and drive.endswith(_UNRECTIFIED):
        unrectified.append(f"{date}/{drive}")
      elif images:
        found += _drive(root / date / drive, images)
  if unrectified:
    told = f"{len(unrectified)} drives whose images are not rectified: {', '.join(unrectified)}"
    if not found:
      raise errors.UserError(f"{root} holds only {told} (expected KITTI raw, synced and rectified)")
    print(f"left out: {told}", flush=True)
  if not found:
    raise errors.UserError(
      f"{root}: no images in <date>/<drive>/image_02/data (KITTI raw, synced and rectified)"
    )
  return found


def _drive(drive: pathlib.Path, images: list[str]) -> list[Frame]:
  folder, scans = drive / "image_02" / "data", drive / "velodyne_points" / "data"
  scan_of = {name.partition(".")[0]: scans / name for name in listing.names(scans, (".bin",))}
  by_index = {
    int(stem): folder / f"{stem}{suffix}"
    for stem, suffix in map(os.path.splitext, images)
    if stem.isdecimal()
  }
  return [
    Frame(drive.parent.name, drive.name, index, rgb, scan_of.get(rgb.stem), by_index)
    for index, rgb in by_index.items()
  ]


def write_frame(frame: Frame, output, plan: spike_files.Plan) -> bool:
  """Writes image, spikes and (where there is a scan) depth of a frame; skips what is there.

  Neighbours are the frames numbered one less and one more; where one is missing the scene rests
  on that side.

  Args:
    frame: from `find_frames`.
    output: the folder that will hold `input`.
    plan: what is simulated; frames keep their size.

  Returns:
    whether anything was made.
  """
  folder = pathlib.Path(output) / "input" / frame.date / frame.drive
  name = frame.rgb.stem
  rgb_file, depth_file = folder / "rgb" / f"{name}.png", folder / "depth" / f"{name}.png"
  spike_file = folder / "spike" / "npy" / f"{name}.npy"
  shape = image.size(frame.rgb)
  made = False
  if not _is_there(rgb_file, shape, plan.overwrite):
    _copy_picture(frame.rgb, rgb_file)
    made = True
  if frame.scan is not None and not _is_there(depth_file, shape, plan.overwrite):
    _write_depth(frame, depth_file, shape)
    made = True
  if not spike_files.is_finished(spike_file, (plan.steps, *shape), plan.overwrite):
    around = missing.around(frame.near, frame.index, streams.reach(plan.steps, plan.timing))
    lights = spike_files.lights_of(around, shape)
    spike_files.write_window(spike_file, lights, plan, f"{frame.drive}/{name}")
    made = True
  return made


def write_all(
  frames: list[Frame], output, plan: spike_files.Plan, workers: int = 1
) -> Iterator[bool]:
  """`write_frame` for each of the frames, by several processes; yields what it returns."""
  return parallel.each(functools.partial(write_frame, output=output, plan=plan), frames, workers)


def _write_depth(frame: Frame, path: pathlib.Path, shape) -> None:
  calibration = kitti.raw_calibration(frame.rgb.parents[3])
  metres = kitti.eigen_depth(kitti.read_velodyne(frame.scan), calibration.projection, shape)
  if metres.max() > 65535 / depth.KITTI:
    raise errors.BadFileError(frame.scan, f"has a point {metres.max():.0f} m away", "at most 255")
  depth.write_png16(path, metres, depth.KITTI)


def _copy_picture(source: pathlib.Path, target: pathlib.Path) -> None:
  picture = image.read_rgb(source)
  if source.suffix.lower() != ".png":
    image.write_png(target, picture)
    return
  with files.write_whole(target) as file:
    file.write(files.read(source))


def _is_there(path: pathlib.Path, shape, overwrite: bool) -> bool:
  if not path.exists():
    return False
  try:
    same = image.size(path) == shape
  except errors.BadFileError:
    same = False
  if not same and not overwrite:
    raise errors.UserError(
      f"{path} is there and is no picture of {shape[0]}x{shape[1]}; "
      "remove it or allow overwriting (--overwrite)"
    )
  return same
