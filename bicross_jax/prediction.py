"""Runs a trained network on files: spike streams or pictures in, depth and pictures out."""

import pathlib
from collections.abc import Sequence

import numpy as np

from bicross_jax import errors
from bicross_jax import trained
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image
from bicross_jax.data.formats import npy
from bicross_jax.data.formats import spikes
from bicross_jax.ops import resize
from bicross_jax.viz import panels

IMAGES = (".png", ".jpg", ".jpeg")
PNG_DIVISOR = 256.0  # of the 16-bit PNG, as KITTI's


def find_inputs(paths: Sequence, modality: str) -> list[pathlib.Path]:
  """The input files of a modality that `paths` (files or folders) hold, in order.

  Raises:
    errors.UserError: a path that is not there, a file of another kind, or nothing at all.
  """
  suffixes = spikes.SUFFIXES if modality == "spike" else IMAGES
  found = []
  for path in map(pathlib.Path, paths):
    if path.is_dir():
      found += sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes)
    elif not path.is_file():
      raise errors.UserError(f"no file or folder {path}")
    elif path.suffix.lower() not in suffixes:
      raise errors.BadFileError(
          path, f"the checkpoint's network takes {modality} input", ", ".join(suffixes))
    else:
      found.append(path)
  if not found:
    raise errors.UserError(
        f"no {modality} input ({', '.join(suffixes)}) in {', '.join(map(str, paths))}")
  return found


def predict_file(model: trained.Trained, path, *, start: int = 0, height: int = 250,
                 width: int = 400) -> dict[str, np.ndarray]:
  """Depth of one picture, or of one window of a spike stream.

  Args:
    model: from `trained.load`.
    path: a PNG or JPEG picture, or a .dat, .npy or .npz stream.
    start: first step of the window; it has as many steps as the network was trained with.
    height, width: of a .dat stream, which does not say its size.

  Returns:
    The input ("rgb" uint8[H, W, 3] or "spike" uint8[H, W, T/8]) with "prediction" float32[H, W]
    metres and, where the network has it, "uncertainty" float32[H, W], in the input's frame.
  """
  modality = model.config.input.modality
  if modality == "spike":
    stream = spikes.read(
        path, height=height, width=width, start=start, steps=model.config.data.steps)
    field = spikes.pack_time(stream)
  else:
    field = image.read_rgb(path)
  out = model.predict({modality: field[None]})
  fitted = {
      name: np.asarray(resize.bicubic(value[..., None], field.shape[:2]))[0, ..., 0]
      for name, value in out.items()
  }
  fitted["prediction"] = np.maximum(fitted.pop("depth"), model.config.eval.min_depth)
  return {modality: field, **fitted}


def write(folder: pathlib.Path, name: str, result: dict[str, np.ndarray]) -> list[pathlib.Path]:
  """Writes NAME_depth.npy (metres), NAME_depth.png (16 bits, metres x 256), NAME_uncertainty.npy
  and NAME.png, a picture of it all. Each takes its name only when it is complete.

  Returns:
    The paths.

  Raises:
    errors.UserError: the disk is full, or the folder cannot be made or written.
  """
  paths = [folder / f"{name}_depth.npy", folder / f"{name}_depth.png"]
  npy.write_npy(paths[0], result["prediction"])
  depth_files.write_png16(paths[1], result["prediction"], PNG_DIVISOR)
  if "uncertainty" in result:
    paths.append(folder / f"{name}_uncertainty.npy")
    npy.write_npy(paths[-1], result["uncertainty"])
  paths.append(folder / f"{name}.png")
  panels.save(paths[-1], [{"key": name, **result}])
  return paths
