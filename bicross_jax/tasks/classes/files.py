"""Predicted classes in files: an indexed PNG, and the picture under them."""

from collections.abc import Mapping
import io
import pathlib

import numpy as np
from PIL import Image

from bicross_jax import files
from bicross_jax.data.formats import image, npy
from bicross_jax.tasks.classes import pictures


def write(folder: pathlib.Path, name: str, result: Mapping[str, np.ndarray]) -> list[pathlib.Path]:
  """Writes what a network says of one frame; each file takes its name only when it is complete.

  NAME_label.png (indexed: the values are the classes, the colours `pictures.palette`),
  NAME_overlay.png where there is an RGB picture, NAME_uncertainty.npy where there is one.

  Args:
    folder: made where it is missing.
    name: of the frame.
    result: "label" uint8[H, W] or "logits" float[H, W, classes]; maybe "uncertainty" float[H, W]
      and "rgb" uint8[H, W, 3].

  Returns:
    The paths.

  Raises:
    errors.UserError: the disk is full, or the folder cannot be made or written.
  """
  label = pictures.predicted(result)
  written = [folder / f"{name}_label.png"]
  write_indexed(written[0], label)
  if "rgb" in result:
    written.append(folder / f"{name}_overlay.png")
    image.write_png(written[-1], pictures.overlay(result["rgb"], label))
  if "uncertainty" in result:
    written.append(folder / f"{name}_uncertainty.npy")
    npy.write_npy(written[-1], np.asarray(result["uncertainty"], np.float32))
  return written


def write_indexed(path, label: np.ndarray) -> None:
  """Writes classes uint8[H, W] as a PNG with a palette, as PASCAL VOC's label files are."""
  if label.dtype != np.uint8 or label.ndim != 2:
    raise ValueError(f"classes are uint8[H, W], not {label.dtype}{label.shape}")
  picture = Image.fromarray(label, "L")
  picture.putpalette(pictures.palette().tobytes())  # which makes it an indexed one
  encoded = io.BytesIO()
  picture.save(encoded, "PNG")
  with files.write_whole(path) as file:
    file.write(encoded.getbuffer())
