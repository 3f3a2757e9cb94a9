"""What a checkpoint says of itself: the JSON of its item `meta`, checked before it is believed."""

import math
import os
import pathlib
from typing import Any

from bicross_jax import errors, files
from bicross_jax.train.state import Camera

_DEEPEST = 20  # how far sections of a config are nested at the most


def read(folder: str | os.PathLike) -> dict[str, Any]:
  """The `meta` of the checkpoint in `folder`: step, which, metric, metrics, config, versions, ...

  Raises:
    errors.BadFileError: it cannot be read, or something in it has not the form it should have.
  """
  meta = files.read_json(pathlib.Path(folder) / "meta" / "metadata")
  if not isinstance(meta, dict):
    raise errors.BadFileError(folder, "is no checkpoint of this package: meta is no object")
  lacking = [k for k in ("step", "which", "metric", "metrics", "config") if k not in meta]
  if lacking:
    raise errors.BadFileError(
      folder, f"is no checkpoint of this package: meta has no {', '.join(lacking)}"
    )
  for name, (fits, form) in _FORMS.items():
    if name in meta and not fits(meta[name]):
      raise errors.BadFileError(
        folder, f"is damaged: {name} of its meta is {str(meta[name])[:60]!r}", form
      )
  return meta


def _is_metric(value):
  """Whether a value is {"name", "mode", "value"} of a recipe's metric."""
  return (
    isinstance(value, dict)
    and isinstance(value.get("name"), str)
    and value.get("mode") in ("min", "max", "last")
    and (value.get("value") is None or _is_number(value["value"]))
  )


def _is_number(value):
  return isinstance(value, (int, float)) and math.isfinite(value)


def _is_flat(value):
  """Whether a value is {name: number or None}."""
  return isinstance(value, dict) and all(x is None or _is_number(x) for x in value.values())


def _is_camera(value):
  """Whether a value is None or has the fields of `state.Camera`."""
  if value is None:
    return True
  fields = Camera()._asdict()
  return (
    isinstance(value, dict)
    and value.keys() == fields.keys()
    and all(type(value[name]) is bool for name in ("metric", "whole"))
    and all(_is_number(x) and x >= 0 for x in value.values())
    and (value["whole"] or value["width"] > 0)
  )


def _is_config(value):
  """Whether a value is a dict that is not nested deeper than configs are."""
  level = [value] if isinstance(value, dict) else []
  for _ in range(_DEEPEST):
    level = [x for node in level for x in (node.values() if isinstance(node, dict) else node)]
    level = [x for x in level if isinstance(x, (dict, list))]
  return isinstance(value, dict) and not level


# field of a checkpoint's meta -> (whether a value fits, what does)
_FORMS = {
  "step": (lambda x: type(x) is int and x >= 0, "a number of steps"),
  "which": (lambda x: isinstance(x, str), "a text"),
  "metric": (_is_metric, "an object with name, mode and value"),
  "metrics": (_is_flat, "an object of numbers"),
  "config": (_is_config, "the fields of a config"),
  "versions": (
    lambda x: isinstance(x, dict) and all(isinstance(v, str) for v in x.values()),
    "an object of texts",
  ),
  "examples": (lambda x: x is None or (type(x) is int and x >= 0), "a number of examples"),
  "camera": (_is_camera, "a camera"),
  "part": (lambda x: isinstance(x, str), "a text"),
}
