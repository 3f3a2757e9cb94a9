"""A run's folder: whose it is, and whether it is finished."""

from collections.abc import Iterator, Mapping
import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import pathlib
from typing import Any

import jax

import bicross_jax
from bicross_jax import errors, files
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
  """16 hexadecimal digits that name a run: of the SHA-256 of its config's canonical JSON.

  The places of files do not count (`data_dir` of any section, `file`), nor does where it is
  computed (see `plain`): the same run on another mount is the same run.
  """
  text = json.dumps(_identity(config), sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
  """The fields that make two runs of two configs, "train.steps: 100 there, 200 here"."""
  a, b = _leaves(there), _leaves(here)
  shown = lambda flat, name: json.dumps(flat[name]) if name in flat else "nothing"
  return [
    f"{name}: {shown(a, name)} there, {shown(b, name)} here"
    for name in sorted(a.keys() | b.keys())
    if name not in a or name not in b or a[name] != b[name]
  ]


def stored(workdir: str | os.PathLike, config: Mapping[str, Any]) -> dict[str, Any] | None:
  """The result of a run of `config` in a folder, or None where it is still to be trained there.

  Nothing is written.

  Raises:
    errors.UserError: the folder holds a run of another config, or checkpoints of unknown origin,
      or is no folder, or cannot be named (`files.check_storage_name`).
  """
  workdir = pathlib.Path(workdir)
  files.check_storage_name(workdir.absolute())
  if workdir.exists() and not workdir.is_dir():
    raise errors.UserError(f"{workdir} is a file, not a folder for a run")
  if (workdir / CONFIG).is_file():
    changed = differences(read_config(workdir), config)
    if changed:
      raise errors.UserError(
        f"{workdir} holds a run of another config ({'; '.join(changed)}); "
        "choose another --workdir, or delete that folder"
      )
    return finished(workdir)
  if any((workdir / name).exists() for name in (CHECKPOINTS, RESULT, METRICS)):
    raise errors.UserError(f"{workdir} holds parts of a run but no {CONFIG}; choose another folder")
  return None


def claim(workdir: str | os.PathLike, config: Mapping[str, Any]) -> dict[str, Any] | None:
  """Makes a folder the folder of a run of `config`; returns and raises as `stored`."""
  result, file = stored(workdir, config), pathlib.Path(workdir) / CONFIG
  if not file.is_file():
    files.write_json(file, plain(config))
  return result


@contextlib.contextmanager
def locked(workdir: str | os.PathLike) -> Iterator[None]:
  """Keeps other processes from training in a run's folder; a process that is killed lets go of it.

  Some file systems of clusters have no locks: there it says so and locks nothing.

  Raises:
    errors.UserError: another process trains there.
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
  """The result of the finished run in a folder, or None.

  Raises:
    errors.BadFileError: result.json is there and holds no result (`record.Record.result`).
  """
  file = pathlib.Path(workdir) / RESULT
  if not os.path.lexists(file):
    return None
  result = files.read_json(file)
  if not _is_result(result):
    raise errors.BadFileError(
      file, "is not the result of a run", "what training wrote there; delete it to train on"
    )
  return result


def read_config(workdir: str | os.PathLike) -> dict[str, Any]:
  """The config of the run in a folder, as written.

  Raises:
    errors.BadFileError: it is not there, or is no config.
  """
  file = pathlib.Path(workdir) / CONFIG
  config = files.read_json(file)
  if not isinstance(config, dict):
    raise errors.BadFileError(file, "is not a config", "an object with the fields of one")
  return config


def versions() -> dict[str, str]:
  """The versions of this package and of those that decide what a run computes."""
  found = {"bicross_jax": bicross_jax.__version__}
  for name in _PACKAGES:
    found[name] = importlib.metadata.version(name)
  return found


def _is_result(value):
  """Whether a value is what `record.Record.result` gives, as JSON gives it back."""
  if not isinstance(value, dict) or not isinstance(value.get("metric"), str):
    return False
  number = lambda x: x is None or isinstance(x, (int, float))
  name, best = value["metric"], value.get("best")
  measured = all(
    isinstance(value.get(when), dict)
    and name in value[when]
    and all(map(number, value[when].values()))
    for when in ("before", "after")
  )
  seconds = value.get("seconds")
  return (
    measured
    and isinstance(value.get("steps"), int)
    and isinstance(seconds, dict)
    and all(isinstance(x, (int, float)) for x in seconds.values())
    and (
      best is None
      or isinstance(best, dict)
      and all(isinstance(best.get(k), (int, float)) for k in ("step", "value"))
    )
  )


def _identity(config: Mapping[str, Any]) -> Any:
  """A config without the places of files, which do not make another run."""

  def strip(value):
    if isinstance(value, dict):
      return {name: strip(v) for name, v in value.items() if name != "data_dir"}
    return value

  found = strip(plain(config))
  found.pop("file", None)
  return found


def _leaves(config: Mapping[str, Any]) -> dict[str, Any]:
  """Dotted name -> value of every field that tells a run from others."""
  leaf = lambda node: not (isinstance(node, dict) and node)
  return {
    jax.tree_util.keystr(path, simple=True, separator="."): value
    for path, value in jax.tree_util.tree_leaves_with_path(_identity(config), is_leaf=leaf)
  }
