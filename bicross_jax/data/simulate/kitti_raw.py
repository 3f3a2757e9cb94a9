"""KITTI raw drives made into the layout that BiCross trains on (bicross.md section 1).

<output>/input/<date>/<drive>/rgb/NAME.png         the colour image as it is
<output>/input/<date>/<drive>/spike/npy/NAME.npy   (T, H, W) spikes around the frame
<output>/input/<date>/<drive>/depth/NAME.png       metres * 256, for frames with a velodyne scan
"""

from collections.abc import Iterator
import functools
import pathlib
from typing import NamedTuple

from bicross_jax import errors, files
from bicross_jax.data.formats import depth, image, kitti, video
from bicross_jax.data.simulate import missing, spike_files
from bicross_jax.data.simulate import workers as processes
from bicross_jax.sim import streams

FPS = 10.0  # of the cameras and the laser


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

  Raises:
    errors.UserError: there are none.
  """
  root = pathlib.Path(root)
  frames = []
  for images in sorted(root.glob("*/*/image_02/data")):
    drive = images.parent.parent
    near = {
      int(p.stem): p
      for p in sorted(images.iterdir())
      if p.suffix in video.PICTURES and p.stem.isdecimal()
    }
    for index, rgb in near.items():
      scan = drive / "velodyne_points" / "data" / f"{rgb.stem}.bin"
      frames.append(
        Frame(drive.parent.name, drive.name, index, rgb, scan if scan.is_file() else None, near)
      )
  if not frames:
    raise errors.UserError(
      f"{root}: no images in <date>/<drive>/image_02/data (KITTI raw, synced and rectified)"
    )
  return frames


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
  return processes.each(functools.partial(write_frame, output=output, plan=plan), frames, workers)


def _write_depth(frame: Frame, path: pathlib.Path, shape) -> None:
  calibration = kitti.raw_calibration(frame.rgb.parents[3])
  metres = kitti.eigen_depth(kitti.read_velodyne(frame.scan), calibration.projection, shape)
  if metres.max() > 65535 / depth.KITTI:
    raise errors.BadFileError(frame.scan, f"has a point {metres.max():.0f} m away", "at most 255")
  depth.write_png16(path, metres, depth.KITTI)


def _copy_picture(source: pathlib.Path, target: pathlib.Path) -> None:
  picture = image.read_rgb(source)
  if source.suffix != ".png":
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
