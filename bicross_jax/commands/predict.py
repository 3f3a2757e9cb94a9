"""Runs a trained network on files: spike streams or pictures in, depth and pictures out."""

from collections.abc import Iterable, Iterator, Sequence
import pathlib
from typing import NamedTuple

import numpy as np

from bicross_jax import errors, inference
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image, npy, spikes
from bicross_jax.ops import resize
from bicross_jax.viz import colour, panels

IMAGES = (".png", ".jpg", ".jpeg")
PNG_DIVISOR = 256.0  # of the 16-bit PNG, as KITTI's
FARTHEST = 65535 / PNG_DIVISOR  # metres; what 16 bits hold


class Source(NamedTuple):
  """A file, or a folder of files that are frames of one sequence, in the order of their names."""

  name: str
  paths: list[pathlib.Path]


def find_inputs(paths: Sequence, modality: str) -> list[Source]:
  """The input files of a modality that `paths` (files or folders) hold, in order.

  Raises:
    errors.UserError: a path that is not there, a file of another kind, nothing at all, or names
      that come twice (results are named after their input).
  """
  suffixes = spikes.SUFFIXES if modality == "spike" else IMAGES
  found = []
  for path in map(pathlib.Path, paths):
    if path.is_dir():
      inside = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes)
      found.append(Source(path.resolve().name, inside))
    elif not path.is_file():
      raise errors.UserError(f"no file or folder {path}")
    elif path.suffix.lower() not in suffixes:
      raise errors.BadFileError(
        path, f"the checkpoint's network takes {modality} input", ", ".join(suffixes)
      )
    else:
      found.append(Source(path.stem, [path]))
  if not any(source.paths for source in found):
    raise errors.UserError(
      f"no {modality} input ({', '.join(suffixes)}) in {', '.join(map(str, paths))}"
    )
  for names in ([p.stem for s in found for p in s.paths], [s.name for s in found]):
    if len(set(names)) < len(names):
      raise errors.UserError("two inputs have the same name; give them separate --output folders")
  return [source for source in found if source.paths]


def predict_file(
  model: inference.Trained, path, *, start: int = 0, height: int = 250, width: int = 400
) -> dict[str, np.ndarray]:
  """Depth of one picture, or of one window of a spike stream.

  Args:
    model: from `inference.load`.
    path: a PNG or JPEG picture, or a .dat, .npy or .npz stream.
    start: first step of the window; it has as many steps as the network was trained with.
    height, width: of a .dat stream, which does not say its size.

  Returns:
    The input ("rgb" uint8[H, W, 3] or "spike" uint8[H, W, T/8]) with "prediction" float32[H, W]
    metres and, where the network has it, "uncertainty" float32[H, W], in the input's frame.
  """
  if model.config.input.modality == "rgb":
    return _predict(model, image.read_rgb(path))
  stream = spikes.open_stream(path, height=height, width=width)
  return _predict_window(model, stream, start)


def predict_frames(
  model: inference.Trained,
  paths: Iterable[pathlib.Path],
  *,
  start: int = 0,
  height: int = 250,
  width: int = 400,
) -> Iterator[tuple[str, dict]]:
  """(name of the file, result) of `predict_file` for each of some files."""
  for path in paths:
    yield path.stem, predict_file(model, path, start=start, height=height, width=width)


def window_starts(stream: spikes.Stream, steps: int, start: int, stride: int) -> range:
  """The first steps of all windows that lie whole in a stream.

  Args:
    stream: the stream.
    steps: length of a window.
    start: where the first window begins.
    stride: steps from the beginning of one window to that of the next.

  Raises:
    errors.UserError: start or stride cannot be; errors.BadFileError: not even one window fits.
  """
  if start < 0 or stride < 1:
    raise errors.UserError(f"windows cannot begin at step {start}, {stride} steps apart")
  if start + steps > stream.steps:
    raise errors.BadFileError(
      stream.path, f"has {stream.steps} steps", f"at least {start + steps} for one window"
    )
  return range(start, stream.steps - steps + 1, stride)


def predict_windows(
  model: inference.Trained, stream: spikes.Stream, starts: Iterable[int]
) -> Iterator[tuple[str, dict]]:
  """("NAME_%07d" with the window's first step, result) for windows of a stream of any length.

  One window is held at a time. Results are as from `predict_file`.
  """
  for start in starts:
    yield f"{stream.path.stem}_{start:07d}", _predict_window(model, stream, start)


def _predict_window(model, stream, start):
  return _predict(model, spikes.pack_time(stream.read(start, model.config.data.steps)))


def _predict(model, field):
  """The network's maps in the frame of its input, uint8[H, W, C]."""
  modality = model.config.input.modality
  out = model.predict({modality: field[None]})
  fitted = {
    name: np.asarray(resize.bicubic(value[..., None], field.shape[:2]))[0, ..., 0]
    for name, value in out.items()
  }
  fitted["prediction"] = np.maximum(fitted.pop("depth"), model.config.eval.min_depth)
  return {modality: field, **fitted}


def write(folder: pathlib.Path, name: str, result: dict[str, np.ndarray]) -> None:
  """Writes NAME_depth.npy (metres), NAME_depth.png (16 bits, metres x 256, what is farther than
  255.99 m as that) and NAME_uncertainty.npy. Each takes its name only when it is complete.

  Raises:
    errors.UserError: the disk is full, or the folder cannot be made or written.
  """
  depth = result["prediction"]
  npy.write_npy(folder / f"{name}_depth.npy", depth)
  depth_files.write_png16(folder / f"{name}_depth.png", np.minimum(depth, FARTHEST), PNG_DIVISOR)
  if "uncertainty" in result:
    npy.write_npy(folder / f"{name}_uncertainty.npy", result["uncertainty"])


def write_picture(
  folder: pathlib.Path, name: str, result: dict[str, np.ndarray], scale: colour.Scale | None = None
) -> None:
  """Writes NAME.png, a picture of a result; `scale` of its depth is by default its own."""
  panels.save(folder / f"{name}.png", [{"key": name, **result}], scale)
