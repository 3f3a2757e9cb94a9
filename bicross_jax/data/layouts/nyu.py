"""NYU v2 with spike streams, by its two lists.

    {train,test}.txt                                     a frame a line: image depth
    input/<scene>/<sequence>/{rgb,depth,spike}/NAME      BiCross
    <scene>/NAME.jpg and the like                        as published (synchronised frames)

Paths in the lists are relative to `input` where there is one and to the data folder otherwise; a
slash before them and columns after the second (a focal length, in public lists) are passed over.
In BiCross's layout a stream is named like its image with `s` for `r`. Depth files are 16-bit PNG in
millimetres. The lists of BiCross were not published; those of other public code have this form.
"""

from collections.abc import Mapping, Sequence
import functools
import os
import pathlib

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import depth
from bicross_jax.data.layouts import frames, readers
from bicross_jax.data.layouts.frames import Frame, Recording


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """Runs are the folders that the images of a list lie in, in the order of their first images.

  Raises:
    errors.BadFileError: a list that is missing, or a line of fewer than two columns.
  """
  del domain, parts  # the lists say it all
  if not any((root / f"{part}.txt").is_file() for part in ("train", "test")):
    return None
  return {
    part: functools.partial(_recordings, root, root / f"{part}.txt") for part in ("train", "test")
  }


def _recordings(root: pathlib.Path, listed: pathlib.Path) -> list[Recording]:
  rearranged = (root / "input").is_dir()
  base = f"{root}/input" if rearranged else str(root)
  found: dict[str, list[Frame]] = {}
  for number, line in enumerate(files.read(listed).decode(errors="replace").splitlines(), 1):
    columns = line.split()
    if len(columns) == 1:
      raise errors.BadFileError(listed, f"line {number} has one column", "image and depth")
    if columns:
      rgb, truth = (column.lstrip("/") for column in columns[:2])
      image = f"{base}/{rgb}"
      stream = _stream(image) if rearranged else frames.stream_path(root, image)
      found.setdefault(os.path.dirname(image), []).append(
        Frame(os.path.splitext(rgb)[0], {"rgb": image, "spike": stream, "depth": f"{base}/{truth}"})
      )
  if not found:
    raise errors.BadFileError(listed, "lists no frame", "lines of image and depth")
  return [
    Recording(folder, tuple(recording), consecutive=False) for folder, recording in found.items()
  ]


def _stream(image: str) -> str:
  """The stream of an image of BiCross's layout: .../rgb/r-1.jpg -> .../spike/s-1.npy."""
  folder, name = os.path.split(image)
  stem = os.path.splitext(name)[0].replace("r", "s")
  return f"{os.path.dirname(folder)}/spike/{stem}.npy"


def read_depth(asked: readers.Asked) -> np.ndarray:
  """Depth of a frame, float32[H, W] metres, 0 where unknown."""
  return depth.read_png16(asked.path, depth.NYU)


SET = frames.FrameSet(
  name="nyu",
  title="NYU v2",
  published="https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
  trees=(
    "input/<scene>/<sequence>/{rgb,depth,spike} with train.txt and test.txt beside input",
    "the folders that train.txt and test.txt name",
  ),
  domains=("lists",),
  find=find,
  readers={"rgb": readers.picture(), "spike": readers.spike(), "depth": readers.depth(read_depth)},
  hint=frames.SIMULATED,
)
