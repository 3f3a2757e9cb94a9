"""Respike: recordings of a real spike camera (250x400) with depth, as its authors published it.

    <indoor|outdoor>/{spike,reconstruction}/{train,val}/<sequence>/left/NAME.{npy,png}
    <indoor|outdoor>/depth_trans/{train,val}/<sequence>/[left/]NAME.pfm

`val` is the test part. A stream is stored upside down and with each run of 8 columns mirrored
(`formats.spikes.read_npy`, naive). The image is the grey reconstruction from the stream. (The
published loader leaves it in 0..1 where other images are scaled to -1..1; networks here see every
image scaled alike. No stage of BiCross trains on it.) Depth is PFM in metres; what is not finite or
not positive is unknown.
"""

from collections.abc import Mapping, Sequence
import functools
import os
import pathlib

import numpy as np

from bicross_jax import errors
from bicross_jax.data.formats import listing, pfm
from bicross_jax.data.layouts import frames, readers
from bicross_jax.data.layouts.frames import Frame, Recording

PLACES = ("indoor", "outdoor")
FOLDERS = {"train": "train", "test": "val"}


def find(
  root: pathlib.Path, domain: str, parts: Mapping[str, Sequence[str]]
) -> frames.Finders | None:
  """Runs are the sequences of a place, by the names of their streams."""
  del parts  # the folders say it all
  place = root / domain
  if not (place / "spike").is_dir():
    return None

  def recordings(folder):
    return [
      _recording(place, folder, sequence) for sequence in _sequences(place / "spike" / folder)
    ]

  return {part: functools.partial(recordings, folder) for part, folder in FOLDERS.items()}


def _sequences(folder: pathlib.Path) -> list[str]:
  return listing.folders(folder)


def _recording(place: pathlib.Path, folder: str, sequence: str) -> Recording:
  streams, pictures, maps = (
    f"{place}/{kind}/{folder}/{sequence}" for kind in ("spike", "reconstruction", "depth_trans")
  )
  maps = frames.first_there([f"{maps}/left", maps])
  left = f"{streams}/left"
  names = [(os.path.splitext(name)[0], name) for name in listing.names(left, (".npy",))]
  return Recording(
    left,
    tuple(
      Frame(
        f"{place.name}/{sequence}/{name}",
        {
          "rgb": f"{pictures}/left/{name}.png",
          "spike": f"{left}/{stream}",
          "depth": f"{maps}/{name}.pfm",
        },
      )
      for name, stream in names
    ),
  )


def read_depth(asked: readers.Asked) -> np.ndarray:
  """Depth of a frame, float32[H, W] metres, 0 where unknown."""
  metres = pfm.read_pfm(asked.path)
  if metres.ndim != 2:
    raise errors.BadFileError(asked.path, "has three channels", "a grey PFM of depth")
  return np.where(np.isfinite(metres) & (metres > 0), metres, 0).astype(np.float32)


SET = frames.FrameSet(
  name="respike",
  title="Respike",
  published="https://github.com/Theia-4869/BiCross",
  trees=("<place>/{spike,reconstruction,depth_trans}/{train,val}/<sequence>/left",),
  domains=PLACES,
  find=find,
  readers={
    "rgb": readers.picture(),
    "spike": readers.spike(naive=True),
    "depth": readers.depth(read_depth),
  },
)
