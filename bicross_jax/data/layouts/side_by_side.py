"""DDD17 and MVSEC for segmentation as EvDistill has them: an event image beside its APS frame, and labels.

    images/{train,test,val}/NAME.png    left half: event image, red = negative, green = positive; right half: APS frame
    labels/{train,test,val}/NAME.png    0 to 5 (`classes.DDD17`), 255 = ignore; as large as one half

NAME is the key, `rec1487417411_export_969`: recording and number. Where there is no `val`, the last tenth of the
training frames validates: of ten recordings or more the last recordings, of fewer the last frames of each.
A picture without its label, and a label without its picture, is a frame that lacks a file.
"""

from collections.abc import Mapping, Sequence
import functools
import itertools
import os
import pathlib

import numpy as np

from bicross_jax import errors
from bicross_jax.data import classes
from bicross_jax.data.formats import image, listing
from bicross_jax.data.layouts import frames, readers
from bicross_jax.data.layouts.frames import Frame, Recording
from bicross_jax.data.layouts.readers import Asked, Reader

FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """The frames of each folder; see the top of this page."""
  del domain, parts  # the folders say it all
  if not (root / "images").is_dir():
    return None
  there = {
    part: folder for part, folder in FOLDERS.items() if part != "validation" or _names(root, folder)
  }
  return {part: functools.partial(_recordings, root, folder) for part, folder in there.items()}


def _names(root: pathlib.Path, folder: str) -> list[str]:
  """Names without suffix of what is among the pictures or among the labels, in natural order."""
  found = [listing.names(root / kind / folder, (".png",)) for kind in ("images", "labels")]
  return sorted({os.path.splitext(name)[0] for name in sum(found, [])}, key=listing.natural)


def _recordings(root: pathlib.Path, folder: str) -> list[Recording]:
  """By what stands before the last `_export_` of a name."""
  groups = itertools.groupby(_names(root, folder), lambda name: name.rpartition("_export_")[0])
  found = []
  for _, names in groups:
    pairs = [
      (name, *(f"{root}/{x}/{folder}/{name}.png" for x in ("images", "labels"))) for name in names
    ]
    both = ("event_image", "rgb")
    every = [
      Frame(name, {**dict.fromkeys(both, picture), "label": label})
      for name, picture, label in pairs
    ]
    found.append(Recording(f"{root}/images/{folder}", tuple(every), consecutive=False))
  return found or [Recording(f"{root}/images/{folder}", ())]


def read_event_image(asked: Asked) -> np.ndarray:
  """The left half: uint8[H, W, 2], negative and positive."""
  left, _ = _halves(asked.path)
  return np.ascontiguousarray(left[..., :2])


def read_aps(asked: Asked) -> np.ndarray:
  """The right half: uint8[H, W, 3], of which all channels are equal."""
  return np.ascontiguousarray(_halves(asked.path)[1])


def _halves(path: str) -> tuple[np.ndarray, np.ndarray]:
  both = image.read_rgb(path)
  if both.shape[1] % 2:
    raise errors.BadFileError(
      path, f"is {both.shape[1]} pixels wide", "an even width: an event image beside its APS frame"
    )
  left, right = np.split(both, 2, axis=1)
  return left, right


def labels(known: classes.Classes) -> Reader:
  """A map of classes, or 255: uint8[H, W]. Other values are errors."""

  def read(asked):
    label = image.read_classes(asked.path)
    classes.check(label, len(known.names), asked.path)
    return label

  return readers.grey()._replace(read=read)


def _set(name: str, title: str) -> frames.FrameSet:
  return frames.FrameSet(
    name=name,
    title=title,
    published="https://github.com/addisonwang2013/evdistill",
    trees=("{images,labels}/{train,test}/NAME.png",),
    domains=("published",),
    find=find,
    readers={
      "event_image": Reader(
        read_event_image, lambda steps: readers.Stored((None, None, 2), "uint8")
      ),
      "rgb": Reader(read_aps, readers.picture().stored),
      "label": labels(classes.DDD17),
    },
  )


DDD17 = _set("ddd17_seg", "DDD17 with EvDistill's event images")
MVSEC = _set("mvsec_seg", "MVSEC with EvDistill's event images")
