"""The grammar of configs: `configs/bicross.py:stage,scenario,key=value` and `--config.key=value`.

Every value is read by the type of the field it replaces, so that a wrong name or a wrong type is
an error with the nearest right ones before anything is run.
"""

from collections.abc import Iterable, Mapping, Sequence
import copy
import importlib.util
import inspect
import pathlib
from typing import Any

import ml_collections
from ml_collections import ConfigDict

from bicross_jax import errors
from bicross_jax.config import check as checks
from bicross_jax.config import rules
from bicross_jax.names import nearest

# What the code of a config file may raise; a person reads it in one line.
_RAISED = (
  ArithmeticError,
  AssertionError,
  AttributeError,
  ImportError,
  LookupError,
  NameError,
  OSError,
  RuntimeError,
  SyntaxError,
  TypeError,
  ValueError,
)
_DURATIONS = ("steps", "log_every", "validate_every", "checkpoint_every")


def load(spec: str, overrides: Iterable[str] = ()) -> ConfigDict:
  """The config that `FILE[:ARG]` and a list of `key=value` name, checked whole.

  Args:
    spec: path of a config file, after a colon the argument of its `get_config`.
    overrides: "train.steps=200" and the like, applied in order.

  Raises:
    errors.UserError: no such file, an unknown stage, scenario or key, or a config that cannot be run.
  """
  path, _, arg = spec.partition(":")
  config = _made(path, arg)
  for item in overrides:
    override(config, item)
  check(config)
  return config


def check(config: ConfigDict, children: Sequence[tuple] = ()) -> None:
  """Checks a config that came from a config file, and those of the stages it starts from.

  Naming a config file is trust in the recipe that it names.

  Args:
    config: which.
    children: (file, stage, scenario) of the stages that start from it.

  Raises:
    errors.UserError: as `config.check.check`; or a stage that starts from itself.
  """
  checks.check(config, plugins=trusted(config))
  here = (config.file, config.stage, config.scenario)
  if here in children:
    raise errors.UserError(f"stage {config.stage} of {config.file} starts from itself")
  for role in config.get("parents", {}):
    made = parent(config, role)
    if made is not None:
      check(made, (*children, here))


def trusted(config: ConfigDict) -> tuple[str, ...]:
  """The module of the recipe of a config that came from a config file."""
  return (str(config.get("recipe", "")).partition(":")[0],)


def parent(config: ConfigDict, role: str) -> ConfigDict | None:
  """The config of the stage that `config.parents.<role>` names, or None where it names none.

  It is that stage's own config, in which the fields that `follow` lists ("data", all of a section;
  "-data.limit", but not that one) have the child's values, and then `change` ("key=value") is made.

  Raises:
    errors.UserError: no such file or stage, or a wrong change.
  """
  section = config.parents[role]
  if section.stage is None or section.checkpoint is not None:
    return None
  path = section.get("file") or config.file
  out = _made(path, f"{section.stage},{section.get('scenario') or config.scenario}")
  here = dict(checks.flatten(config))
  for name, _ in list(checks.flatten(out)):
    if name in here and _follows(name, section.get("follow", ())):
      node, leaf = _node(out, name)
      node[leaf] = here[name]
  for item in section.get("change", ()):
    try:
      override(out, item)
    except errors.UserError as error:
      raise errors.UserError(f"parents.{role}: {error}") from error
  return out


def _follows(name, patterns) -> bool:
  """Whether the longest of some patterns that a name lies under has no minus."""
  found = [p for p in patterns if f"{name}.".startswith(f"{p.removeprefix('-')}.")]
  return bool(found) and not max(found, key=lambda p: len(p.removeprefix("-"))).startswith("-")


def _node(config, name):
  *sections, leaf = name.split(".")
  for word in sections:
    config = config[word]
  return config, leaf


def choices(path: str) -> tuple[Sequence[str], Sequence[str]]:
  """(stages, scenarios) of a config file: its `STAGES` and `SCENARIOS`.

  Raises:
    errors.UserError: no such file, or one that does not say.
  """
  module = module_of(path)
  for name in ("STAGES", "SCENARIOS"):
    if not hasattr(module, name):
      raise errors.UserError(f"{path} does not list its {name.lower()} (no {name} in it)")
  return tuple(module.STAGES), tuple(module.SCENARIOS)


def _made(path: str, arg: str) -> ConfigDict:
  """What `get_config(arg)` of a config file gives, with the file's path in it."""
  module = module_of(path)
  if not callable(getattr(module, "get_config", None)):
    raise errors.UserError(f"{path} has no function get_config(arg)")
  try:
    config = module.get_config(arg)
  except errors.UserError:
    raise
  except _RAISED as error:
    raise errors.UserError(f"{path}: {_told(error)}") from error
  if not isinstance(config, ConfigDict):
    raise errors.UserError(
      f"{path}: get_config({arg!r}) gave {type(config).__name__}, not an ml_collections ConfigDict"
    )
  with config.unlocked():
    config.file = path
  return config


