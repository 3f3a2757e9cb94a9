"""A run's folder: whose it is, and whether it is finished."""

from collections.abc import Iterator, Mapping
import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
from typing import Any

import numpy as np

import bicross_jax
from bicross_jax import errors
from bicross_jax.train import processes

CONFIG, RESULT, METRICS, CHECKPOINTS = "config.json", "result.json", "metrics.jsonl", "checkpoints"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config as JSON would give it back: dicts, lists, texts, numbers, None.

  Without `distributed` and `report`: they say where a run is computed and what is told of it.

  Args:
    config: an ml_collections ConfigDict or a dict.

  Raises:
    errors.UserError: a field is nothing that JSON holds (an object, an infinite number).
  """
  as_dict = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  for name in ("distributed", "report"):
    as_dict.pop(name, None)
  try:
    return json.loads(json.dumps(as_dict, allow_nan=False))
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"the config cannot be written as JSON: {error}") from error


def config_hash(config: Mapping[str, Any]) -> str:
  """16 hexadecimal digits that name a config: of the SHA-256 of its canonical JSON."""
  text = json.dumps(plain(config), sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
  """The fields in which two configs differ, "train.steps: 100 there, 200 here"."""
  a, b = _flatten(plain(there)), _flatten(plain(here))
  shown = lambda flat, name: json.dumps(flat[name]) if name in flat else "nothing"
  return [
    f"{name}: {shown(a, name)} there, {shown(b, name)} here"
    for name in sorted(a.keys() | b.keys())
    if name not in a or name not in b or a[name] != b[name]
  ]


def claim(workdir: str | os.PathLike, config: Mapping[str, Any]) -> dict[str, Any] | None:
  """Makes a folder the folder of a run of `config`, or finds that it is already.

  Returns:
    The result of the run if it is finished, else None: train or go on.

  Raises:
    errors.UserError: the folder holds a run of another config, or checkpoints of unknown origin,
      or is no folder.
  """
  workdir = pathlib.Path(workdir)
  if workdir.exists() and not workdir.is_dir():
    raise errors.UserError(f"{workdir} is a file, not a folder for a run")
  file = workdir / CONFIG
  if file.is_file():
    changed = differences(read_json(file), config)
    if changed:
      raise errors.UserError(
        f"{workdir} holds a run of another config ({'; '.join(changed)}); "
        "choose another --workdir, or delete that folder"
      )
    return finished(workdir)
  if any((workdir / name).exists() for name in (CHECKPOINTS, RESULT, METRICS)):
    raise errors.UserError(f"{workdir} holds parts of a run but no {CONFIG}; choose another folder")
  workdir.mkdir(parents=True, exist_ok=True)
  write_json(file, plain(config))
  return None


@contextlib.contextmanager
def held(workdir: str | os.PathLike) -> Iterator[None]:
  """Keeps other processes from training in a run's folder; a process that is killed lets go of it.

  Some file systems of clusters have no locks: there it says so and holds nothing.

  Raises:
    errors.UserError: another process holds it.
  """
  folder = os.open(workdir, os.O_RDONLY)
  try:
    try:
      fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise errors.UserError(f"another process is training in {workdir}") from error
    except OSError as error:
      processes.say(f"{workdir} cannot be locked ({error.strerror}): let nothing else train there")
    yield
  finally:
    os.close(folder)


def finished(workdir: str | os.PathLike) -> dict[str, Any] | None:
  """The result of the finished run in a folder, or None."""
  file = pathlib.Path(workdir) / RESULT
  return read_json(file) if file.is_file() else None


def read_json(file: pathlib.Path) -> Any:
  """What a JSON file holds.

  Raises:
    errors.BadFileError: not there, or not JSON.
  """
  try:
    return json.loads(file.read_text())
  except OSError as error:
    raise errors.BadFileError(file, error.strerror) from error
  except ValueError as error:
    raise errors.BadFileError(file, f"is not JSON: {error}") from error


def write_json(file: pathlib.Path, value: Any) -> None:
  """Writes a JSON file so that at any moment either the old one or the whole new one is there."""
  part = file.with_name(f"{file.name}.{os.getpid()}.part")
  part.write_text(json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n")
  os.replace(part, file)


def jsonable(value: Any) -> Any:
  """The same with NumPy values as Python's, and null for numbers that JSON does not have."""
  if isinstance(value, Mapping):
    return {str(k): jsonable(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [jsonable(v) for v in value]
  if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
    return jsonable(np.asarray(value).tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def versions() -> dict[str, str]:
  """The versions of this package and of those that decide what a run computes."""
  found = {"bicross_jax": bicross_jax.__version__}
  for name in _PACKAGES:
    found[name] = importlib.metadata.version(name)
  return found


def _flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  out = {}
  for name, value in node.items():
    if isinstance(value, dict) and value:
      out.update(_flatten(value, f"{prefix}{name}."))
    else:
      out[prefix + name] = value
  return out
