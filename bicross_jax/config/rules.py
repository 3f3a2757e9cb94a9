"""What the fields of a config may be: a rule for every field, in one table for all shared sections.

A system adds a table of its own (`RULES` in the module `rules` beside its recipes, or in the module
of a plug-in's recipe); keys are dotted names, in which `*` stands for any one word.
"""

from collections.abc import Callable, Mapping
import math
import re
from typing import Any, NamedTuple

from bicross_jax.names import nearest

DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(steps?|epochs?)?")
SEEDS = 2**31  # a seed is a whole number below that
SIDE = 16384  # pixels; no picture is higher or wider


class Rule(NamedTuple):
  """What one field may be.

  Attributes:
    kind: its Python type.
    problem: (value) -> what is wrong with it, in words that go on after "config field 'x' is 3: ",
      or None.
    optional: whether it may be None.
    needed: whether a config that has its section must have it.
  """

  kind: type
  problem: Callable[[Any], str | None]
  optional: bool = False
  needed: bool = True


Rules = Mapping[str, Rule]


def whole(low: int, high: int = 10**9, *, multiple: int = 1, optional: bool = False) -> Rule:
  """A whole number in low..high that a number divides."""

  def problem(value):
    if not low <= value <= high:
      return f"it must be {low} to {high}"
    return f"it must be a multiple of {multiple}" if value % multiple else None

  return Rule(int, problem, optional)


def number(low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> Rule:
  """A finite number in low..high; `above`: low itself is too low."""

  def problem(value):
    if not math.isfinite(value):
      return "it must be a finite number"
    if value < low or (above and value == low):
      return f"it must be {'above' if above else 'at least'} {low:g}"
    return f"it must be at most {high:g}" if value > high else None

  return Rule(float, problem)


def flag() -> Rule:
  """True or False."""
  return Rule(bool, lambda value: None)


def one_of(*choices: str, optional: bool = False) -> Rule:
  """One of some words."""

  def problem(value):
    return None if value in choices else f"choose from {', '.join(choices)}"

  return Rule(str, problem, optional)


def text(pattern: str = r".*", words: str = "", *, optional: bool = False) -> Rule:
  """A text that a pattern matches; `words` say what that is."""

  def problem(value):
    return None if re.fullmatch(pattern, value, re.S) else f"it must be {words}"

  return Rule(str, problem, optional)


def duration() -> Rule:
  """A length of training: "500", "500 steps" or "30 epochs"."""

  def problem(value):
    found = DURATION.fullmatch(value.strip())
    if not found:
      return "it is no duration such as '500' or '30 epochs'"
    count = float(found[1])
    if count <= 0:
      return "it must be more than nothing"
    steps = not (found[2] or "").startswith("epoch")
    return "steps are whole numbers" if steps and count != round(count) else None

  return Rule(str, problem)


def several(each: Rule, least: int = 0) -> Rule:
  """A tuple, every item of which keeps a rule."""

  def problem(value):
    if len(value) < least:
      return f"it must have at least {least}"
    for item in value:
      found = wrong(each, item)
      if found:
        return f"of {item!r}: {found}"
    return None

  return Rule(tuple, problem)


def wrong(rule: Rule, value: Any) -> str | None:
  """What is wrong with a value by a rule, or None."""
  if value is None:
    return None if rule.optional else "it must be set"
  if rule.kind is float and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  if not isinstance(value, rule.kind) or (rule.kind is int and isinstance(value, bool)):
    return f"it must be of type {rule.kind.__name__}, not {type(value).__name__}"
  return rule.problem(value)


_DATA: Rules = {
  "name": text(r"\w+", "the name of a data set"),
  "domain": text(r"\S+", "a domain of the set"),
  "data_dir": text(r".+", "a folder", optional=True),
  "height": whole(1, SIDE),
  "width": whole(1, SIDE),
  "steps": whole(8, 1 << 16, multiple=8),
  "bins": whole(1, 1 << 10),
  "cameras": whole(1, 2),
  "binning": one_of("timestamps", "legacy"),
  "closing": flag(),
  "sensors": several(text(r"\w+", "the name of a field")),
  "baseline": number(0),
  "scenes": whole(0, SEEDS - 1),
  "train": whole(0),
  "validation": whole(0),
  "test": whole(0),
  "limit": whole(0),
  "labelled": whole(0),
  "oversample_labelled": flag(),
  "allow_missing": flag(),
  "parts.*": several(text(r"\S+", "a drive or a frame")),
  "batch_size": whole(1, 1 << 16),
  "flip": flag(),
  "crop": one_of("bottom", "random", "none", "resize", "bicubic"),
  "sequence": whole(0, 1 << 16),
}

_ALL_DATA = ("name", "domain", "height", "width", "batch_size")  # fields that every set has

SHARED: Rules = {
  "system": text(r"\w+", "a word"),
  "stage": text(r"\w+", "a word"),
  "scenario": text(r"\w+", "a word"),
  "recipe": text(r"[\w.]+:create", '"module:create"'),
  "file": text(),
  "seed": whole(0, SEEDS - 1),
  "conv": one_of("fast", "exact"),
  "task": text(r"\w+", "the name of a task"),
  "report": flag(),
  "validate": several(text(r"\w+", "the name of an entry of `evals`"), least=1),
  "test": text(r"\w+", "the name of an entry of `evals`"),
  **{
    f"{section}.{name}": rule._replace(needed=name in _ALL_DATA)
    for section in ("data", "target", "truth")
    for name, rule in _DATA.items()
  },
  **{
    f"train.{name}": duration()
    for name in ("steps", "log_every", "validate_every", "checkpoint_every")
  },
  "evals.*.data": text(r"\w+", "a section of the config"),
  "parents.*.stage": text(r"\w+", "a stage", optional=True),
  "parents.*.scenario": text(r"\w+", "a scenario", optional=True),
  "parents.*.file": text(r".+", "a config file", optional=True),
  "parents.*.checkpoint": text(r".+", "a folder", optional=True),
  "parents.*.follow": several(text(r"-?[\w.]+", "a field or a section")),
  "parents.*.change": several(text(r"[\w.]+=.*", "key=value")),
  "distributed.coordinator": text(optional=True),
  "distributed.processes": whole(1, optional=True),
  "distributed.process": whole(0, optional=True),
}

# Of a system whose section `optim` is `train.optim.single`'s.
ONE_RATE: Rules = {
  "optim.lr": number(0),
  "optim.schedule": one_of("constant", "cosine", "step"),
  "optim.warmup": whole(0),
  "optim.milestones": several(number(0, 1)),
  "optim.gamma": number(0, above=True),
  "optim.clip_norm": number(0),
}


def find(table: Rules, name: str) -> Rule | None:
  """The rule of a dotted name, in which any word of the table may be `*`."""
  if name in table:
    return table[name]
  words = name.split(".")
  for pattern, rule in table.items():
    if "*" not in pattern:
      continue
    parts = pattern.split(".")
    if len(parts) == len(words) and all(a in ("*", b) for a, b in zip(parts, words, strict=True)):
      return rule
  return None


def choice(name: str, value: str, choices) -> str | None:
  """A message about a value that is none of some choices, or None."""
  choices = list(choices)
  return (
    None if value in choices else f"config field {name!r} is {value!r}{nearest(value, choices)}"
  )
