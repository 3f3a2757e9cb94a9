"""Predicted classes in files: an indexed PNG, and the picture under them."""

from collections.abc import Mapping
import io
import pathlib

import numpy as np
from PIL import Image

from bicross_jax import files
from bicross_jax.data.formats import image, npy
from bicross_jax.tasks.classes import pictures
from bicross_jax.tasks.classes.protocol import Protocol
from bicross_jax.viz import cells


def write(
  folder: pathlib.Path,
  name: str,
  result: Mapping[str, np.ndarray],
  protocol: Protocol = pictures.NUMBERS,
) -> list[pathlib.Path]:
  """Writes what a network says of one frame; each file takes its name only when it is complete.

  NAME_label.png (indexed: the values are the classes, the colours `pictures.palette`),
  NAME_overlay.png where there is an RGB picture or an event image, NAME_uncertainty.npy where there is one.

  Args:
    folder: made where it is missing.
    name: of the frame.
    result: "label" uint8[H, W] or "logits" float[H, W, classes]; maybe "uncertainty" float[H, W]
      and "rgb" uint8[H, W, 3] or "event_image" uint8[H, W, 2].
    protocol: whose names and colours the classes have.

  Returns:
    The paths.

  Raises:
    errors.UserError: the disk is full, or the folder cannot be made or written.
  """
  label = pictures.predicted(result)
  written = [folder / f"{name}_label.png"]
  colours = pictures.palette(protocol)
  write_indexed(written[0], label, colours)
  below = next((name for name in ("rgb", "event_image") if name in result), None)
  if below:
    written.append(folder / f"{name}_overlay.png")
    picture = result[below] if below == "rgb" else cells.event_image_picture(result[below])
    image.write_png(written[-1], pictures.overlay(picture, label, colours))
  if "uncertainty" in result:
    written.append(folder / f"{name}_uncertainty.npy")
    npy.write_npy(written[-1], np.asarray(result["uncertainty"], np.float32))
  return written


def write_indexed(path, label: np.ndarray, colours: np.ndarray) -> None:
  """Writes classes uint8[H, W] as a PNG with a palette uint8[256, 3], as PASCAL VOC's label files are."""
  if label.dtype != np.uint8 or label.ndim != 2:
    raise ValueError(f"classes are uint8[H, W], not {label.dtype}{label.shape}")
  picture = Image.fromarray(label, "L")
  picture.putpalette(colours.tobytes())  # which makes it an indexed one
  encoded = io.BytesIO()
  picture.save(encoded, "PNG")
  with files.write_whole(path) as file:
    file.write(encoded.getbuffer())
