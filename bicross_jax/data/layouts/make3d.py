"""Make3D's 134 test frames (Saxena et al., PAMI 2009): only a test part.

    Test134/img-NAME.jpg                       pictures of 1704 columns and 2272 rows; or in make3d, or .png
    Gridlaserdata/depth_sph_corr-NAME.mat      `Position3DGrid` [55, 305, 4], of which [..., 3] is metres

Set `make3d` is what published figures are of: the central 852 rows, twice as wide as high, with the central 21
rows of the laser (17 to 37); pictures that are cropped already stay as they are. Set `make3d_whole` has the whole pictures
and all 55 rows. A pixel's depth is that of the laser's cell that it lies in, so that depth has the picture's size; the protocols
`make3d_c1` and `make3d_c1_whole` bring it back to 21x305 and 55x305, as it was measured.
"""

from collections.abc import Mapping, Sequence
import functools
import importlib.resources
import pathlib

import numpy as np

from bicross_jax import errors
from bicross_jax.data.formats import image, listing, mat
from bicross_jax.data.layouts import frames, readers
from bicross_jax.data.layouts.frames import Frame, Recording
from bicross_jax.data.layouts.readers import Asked

FOLDERS = ("Test134", "make3d")  # of the pictures: as published, and as Akada et al. have them
KEY, SHAPE = "Position3DGrid", (55, 305, 4)
CENTRAL = 21  # of the laser's rows


@functools.cache
def names() -> tuple[str, ...]:
  """What the files of the frames are called, without `img-` and suffix."""
  listed = importlib.resources.files("bicross_jax.data") / "splits" / "make3d_test.txt"
  lines = listed.read_text().splitlines()
  return tuple(line for line in lines if not line.startswith("#"))


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """One run, of frames that do not follow each other."""
  del domain, parts  # the list says it all
  folder = next((root / name for name in FOLDERS if (root / name).is_dir()), None)
  if folder is None:
    return None
  return {"test": lambda: [_recording(root, folder)]}


def _recording(root: pathlib.Path, folder: pathlib.Path) -> Recording:
  there = listing.by_stem(folder)

  def frame(name):
    picture = there.get(f"img-{name}", f"img-{name}.jpg")
    laser = f"{root}/Gridlaserdata/depth_sph_corr-{name}.mat"
    return Frame(name, {"rgb": f"{folder}/{picture}", "depth": laser})

  return Recording(str(folder), tuple(map(frame, names())), consecutive=False)


def read_rgb(asked: Asked, *, whole: bool) -> np.ndarray:
  """The picture of a frame: uint8[H, W, 3], sRGB; its central rows, twice as wide as high, or `whole`."""
  picture = image.read_rgb(asked.path)
  height, width = picture.shape[:2]
  uncropped, cropped = 3 * height == 4 * width, 2 * height == width
  if not (uncropped or cropped and not whole):
    expected = "1704 columns and 2272 rows, or both smaller by one factor"
    expected += "" if whole else "; cropped to the central rows: 1704 and 852"
    raise errors.BadFileError(asked.path, f"has {width} columns and {height} rows", expected)
  if whole or cropped:
    return picture
  top = (height - width // 2) // 2
  return np.ascontiguousarray(picture[top : top + width // 2])


def read_depth(asked: Asked, *, whole: bool) -> np.ndarray:
  """Depth of a frame: float32[H, W] metres, 0 where unknown; see the top of this page."""
  grid = mat.read(asked.path, KEY)
  if grid.shape != SHAPE:
    raise errors.BadFileError(asked.path, f"{KEY} has shape {grid.shape}", f"{SHAPE}")
  top = 0 if whole else (SHAPE[0] - CENTRAL) // 2
  metres = grid[top : SHAPE[0] - top, :, 3].astype(np.float32)
  metres = np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(0))
  rows, columns = (
    (2 * np.arange(new) + 1) * old // (2 * new)
    for new, old in zip(asked.known_size(), metres.shape, strict=True)
  )
  return metres[rows[:, None], columns[None, :]]


def _set(name: str, title: str, *, whole: bool) -> frames.FrameSet:
  return frames.FrameSet(
    name=name,
    title=title,
    published="http://make3d.cs.cornell.edu/data.html",
    trees=("{Test134,make3d}/img-NAME.jpg with Gridlaserdata/depth_sph_corr-NAME.mat",),
    domains=("test",),
    find=find,
    readers={
      "rgb": readers.picture()._replace(read=functools.partial(read_rgb, whole=whole)),
      "depth": readers.depth(functools.partial(read_depth, whole=whole)),
    },
  )


SET = _set("make3d", "Make3D's test frames", whole=False)
WHOLE = _set("make3d_whole", "Make3D's test frames, uncropped", whole=True)
