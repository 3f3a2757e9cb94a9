"""Disparities in one file, as EPCDepth and others publish them: judged, drawn, written.

The file is a .npy of shape (maps, height, width): one map an image, in the order of the part that is
tested, of 1 / depth in a unit of its own. Depth in metres is `factor` / disparity; the published ones
call 5.4 m one unit. One map is in memory at a time.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import math
import pathlib
import types
from typing import Any

import ml_collections
import numpy as np

from bicross_jax import errors, files, tasks
from bicross_jax.config import sections
from bicross_jax.data.formats import image, npy

FACTOR = 5.4  # metres of one unit of depth, as published
PERCENTILE = 95.0  # of a map's numbers, that has the last colour
COLOURS = "magma"
FORM = "floating-point numbers of shape (maps, height, width)"
DATA = ("kitti_stereo", "eigen")  # what published files are of
PROTOCOL = "kitti_eigen_375"


class Maps:
  """The maps of a file.

  Attributes:
    path: of the file.
    count, height, width: its shape.
  """

  def __init__(self, path):
    """Looks at the file's header.

    Raises:
      errors.BadFileError: it cannot be read, or holds something else.
    """
    header = npy.read_header(path)
    if header.dtype.kind != "f" or len(header.shape) != 3 or not math.prod(header.shape):
      raise errors.BadFileError(path, f"holds {header.dtype} {header.shape}", FORM)
    self.path = path
    self.count, self.height, self.width = header.shape

  def read(self, i: int) -> np.ndarray:
    """Map i, float32[height, width], mapped for as long as it is copied.

    Raises:
      errors.BadFileError: it has numbers that are no disparities, or the file was changed.
    """
    found = npy.open_npy(self.path)
    if found.shape != (self.count, self.height, self.width):
      raise errors.BadFileError(self.path, "was changed while it was read")
    disparity = np.array(found[i], np.float32)
    wrong = np.argwhere(~(np.isfinite(disparity) & (disparity > 0)))
    if len(wrong):
      row, column = map(int, wrong[0])
      raise errors.BadFileError(
        self.path,
        f"map {i} has {disparity[row, column]} at row {row}, column {column}",
        "positive, finite disparities",
      )
    return disparity


class Saved:
  """A file of disparities that stands where a trained network does (`inference.Model`).

  Attributes:
    maps: of the file.
    config, recipe: what evaluation reads of a network.
    about: what its results say.
  """

  def __init__(self, maps: Maps, factor: float, config: ml_collections.ConfigDict | None = None):
    """Takes the maps.

    Args:
      maps: of the file.
      factor: metres of one unit.
      config: what they are tested on; None: Eigen's split of KITTI, and all else as the command says.

    Raises:
      errors.UserError: a config of another task.
    """
    self.maps, self._factor = maps, factor
    self.config = default_config() if config is None else config
    if self.config.task != "depth":
      raise errors.UserError(f"disparities are of depth, the config is of {self.config.task}")
    self.recipe = types.SimpleNamespace(
      inputs=(), fields={}, score=None, batch_spec=lambda: {"": {}}
    )
    self.about = {"disparities": str(maps.path), "factor": factor}

  def step(self, batch: Mapping[str, Any], carry=()) -> tuple[dict[str, np.ndarray], int]:
    """The depths of the real rows of a batch, in metres; the carry counts the maps."""
    first, mask = carry or 0, batch["mask"]
    depth = np.ones((len(mask), self.maps.height, self.maps.width), np.float32)
    for row in range(int(mask.sum())):
      depth[row] = np.float32(self._factor) / self.maps.read(first + row)
    return {"depth": depth}, first + int(mask.sum())

  def check(self, source, part: str, protocol) -> None:
    """Nothing, where the maps are of the examples of a part.

    Args:
      source: the opened `Batches`.
      part: of them.
      protocol: of task depth.

    Raises:
      errors.UserError: another number of maps, or a protocol that asks for more.
    """
    if protocol.flip:
      raise errors.UserError(
        "protocol.flip=True asks a network for the mirrored image; a file of disparities has none"
      )
    path, size = self.maps.path, source.sizes[part]
    if self.maps.count != size:
      raise errors.BadFileError(
        path, f"has {self.maps.count} maps", f"{size}, one for each example of part {part}"
      )

  def look(self, name: str, predictions: tasks.Maps, truth: tasks.Truth) -> None:
    """Nothing, where maps and examples both lie or both stand; see `evaluation.run.evaluate_all`.

    Raises:
      errors.BadFileError: they do not: rows and columns are exchanged.
    """
    del name, predictions
    height, width = map(int, truth["crop"][2:])
    if (height > width) != (self.maps.height > self.maps.width):
      raise errors.BadFileError(
        self.maps.path,
        f"has maps of {self.maps.height}x{self.maps.width}",
        f"maps of the shape of the examples, {height}x{width} (height x width)",
      )


def default_config() -> ml_collections.ConfigDict:
  """A config that tests whole frames of Eigen's split of KITTI as EPCDepth does."""
  data = sections.real(*DATA, 320, 1024)
  data.crop, data.sensors = "resize", tasks.create("depth").truth
  return ml_collections.ConfigDict(
    dict(
      system="saved",
      stage="disparities",
      task="depth",
      data=data,
      evals=dict(source=sections.evaluation("depth", "data", PROTOCOL)),
      test="source",
    )
  )


