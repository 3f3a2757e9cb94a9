"""The camera of the user's input: where it is known from, and what depth is for it."""

import collections
from collections.abc import Iterable, Iterator, Sequence
import math
import pathlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bicross_jax import cameras, errors, fields
from bicross_jax.commands.inputs import FRAME, Fields
from bicross_jax.data.formats import image, listing, npy

if TYPE_CHECKING:  # which loads JAX
  from bicross_jax.train.state import Camera

FILM = 36.0  # millimetres; the longer side of a picture on 35 mm film
UNKNOWN = "none"  # what the user says who wants no rescaling
Result = tuple[str, Fields, Fields]  # name, what was given, predictions


class Known(NamedTuple):
  """A focal length and who said it.

  Attributes:
    focal: pixels.
    width: of the picture, pixels.
    source: in words.
  """

  focal: float
  width: int
  source: str


def parse(text: str | None) -> np.ndarray | None:
  """The camera matrix float32[3, 3] of "fx,fy,cx,cy", in pixels; None for None and for "none".

  Raises:
    errors.UserError: those are no four positive numbers.
  """
  if text is None or text == UNKNOWN:
    return None
  try:
    numbers = [float(word) for word in text.split(",")]
  except ValueError:
    numbers = []
  if len(numbers) != 4 or not all(0 < x < math.inf for x in numbers):
    raise errors.UserError(
      f"--intrinsics {text!r}: give four positive numbers fx,fy,cx,cy in pixels of the input, or none"
    )
  return matrix(*numbers)


def matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
  """float32[3, 3] of a camera without skew."""
  return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float32)


def of_film(focal: float, height: int, width: int) -> np.ndarray:
  """The camera matrix of a picture whose lens would have so many millimetres on 35 mm film.

  36 mm are its longer side; pixels are square, and the optical axis meets its middle.
  """
  pixels = focal / FILM * max(height, width)
  return matrix(pixels, pixels, (width - 1) / 2, (height - 1) / 2)


class User:
  """The camera of the input, and the network's."""

  def __init__(self, text: str | None, trained: "Camera | None", cloud: bool, own=None):
    """Takes what is known before any input is read.

    Args:
      text: of --intrinsics.
      trained: camera of the network.
      cloud: whether point clouds are asked for, which need intrinsics.
      own: fields of the recipe's own.

    Raises:
      errors.UserError: see `parse`.
    """
    self._given, self._off = parse(text), text == UNKNOWN
    self._trained, self._cloud, self._own = trained, cloud, own
    self._factors: list[float] = []
    self._known: list[Known] = []
    self._frames, self._sources = 0, collections.deque()

  @property
  def rescales(self) -> bool:
    """Whether the network's camera is known, so that depth can be rescaled."""
    trained = self._trained
    return bool(trained and trained.metric and trained.focal and not self._off)

  def check(self, paths: Iterable[pathlib.Path], windows: bool) -> None:
    """Looks at the heads of all inputs, before anything is written.

    Args:
      paths: of all inputs.
      windows: whether they are streams, of which windows are taken.

    Raises:
      errors.BadFileError: an EXIF block that is needed and damaged.
      errors.UserError: a point cloud is asked for of an input whose camera is not known.
    """
    if self._given is not None or not (self.rescales or self._cloud):
      return
    for path in paths:
      kind = path.suffix.lower()
      if kind in listing.PICTURES:
        known = self._film(path) is not None
      else:
        known = kind == FRAME and not windows and "intrinsics" in npy.npz_names(path)
      if self._cloud and not known:
        raise errors.UserError(
          f"--ply: the camera of {errors.shown(path)} is not known; give --intrinsics fx,fy,cx,cy"
        )

  def complete(self, path: pathlib.Path, given: Fields) -> Fields:
    """The fields of an example, with `intrinsics` where they are known, and as the user says them.

    Raises:
      errors.BadFileError: those that stand in the file have no positive focal lengths.
    """
    found, source = given.get("intrinsics"), "the input"
    if self._given is not None:
      found, source = self._given, "--intrinsics"
    elif found is None and path.suffix.lower() in listing.PICTURES:
      film = self._film(path) if self.rescales or self._cloud else None
      found, source = None if film is None else of_film(film, *self._size(given)), "EXIF"
    elif found is not None and not (np.isfinite(found).all() and found[0, 0] > 0 < found[1, 1]):
      numbers = f"{found[0, 0]:g} and {found[1, 1]:g}"
      raise errors.BadFileError(
        path, f"intrinsics have the focal lengths {numbers}", "positive numbers of pixels"
      )
    self._sources.append(source)
    return given if found is None else {**given, "intrinsics": found}

  def rescaled(self, results: Iterable[Result]) -> Iterator[Result]:
    """The results of a network, with depth in metres of the input's camera where both are known.

    Args:
      results: of examples that `complete` has seen, in the same order.
    """
    for key, given, predictions in results:
      self._frames += 1
      source = self._sources.popleft()
      if self.rescales and "intrinsics" in given:
        focal, width = float(given["intrinsics"][0, 0]), self._size(given)[1]
        factor = cameras.rescaling(self._trained, focal, width)
        predictions = {**predictions, "depth": np.float32(factor) * predictions["depth"]}
        self._factors.append(factor)
        self._known.append(Known(focal, width, source))
      yield key, given, predictions

  def __str__(self):
    trained = self._trained
    if trained and not trained.metric:
      return "depth is in no metres: the network learned it up to a scale and a shift"
    if not trained or not trained.focal:
      return (
        "depth is not rescaled to a camera: the checkpoint does not know which one it learned with"
      )
    learned = f"{trained.focal * (1 if trained.whole else trained.width):.4g}"
    unit = "of the width" if trained.whole else "pixels"
    if not self._factors:
      why = "as asked" if self._off else "that of the input is not known (--intrinsics, EXIF)"
      return f"depth is that of the network's camera, focal length {learned} {unit}: {why}"
    focal = [k.focal / (k.width if trained.whole else 1) for k in self._known]
    sources = " and ".join(dict.fromkeys(k.source for k in self._known))
    left = self._frames - len(self._factors)
    rest = f"; not of {left} of {self._frames} inputs, whose camera is not known" if left else ""
    return (
      f"depth x {_span(self._factors)}: focal length {_span(focal)} {unit} ({sources}), the network "
      f"learned with {learned}{rest}"
    )

  def _film(self, path):
    """The focal length in the EXIF block of a picture, or what to do about a damaged one."""
    try:
      return image.focal_35mm(path)
    except errors.BadFileError as error:
      raise errors.UserError(
        f"{error}; give --intrinsics fx,fy,cx,cy, or --intrinsics {UNKNOWN}"
      ) from error

  def _size(self, given) -> tuple[int, int]:
    return given[fields.maps(given, self._own)[0]].shape[:2]


def _span(numbers: Sequence[float]) -> str:
  low, high = f"{min(numbers):.4g}", f"{max(numbers):.4g}"
  return low if low == high else f"{low} to {high}"
