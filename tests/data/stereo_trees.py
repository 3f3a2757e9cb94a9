"""A small tree of KITTI raw with stereo pairs, a laser scan and depth hints of each."""

import numpy as np
from PIL import Image

DATE = "2011_09_26"
DRIVE = f"{DATE}_drive_0001_sync"
SIZE = (24, 32)
CAMERAS = """calib_time: 09-Jan-2012 13:57:47
R_rect_00: 1 0 0 0 1 0 0 0 1
S_rect_02: 32 24
P_rect_02: 20 0 16 1 0 20 12 0 0 0 1 0
S_rect_03: 32 24
P_rect_03: 20 0 16 -9 0 20 12 0 0 0 1 0
"""
LASER = "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n"  # x forward -> z
NUMBERS = (0, 1)  # of the frames


def picture(path, number, size=SIZE):
  """Writes a picture of random pixels; returns them as they are decoded."""
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)).save(path)
  with Image.open(path) as decoded:
    return np.asarray(decoded)


def write(root):
  """Writes a drive of two pairs, the right ones JPEG; returns {(camera, number): picture}."""
  date = root / DATE
  pictures = {
    (camera, number): picture(
      date / DRIVE / f"image_{camera:02d}" / "data" / f"{number:010d}.{kind}", 10 * camera + number
    )
    for camera, kind in ((2, "png"), (3, "jpg"))
    for number in NUMBERS
  }
  (date / "calib_cam_to_cam.txt").write_text(CAMERAS)
  (date / "calib_velo_to_cam.txt").write_text(LASER)
  return pictures


def write_depth(root):
  """Writes a scan of two points, 5 m and 10 m ahead, and hints of another size, for every frame.

  In the left image the points lie at row 12, column 20 and at row 5, column 8.
  """
  at = lambda z, column, row: [z, -(column - 15) * z / 20 - 0.05, -(row - 11) * z / 20, 0]
  for number in NUMBERS:
    scan = root / DATE / DRIVE / "velodyne_points" / "data" / f"{number:010d}.bin"
    scan.parent.mkdir(parents=True, exist_ok=True)
    scan.write_bytes(np.float32([at(5, 20, 12), at(10, 8, 5)]).tobytes())
    for camera in (2, 3):
      name = root / "depth_hints" / DATE / DRIVE / f"image_{camera:02d}" / f"{number:010d}"
      name.parent.mkdir(parents=True, exist_ok=True)
      hint = np.arange(6 * 8).reshape(6, 8) + 100 * camera
      if number:
        np.save(name, hint.astype(np.float32))
      else:
        np.savez_compressed(name, hint.astype(np.float16))