@contextlib.contextmanager
def writing(
  path, count: int, factor: float
) -> Iterator[Callable[[str, tasks.Maps, tasks.Truth], None]]:
  """Writes the predictions of an evaluation as disparities, one after the other.

  The file, float32 [count, height, width], takes its name when it is complete.

  Args:
    path: of the file.
    count: how many maps there will be.
    factor: metres of one unit.

  Yields:
    What `evaluation.run.evaluate_all` calls; predictions of the network (named "") are written.

  Raises:
    errors.UserError: a depth that is no positive number, maps of several sizes, or a place that
      cannot be written.
  """
  shapes: list[tuple[int, ...]] = []
  with files.write_whole(path) as file:

    def write(name: str, predictions: tasks.Maps, truth: tasks.Truth) -> None:
      del truth
      if name:
        return
      depth = np.asarray(predictions["depth"], np.float32)
      if not shapes:
        file.write(npy.header_bytes((count, *depth.shape), np.float32))
      shapes.append(depth.shape)
      if depth.shape != shapes[0] or not (np.isfinite(depth) & (depth > 0)).all():
        raise errors.UserError(
          f"{errors.shown(path)}: depth {len(shapes) - 1} of the network is no map of positive numbers of "
          f"{shapes[0][0]}x{shapes[0][1]}"
        )
      file.write((np.float32(factor) / depth).tobytes())

    yield write
    if len(shapes) != count:
      raise errors.UserError(f"{errors.shown(path)}: {len(shapes)} maps of {count} were predicted")


def folder_of(path, output) -> pathlib.Path:
  """Where the pictures of a file go: `output`, or the folder disps_vis beside the file.

  Raises:
    errors.UserError: it cannot be written.
  """
  folder = pathlib.Path(output or pathlib.Path(path).parent / "disps_vis")
  files.check_output_folder(folder)
  return folder


def draw(path, folder: pathlib.Path) -> int:
  """Draws every map of a file as disp0.png, disp1.png, ...; returns how many there are.

  Raises:
    errors.BadFileError: the file cannot be read, or has no disparities in it.
    errors.UserError: the folder cannot be written.
  """
  import tqdm

  maps = Maps(path)
  for i in tqdm.trange(maps.count, desc="disparities", unit="map", disable=maps.count == 1):
    image.write_png(folder / f"disp{i}.png", paint(maps.read(i)))
  return maps.count


def paint(disparity: np.ndarray) -> np.ndarray:
  """A map in colours, from its minimum to its 95th percentile: uint8[h, w, 3]."""
  from bicross_jax.viz import colour

  low, high = float(disparity.min()), float(np.percentile(disparity, PERCENTILE))
  scale = colour.Scale(low, high if high > low else low + 1)
  return colour.paint(disparity, colour.Ramp(COLOURS), scale)
