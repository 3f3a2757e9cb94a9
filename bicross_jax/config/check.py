"""A config is checked whole, before anything heavy, wherever it came from.

Every field against its rule, then what must fit together: first what all systems share, then what
the system's own module `rules` says in `check(config)`.
"""

from collections.abc import Iterator, Mapping, Sequence
import importlib
import importlib.util
from typing import Any

from ml_collections import ConfigDict

from bicross_jax import errors, tasks
from bicross_jax.config import rules
from bicross_jax.names import nearest

PACKAGE = "bicross_jax.recipes."
_NEEDED = (
  "system",
  "stage",
  "scenario",
  "recipe",
  "seed",
  "task",
  "data",
  "train",
  "evals",
  "test",
)


def check(config: ConfigDict, plugins: Sequence[str] = ()) -> ConfigDict:
  """The config itself, when it can be run.

  Args:
    config: of any system.
    plugins: modules outside this package whose recipes it may name.

  Raises:
    errors.UserError: a field of another type or out of its range, fields that do not fit each
      other, or a recipe that may not be run. One line, which names the field.
  """
  lacking = [name for name in _NEEDED if name not in config]
  if lacking:
    raise errors.UserError(f"the config has no {', '.join(lacking)}")
  module = recipe_module(config, plugins)
  table = {**rules.SHARED, **_of_task(config), **getattr(module, "RULES", {})}
  present = dict(flatten(config))
  for name, rule in table.items():
    section, dot, _ = name.partition(".")
    if dot and "*" not in name and rule.needed and section in config and name not in present:
      raise errors.UserError(f"the config has no field {name!r}")
  for name, value in present.items():
    rule = rules.find(table, name)
    problem = rules.wrong(rule, value) if rule else _plain(value)
    if problem:
      raise errors.UserError(f"config field {name!r} is {value!r}: {problem}")
  _check_together(config)
  own = getattr(module, "check", None)
  if own is not None:
    own(config)
  return config


def recipe_module(config: ConfigDict, plugins: Sequence[str] = ()) -> Any:
  """The module with a system's rules: `rules` beside its recipes, or the plug-in's own module.

  Nothing else is imported: what a config or a checkpoint names is run only if it is a recipe of
  this package or of a module that the person has named.

  Raises:
    errors.UserError: the recipe is none of those, or is not there.
  """
  name, _, function = str(config.recipe).partition(":")
  if function != "create" or not name:
    raise errors.UserError(
      f"config field 'recipe' is {config.recipe!r}: it must be \"module:create\""
    )
  if name.startswith(PACKAGE):
    if _spec(name) is None:
      raise errors.UserError(f"recipe={config.recipe!r}: there is no module {name}")
    beside = f"{name.rpartition('.')[0]}.rules"
    return importlib.import_module(beside) if _spec(beside) else None
  if name not in plugins:
    raise errors.UserError(
      f"recipe={config.recipe!r} is no recipe of this package, and a checkpoint cannot make code "
      f"run: where you trust {name}, say so with --plugin {name}"
    )
  if _spec(name) is None:
    raise errors.UserError(f"recipe={config.recipe!r}: there is no module {name}")
  return importlib.import_module(name)


def _spec(name):
  try:
    return importlib.util.find_spec(name)
  except ModuleNotFoundError:  # a package above it is not there
    return None


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
  """Every leaf of a config, or of its plain form, as (dotted name, value), in order."""
  for name, value in config.items():
    if isinstance(value, Mapping | ConfigDict):
      yield from flatten(value, f"{prefix}{name}.")
    else:
      yield prefix + name, value


def _of_task(config) -> rules.Rules:
  """Rules of the protocols: every field of the task's, of the type of its default."""
  task = tasks.create(config.task) if isinstance(config.task, str) else None
  if task is None:
    return {}
  defaults = task.protocol._field_defaults
  kinds = {name: type(defaults[name]) for name in task.protocol._fields}
  plain = lambda kind: rules.Rule(kind, lambda value: None)
  return {f"evals.*.protocol.{name}": plain(kind) for name, kind in kinds.items()}


def _plain(value) -> str | None:
  """What is wrong with a field that has no rule of its own."""
  if value is None or isinstance(value, bool | int | str | tuple):
    return None
  if isinstance(value, float):
    return rules.wrong(rules.number(), value)
  return f"a {type(value).__name__} is no value of a config"


def _check_together(config) -> None:
  task = tasks.create(config.task)
  for name, section in config.evals.items():
    where = f"evals.{name}"
    if not isinstance(section, ConfigDict) or not {"data", "protocol"} <= set(section):
      raise errors.UserError(f"config section {where!r} needs the fields data and protocol")
    if section.data not in config or not isinstance(config[section.data], ConfigDict):
      raise errors.UserError(f"config field '{where}.data' is {section.data!r}: no such section")
    unknown = set(section.protocol) - set(task.protocol._fields)
    if unknown:
      word = sorted(unknown)[0]
      raise errors.UserError(
        f"unknown config field '{where}.protocol.{word}'{nearest(word, task.protocol._fields)}"
      )
    try:
      task.check(task.protocol(**section.protocol))
    except errors.UserError as error:
      raise errors.UserError(f"config section '{where}.protocol': {error}") from error
  for name in (*config.get("validate", ()), config.test):
    if name not in config.evals:
      raise errors.UserError(
        f"there is no config section 'evals.{name}'{nearest(name, config.evals)}"
      )
  for role, parent in config.get("parents", {}).items():
    if parent.get("stage") is None and parent.get("checkpoint") is None and parent.get("change"):
      raise errors.UserError(
        f"config section 'parents.{role}' names no stage that could be changed"
      )
