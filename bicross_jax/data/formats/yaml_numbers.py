"""Numbers in the YAML files that cameras are described with: DSEC's, Kalibr's (MVSEC) and OpenCV's.

OpenCV begins its files with `%YAML:1.0`, which YAML itself does not know, and marks matrices with a tag
of its own; both are passed over: a matrix is a mapping with its numbers in `data`.
"""

from collections.abc import Mapping
import functools
from typing import Any

import numpy as np

from bicross_jax import errors, files

_LONGEST = 1 << 20  # bytes; such files have a few thousand
_OPENCV = b"%YAML:"
_MATRIX = "tag:yaml.org,2002:opencv-"  # "matrix", and "nd-matrix" of version 5


def read(path) -> Mapping[str, Any]:
  """What the file holds: a mapping of names.

  Raises:
    errors.BadFileError: it is missing, too long, or no YAML mapping.
  """
  import yaml  # here, as few users need it

  if files.size(path) > _LONGEST:
    raise errors.BadFileError(path, f"is longer than {_LONGEST} bytes", "a camera calibration")
  data = files.read(path)
  if data.startswith(_OPENCV):
    data = data.partition(b"\n")[2]
  try:
    found = yaml.load(data, _loader())
  except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
    problem = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    raise errors.BadFileError(path, f"is not YAML: {problem}") from error
  if not isinstance(found, dict):
    raise errors.BadFileError(path, "holds no names", "a camera calibration in YAML")
  return found


@functools.cache
def _loader() -> type:
  """YAML's safe loader, to which OpenCV's matrices are mappings."""
  import yaml

  class Loader(yaml.SafeLoader):
    pass

  def mapping(loader, suffix, node):
    del suffix
    return loader.construct_mapping(node, deep=True)

  Loader.add_multi_constructor(_MATRIX, mapping)
  return Loader


def numbers(path, found: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
  """An array of what `read` found, float64 of a shape.

  Args:
    path: for errors.
    found: the mapping.
    name: where, with dots between the levels: "intrinsics.camRect0.camera_matrix".
    shape: that it must have.

  Raises:
    errors.BadFileError: there is nothing of that name, or not so many finite numbers.
  """
  value: Any = found
  for word in name.split("."):
    value = value.get(word) if isinstance(value, dict) else None
  if _fits(value, shape):
    out = np.array(value, np.float64)
    if np.isfinite(out).all():
      return out
  size = "x".join(map(str, shape))
  problem = f"has no {name}" if value is None else f"{name} is something else"
  raise errors.BadFileError(path, problem, f"{size} finite numbers there")


def _fits(value, shape) -> bool:
  """Whether a value is nested lists of numbers of a shape; looks at no more than that many."""
  if not shape:
    return isinstance(value, (int, float)) and abs(value) < 1e300
  return (
    isinstance(value, list)
    and len(value) == shape[0]
    and all(_fits(item, shape[1:]) for item in value)
  )
