"""Sets of semantic classes: their names, their colours, and how one set becomes another.

Labels are uint8[H, W]; 255 is what nobody knows, and stays that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bicross_jax import errors, fields

IGNORE = int(fields.FIELDS["label"].unknown)


class Classes(NamedTuple):
  """Classes 0, 1, ...

  Attributes:
    names: of each.
    colours: red, green and blue 0..255 of each.
  """

  names: tuple[str, ...]
  colours: tuple[tuple[int, int, int], ...]

  def palette(self, ignored: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """The colours of labels 0..255, uint8[256, 3]: of those that are no class `ignored`."""
    table = np.full((256, 3), ignored, np.uint8)
    table[: len(self.colours)] = self.colours
    return table


_CITYSCAPES = {
  "road": (128, 64, 128),
  "sidewalk": (244, 35, 232),
  "building": (70, 70, 70),
  "wall": (102, 102, 156),
  "fence": (190, 153, 153),
  "pole": (153, 153, 153),
  "traffic light": (250, 170, 30),
  "traffic sign": (220, 220, 0),
  "vegetation": (107, 142, 35),
  "terrain": (152, 251, 152),
  "sky": (70, 130, 180),
  "person": (220, 20, 60),
  "rider": (255, 0, 0),
  "car": (0, 0, 142),
  "truck": (0, 0, 70),
  "bus": (0, 60, 100),
  "train": (0, 80, 100),
  "motorcycle": (0, 0, 230),
  "bicycle": (119, 11, 32),
}
_DDD17 = {
  "flat": "road",
  "construction and sky": "building",
  "object": "traffic light",
  "nature": "terrain",
  "human": "person",
  "vehicle": "car",
}
_DSEC = {
  "background": "sky",
  "building": "building",
  "fence": "fence",
  "person": "person",
  "pole": "pole",
  "road": "road",
  "sidewalk": "sidewalk",
  "vegetation": "vegetation",
  "vehicle": "car",
  "wall": "wall",
  "traffic sign": "traffic sign",
}


def _coloured(named) -> Classes:
  """Classes in the colours of Cityscapes' classes."""
  return Classes(tuple(named), tuple(_CITYSCAPES[colour] for colour in named.values()))


# Cityscapes' 19 training classes (Cordts et al. 2016); the six of Ev-SegNet for DDD17 (Alonso and Murillo
# 2019) in EvDistill's colours, of which the world's labels are, too; the eleven of DSEC-Semantic (Sun et al. 2022).
CITYSCAPES = Classes(tuple(_CITYSCAPES), tuple(_CITYSCAPES.values()))
DDD17, DSEC = _coloured(_DDD17), _coloured(_DSEC)
KNOWN = {"ddd17": DDD17, "dsec": DSEC, "cityscapes": CITYSCAPES}

# The class of DDD17 for each of Cityscapes' and of DSEC's, and DSEC's for each of Cityscapes'.
CITYSCAPES_TO_DDD17 = (0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 1, 4, 4, 5, 5, 5, 5, 5, 5)
DSEC_TO_DDD17 = (1, 1, 1, 4, 2, 0, 0, 3, 5, 1, 2)
CITYSCAPES_TO_DSEC = (5, 6, 1, 9, 2, 4, 10, 10, 7, 7, 0, 3, 3, 8, 8, 8, 8, 8, 8)


def mapped(label: np.ndarray, table: Sequence[int]) -> np.ndarray:
  """Labels of one set of classes as those of another.

  Args:
    label: uint8[H, W]; what is no class of the first set becomes 255.
    table: of the second set, for each class of the first (`CITYSCAPES_TO_DDD17`).
  """
  every = np.full(256, IGNORE, np.uint8)
  every[: len(table)] = table
  return every[label]


def check(label: np.ndarray, count: int, path) -> None:
  """Looks whether all of a file's labels are classes below `count`, or 255.

  Raises:
    errors.BadFileError: one is not.
  """
  wrong = label[(label >= count) & (label != IGNORE)]
  if wrong.size:
    raise errors.BadFileError(path, f"has a pixel of class {wrong[0]}", f"0 to {count - 1}, or 255")
