"""The grammar of configs: `configs/bicross.py:stage,scenario,key=value` and `--config.key=value`.

Every value is read by the type of the field it replaces, so that a wrong name or a wrong type is
an error with the nearest right ones before anything is run.
"""

from collections.abc import Iterable, Mapping, Sequence
import copy
import difflib
import importlib.util
import pathlib
import re
from typing import NamedTuple

import ml_collections

from bicross_jax import errors

ConfigDict = ml_collections.ConfigDict
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(steps?|epochs?)?")


class Row(NamedTuple):
  """One row of a table of experiments.

  Attributes:
    config: what is trained; the table sets its seed.
    test: fields of `data` and `eval` that differ in the test, ("data.domain=foggy", ...).
    against: the label of the row this one is compared with, or "".
  """

  config: ConfigDict
  test: Sequence[str] = ()
  against: str = ""


class Table(NamedTuple):
  """A table of experiments: its name, its title, and rows by label, in order."""

  name: str
  title: str
  rows: Mapping[str, Row]


def load(spec: str, overrides: Iterable[str] = ()) -> ConfigDict:
  """The config that `FILE[:ARG]` and a list of `key=value` name.

  Args:
    spec: path of a config file, after a colon the argument of its `get_config`.
    overrides: "train.steps=200" and the like, applied in order.

  Raises:
    errors.UserError: no such file, or an unknown stage, scenario, key or value.
  """
  path, _, arg = spec.partition(":")
  config = _config_module(path).get_config(arg)
  for item in overrides:
    override(config, item)
  return config


def load_table(spec: str, overrides: Iterable[str] = ()) -> "Table":
  """The table that `FILE:NAME` names, one of `get_tables()` of a config file.

  Args:
    spec: path of a config file and the table's name.
    overrides: "train.steps=20" and the like, set in every row's config.

  Raises:
    errors.UserError: no such file or table, or a wrong override.
  """
  path, _, name = spec.partition(":")
  module = _config_module(path)
  tables = module.get_tables() if hasattr(module, "get_tables") else {}
  if name not in tables:
    raise errors.UserError(f"{path} has no table {name!r}{_nearest(name, tables)}")
  for row in tables[name].rows.values():
    for item in overrides:
      override(row.config, item)
  return tables[name]


def _config_module(path: str):
  file = pathlib.Path(path)
  if not file.is_file():
    folder = file.parent if file.parent.is_dir() else pathlib.Path("configs")
    found = sorted(str(p) for p in folder.glob("*.py"))
    raise errors.UserError(f"no config file {path}{_nearest(path, found)}")
  module_spec = importlib.util.spec_from_file_location(f"bicross_config_{file.stem}", file)
  module = importlib.util.module_from_spec(module_spec)
  module_spec.loader.exec_module(module)
  return module


def from_flags(spec: str, flags: Sequence[str], prefix: str = "--config.") -> ConfigDict:
  """The config of `--config SPEC` and of what else stood on the command line.

  Args:
    spec: value of `--config`.
    flags: the remaining arguments; each must be `--config.key=value`.
    prefix: how such an argument begins.

  Raises:
    errors.UserError: another argument, or an unknown field or value.
  """
  return load(spec, overrides_of(flags, prefix))


def overrides_of(flags: Sequence[str], prefix: str) -> list[str]:
  """["key=value", ...] of command line arguments that must all begin with `prefix`."""
  for flag in flags:
    if not (flag.startswith(prefix) and "=" in flag):
      raise errors.UserError(f"unknown argument {flag!r}; fields are set as {prefix}key=value")
  return [flag[len(prefix) :] for flag in flags]