def module_of(path: str) -> Any:
  """The module of a config file.

  Raises:
    errors.UserError: there is no such file, or it cannot be run; the message says where it stops.
  """
  file = pathlib.Path(path)
  try:
    there = file.is_file()
  except OSError as error:
    raise errors.BadFileError(path, error.strerror or str(error)) from error
  if not there:
    folder = file.parent if file.parent.is_dir() else pathlib.Path("configs")
    found = sorted(str(p) for p in folder.glob("*.py"))
    raise errors.UserError(f"no config file {path}{nearest(path, found)}")
  spec = importlib.util.spec_from_file_location(f"bicross_config_{file.stem}", file)
  if spec is None or spec.loader is None:
    raise errors.UserError(f"{path} is no Python file")
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except errors.UserError:
    raise
  except _RAISED as error:
    raise errors.UserError(f"{path}: {_told(error)}") from error
  return module


def _told(error: BaseException) -> str:
  """One line on an error in a config file."""
  line = getattr(error, "lineno", None)
  if line is None and error.__traceback__ is not None:
    line = inspect.getinnerframes(error.__traceback__)[-1].lineno
  words = " ".join(str(error).split()) or "no message"
  return f"line {line}: {type(error).__name__}: {words}"


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
    raise errors.UserError(f"unknown stage {stage!r}{nearest(stage, stages)}")
  scenario = words[1] if len(words) > 1 else scenarios[0]
  if scenario not in scenarios:
    raise errors.UserError(f"unknown scenario {scenario!r}{nearest(scenario, scenarios)}")
  return stage, scenario, overrides


def override(config: ConfigDict, item: str) -> None:
  """Sets one field from text, `train.steps=200`, by the type of the field.

  Below `parents.<role>` stand the fields of that stage's own config too:
  `parents.teacher.train.steps=200` is added to `parents.teacher.change`.

  Raises:
    errors.UserError: no such field, or a value of another type.
  """
  key, sep, text = item.partition("=")
  if not sep:
    raise errors.UserError(f"{item!r} is not key=value")
  words = key.split(".")
  if words[0] == "parents" and len(words) > 2 and words[1] in config.get("parents", {}):
    section = config.parents[words[1]]
    if words[2] not in section:
      section.change = (*section.change, f"{'.'.join(words[2:])}={text}")
      return
  node = config
  for depth, name in enumerate(words):
    if not isinstance(node, ConfigDict) or name not in node:
      fields = [k for k, _ in checks.flatten(config)]
      where = ".".join(words[: depth + 1])
      raise errors.UserError(f"unknown config field {where!r}{nearest(key, fields)}")
    above, node = node, (node[name] if depth < len(words) - 1 else None)
  kind = above.get_type(words[-1])
  if kind is ConfigDict:
    raise errors.UserError(f"config field {key!r} is a section; set one of its fields")
  above[words[-1]] = _parse(key, text, kind, above[words[-1]])


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
    for name in _DURATIONS:
      match = rules.DURATION.fullmatch(str(out.train[name]).strip())
      if match is None:
        raise errors.UserError(f"train.{name}={out.train[name]!r} is no duration")
      count = float(match[1])
      steps = round(count * per_epoch) if (match[2] or "").startswith("epoch") else round(count)
      out.train[name] = max(1, steps)
  return out


def from_plain(plain: Mapping[str, Any]) -> ConfigDict:
  """A config out of the JSON of a checkpoint, in which every field has its type again.

  Lists become tuples; a field that is null takes a text or, by its rule, a number.
  """
  config = ConfigDict(_tuples(plain))
  for name, value in list(checks.flatten(config)):
    if value is None:
      rule = rules.find(rules.SHARED, name)
      node, leaf = _node(config, name)
      del node[leaf]
      node[leaf] = ml_collections.config_dict.placeholder(rule.kind if rule else str)
  return config


def _tuples(value):
  if isinstance(value, Mapping):
    return {name: _tuples(v) for name, v in value.items()}
  return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _parse(key: str, text: str, kind: type, current):
  if kind is bool:
    if text.lower() in ("true", "1", "yes"):
      return True
    if text.lower() in ("false", "0", "no"):
      return False
    raise errors.UserError(f"config field {key!r} is true or false, not {text!r}")
  if kind is tuple:
    parts = [p for p in text.strip("()").split(",") if p.strip()]
    numbers = bool(parts) and all(p.strip().isdecimal() for p in parts)
    each = type(current[0]) if current else int if numbers else str
    return tuple(_parse(key, p.strip(), each, None) for p in parts)
  if kind in (int, float, str):
    try:
      return kind(text)
    except ValueError:
      raise errors.UserError(
        f"config field {key!r} is of type {kind.__name__}, not {text!r}"
      ) from None
  raise errors.UserError(f"config field {key!r} cannot be set from text")
