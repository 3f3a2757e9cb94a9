"""How predicted classes meet their ground truth: in which size, and what is counted."""

from typing import NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax.data import classes as known
from bicross_jax.names import nearest
from bicross_jax.tasks import maps

IGNORE = known.IGNORE  # of truth; what nobody knows
SMALLEST, LARGEST = 0.1, 8.0  # scales


class Protocol(NamedTuple):
  """What is compared. Only what the network saw is: labels are cut as its input is.

  Attributes:
    classes: number of classes; labels are 0 to classes - 1.
    ignore: the label of pixels that do not count.
    height, width: of the view in which is compared, pixels; 0, 0: as the ground truth has it. Truth is
      brought there by nearest neighbour, `maps.nearest`, which is Pillow's NEAREST.
    names: of the classes, and their colours in pictures: a set of `data.classes.KNOWN`; "": numbers, and
      the colours of PASCAL VOC.
    scales: sizes of the input, over its own; probabilities are averaged over them (`averaged`).
    flip: the mirrored input is averaged in, too, at every scale.
  """

  classes: int = 6
  ignore: int = IGNORE
  height: int = 0
  width: int = 0
  names: str = ""
  scales: tuple[float, ...] = (1.0,)
  flip: bool = False

  @property
  def titles(self) -> tuple[str, ...]:
    """What each class is called."""
    if self.names:
      return known.KNOWN[self.names].names
    return tuple(f"class {k}" for k in range(self.classes))


_SIX = Protocol(names="ddd17")
_MANY = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
PROTOCOLS = {
  # Ev-SegNet's six classes of DDD17, in the labels' own size.
  "ddd17": _SIX,
  # As EvDistill is tested: labels of 200x346 and pictures are brought to 256x512 (`data.crop=bicubic`).
  "ddd17_evdistill": _SIX._replace(height=256, width=512),
  # The same with the scales and the flip that its test code has and does not use.
  "ddd17_multiscale": _SIX._replace(height=256, width=512, scales=_MANY, flip=True),
  # DSEC-Semantic with its eleven classes, and Cityscapes' nineteen.
  "dsec": Protocol(classes=11, names="dsec"),
  "cityscapes": Protocol(classes=19, names="cityscapes"),
}


def check(protocol: Protocol) -> None:
  """Nothing, or an error that names a field that makes no sense.

  Raises:
    errors.UserError: the error.
  """
  if not 2 <= protocol.classes <= 255:
    raise errors.UserError(f"protocol.classes={protocol.classes}: 2 to 255 classes")
  if not protocol.classes <= protocol.ignore <= 255:
    raise errors.UserError(
      f"protocol.ignore={protocol.ignore}: {protocol.classes} to 255, beyond the classes"
    )
  if protocol.names and protocol.names not in known.KNOWN:
    raise errors.UserError(
      f"protocol.names={protocol.names!r}{nearest(protocol.names, sorted(known.KNOWN))}"
    )
  if len(protocol.titles) != protocol.classes:
    raise errors.UserError(
      f"protocol.names={protocol.names!r} are {len(protocol.titles)} classes, not "
      f"protocol.classes={protocol.classes}"
    )
  if not protocol.scales or not all(SMALLEST <= x <= LARGEST for x in protocol.scales):
    raise errors.UserError(
      f"protocol.scales={protocol.scales!r}: one or more of {SMALLEST:g} to {LARGEST:g}"
    )
  for field in ("height", "width"):
    if getattr(protocol, field) < 0 or (protocol.height > 0) != (protocol.width > 0):
      raise errors.UserError(
        f"protocol.{field}={getattr(protocol, field)}: height and width are given together, or 0"
      )


def label(predictions, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
  """The class of each pixel in another size, and where there is no answer.

  Logits are resized bilinearly before the largest is taken; labels take the nearest, as truth does.

  Args:
    predictions: "logits" float[h, w, K], or "label" uint8[h, w].
    size: (H, W).

  Returns:
    (int64[H, W], bool[H, W] where a logit is not a number).
  """
  if "logits" in predictions:
    logits = np.asarray(predictions["logits"], np.float32)
    if logits.ndim != 3:
      raise ValueError(f"logits {logits.shape} are not [h, w, classes]")
    logits = maps.resize(logits, size, "bilinear")
    missing = np.isnan(logits).any(-1)
    return np.where(missing, 0, logits.argmax(-1)), missing
  found = np.asarray(predictions["label"])
  if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer):
    raise ValueError(f"label {found.dtype}{list(found.shape)} is not uint8[h, w]")
  found = maps.nearest(found.astype(np.uint8), size)
  return found.astype(np.int64), np.zeros(size, bool)


def confusion(predictions, truth: np.ndarray, view, protocol: Protocol) -> np.ndarray:
  """How often each class was taken for which in one image.

  Args:
    predictions: as in `label`, of what the network saw.
    truth: uint8[H, W], whole frame.
    view: top, left, height, width of what the network saw, in pixels of that frame.
    protocol: what is compared.

  Returns:
    int64[K, K + 1]: true class by predicted class; the last column counts pixels without an answer.

  Raises:
    errors.UserError: a class beyond those of the protocol.
  """
  top, left, height, width = map(int, view)
  size = (protocol.height or height, protocol.width or width)
  seen = maps.nearest(truth[top : top + height, left : left + width], size)
  said, missing = label(predictions, size)
  counted = seen != protocol.ignore
  for whose, x in (("ground truth", seen[counted]), ("network", said[counted & ~missing])):
    if x.size and x.max() >= protocol.classes:
      raise errors.UserError(
        f"class {x.max()} of the {whose}: protocol.classes={protocol.classes} has none beyond "
        f"{protocol.classes - 1}"
      )
  columns = protocol.classes + 1
  said = np.where(missing, protocol.classes, said)
  pairs = seen[counted].astype(np.int64) * columns + said[counted]
  return np.bincount(pairs, minlength=protocol.classes * columns).reshape(-1, columns)