def split_arg(
  arg: str, stages: Sequence[str], scenarios: Sequence[str]
) -> tuple[str, str, list[str]]:
  """Splits `stage[,scenario][,key=value...]`.

  The first of `stages` and of `scenarios` is the default. A comma inside a value belongs to it
  as long as what follows holds no "=".

  Returns:
    (stage, scenario, ["key=value", ...]).
  """
  words, overrides = [], []
  for part in filter(None, (p.strip() for p in arg.split(","))):
    if "=" in part:
      overrides.append(part)
    elif overrides:
      overrides[-1] += "," + part
    else:
      words.append(part)
  if len(words) > 2:
    raise errors.UserError(
      f"too many words in config argument {arg!r}: stage[,scenario][,key=value]"
    )
  stage = words[0] if words else stages[0]
  if stage not in stages:
    raise errors.UserError(f"unknown stage {stage!r}{_nearest(stage, stages)}")
  scenario = words[1] if len(words) > 1 else scenarios[0]
  if scenario not in scenarios:
    raise errors.UserError(f"unknown scenario {scenario!r}{_nearest(scenario, scenarios)}")
  return stage, scenario, overrides


def override(config: ConfigDict, item: str) -> None:
  """Sets one field from text, `train.steps=200`, by the type of the field.

  Raises:
    errors.UserError: no such field, or a value of another type.
  """
  key, sep, text = item.partition("=")
  if not sep:
    raise errors.UserError(f"{item!r} is not key=value")
  node, names = config, key.split(".")
  for depth, name in enumerate(names):
    if not isinstance(node, ConfigDict) or name not in node:
      fields = [k for k, _ in flatten(config)]
      where = ".".join(names[: depth + 1])
      raise errors.UserError(f"unknown config field {where!r}{_nearest(key, fields)}")
    parent, node = node, (node[name] if depth < len(names) - 1 else None)
  kind = parent.get_type(names[-1])
  if kind is ConfigDict:
    raise errors.UserError(f"config field {key!r} is a section; set one of its fields")
  parent[names[-1]] = _parse(key, text, kind, parent[names[-1]])


def flatten(config: ConfigDict, prefix: str = "") -> list[tuple[str, object]]:
  """Every leaf of a config as (dotted name, value), in order."""
  out = []
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      out += flatten(value, f"{prefix}{name}.")
    else:
      out.append((prefix + name, value))
  return out


def resolve_durations(config: ConfigDict, examples: int) -> ConfigDict:
  """A copy whose `train` section counts in steps.

  Args:
    config: durations in `config.train` are texts, "30 epochs", "500 steps" or "500".
    examples: number of training examples in one epoch.

  Returns:
    A copy of `config` with integers there.
  """
  out = copy.deepcopy(config)
  per_epoch = max(1, examples // config.data.batch_size)
  with out.ignore_type():
    for name in ("steps", "log_every", "validate_every", "checkpoint_every"):
      text = str(out.train[name])
      match = _DURATION.fullmatch(text.strip())
      if not match:
        raise errors.UserError(f"train.{name}={text!r} is no duration such as '500' or '30 epochs'")
      count = float(match[1])
      steps = round(count * per_epoch) if (match[2] or "").startswith("epoch") else round(count)
      out.train[name] = max(1, steps)
  return out


def _parse(key: str, text: str, kind: type, current):
  if kind is bool:
    if text.lower() in ("true", "1", "yes"):
      return True
    if text.lower() in ("false", "0", "no"):
      return False
    raise errors.UserError(f"config field {key!r} is true or false, not {text!r}")
  if kind is tuple:
    parts = [p for p in text.strip("()").split(",") if p.strip()]
    each = type(current[0]) if current else str
    return tuple(_parse(key, p.strip(), each, None) for p in parts)
  if kind in (int, float, str):
    try:
      return kind(text)
    except ValueError:
      raise errors.UserError(
        f"config field {key!r} is of type {kind.__name__}, not {text!r}"
      ) from None
  raise errors.UserError(f"config field {key!r} cannot be set from text")


def _nearest(name: str, names: Iterable[str]) -> str:
  names = list(names)
  close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
  if not close:
    leaf = name.rsplit(".", 1)[-1]
    close = [n for n in names if n.rsplit(".", 1)[-1] == leaf][:3]
  shown = close or (names if len(names) <= 12 else [])
  return (
    f"; did you mean {' or '.join(shown)}?"
    if close
    else f"; choose from {', '.join(shown)}"
    if shown
    else ""
  )
