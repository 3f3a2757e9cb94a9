"""What a trained network is tested on, and how: of its config, another one, and the command line."""

from collections.abc import Sequence
import copy
from typing import Any, NamedTuple

import ml_collections

from bicross_jax import errors, tasks
from bicross_jax.config import check as checks
from bicross_jax.config import grammar, rules, sections
from bicross_jax.names import nearest

ConfigDict = ml_collections.ConfigDict
CHANGES = "config."  # of the network's own config


class Test(NamedTuple):
  """What a network is tested on, and how it is judged.

  Attributes:
    section: name of the config's section with the data.
    data: that section.
    protocol: of the task.
  """

  section: str
  data: ConfigDict
  protocol: Any


def test_config(
  config: ConfigDict,
  other: ConfigDict | None = None,
  *,
  evaluation: str = "",
  protocol: str = "",
  overrides: Sequence[str] = (),
) -> Test:
  """What a trained network is tested on, and how.

  Args:
    config: of the checkpoint.
    other: a config to take data and protocol from, or None.
    evaluation: an entry of `evals`; "": the one that `test` names.
    protocol: a published one of the task, by name; "": that of the entry.
    overrides: "data.key=value" and "eval.key=value" texts, of the data and of the protocol.

  Raises:
    errors.UserError: an unknown entry, protocol, field or value, or a config of another task.
  """
  task = tasks.create(config.task)
  source = config if other is None else other
  if source.task != config.task:
    raise errors.UserError(f"the network is of task {config.task}, the config of {source.task}")
  name = evaluation or source.test
  if name not in source.evals:
    raise errors.UserError(f"the config has no evals.{name}{nearest(name, source.evals)}")
  entry = source.evals[name]
  judged = task.protocol(**entry.protocol)._asdict()  # with the fields that it leaves out
  if protocol:
    if protocol not in task.protocols:
      raise errors.UserError(
        f"task {task.name} has no protocol {protocol!r}{nearest(protocol, task.protocols)}"
      )
    judged = task.protocols[protocol]._asdict()
  made = ConfigDict({"eval": judged})
  made.data = _every_field(source[entry.data])
  for item in overrides:
    grammar.override(made, item)
  for field, value in checks.flatten(made):
    rule = rules.find(rules.SHARED, field)
    problem = rules.wrong(rule, value) if rule else None
    if problem:
      raise errors.UserError(f"{field} is {value!r}: {problem}")
  found = task.protocol(**made.eval)
  task.check(found)
  return Test(entry.data, made.data, found)


def apart(items: Sequence[str]) -> tuple[list[str], list[str]]:
  """Texts "key=value" of a test: (what changes the network's own config, what the data and the protocol)."""
  changes = [item.removeprefix(CHANGES) for item in items if item.startswith(CHANGES)]
  return changes, [item for item in items if not item.startswith(CHANGES)]


def _every_field(section: ConfigDict) -> ConfigDict:
  """A copy of a data section with every field that one can have: another set may be named in it."""
  out = copy.deepcopy(section)
  with out.unlocked():
    for other in (sections.world(), sections.recordings("", "", 0, 0)):
      for name in set(other) - set(out):
        out[name] = other[name]
  return out


def with_truth(where: Test, task: tasks.Task, inputs: Sequence[str]) -> Test:
  """The test with the truth among the fields that are read, which a set may not give unasked.

  Args:
    where: on what data.
    task: whose truth is meant.
    inputs: fields that the network reads.
  """
  from bicross_jax.data import sets

  held = sets.get(where.data.name).fields(where.data)
  if set(task.truth) <= set(held):
    return where
  data = copy.deepcopy(where.data)
  data.sensors = (*(name for name in inputs if name in held), *task.truth)
  return where._replace(data=data)
