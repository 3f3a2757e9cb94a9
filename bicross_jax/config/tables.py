"""Tables of experiments: rows of configs, which a system lists beside its config file."""

from collections.abc import Iterable, Mapping, Sequence
import pathlib
from typing import NamedTuple

import ml_collections

from bicross_jax import errors
from bicross_jax.config import grammar
from bicross_jax.names import nearest


class Row(NamedTuple):
  """One row of a table of experiments.

  Attributes:
    config: what is trained; the table sets its seed.
    test: fields that differ in the test, ("data.domain=foggy", ...), as `scripts/eval.py` takes them.
    against: the label of the row this one is compared with, or "".
  """

  config: ml_collections.ConfigDict
  test: Sequence[str] = ()
  against: str = ""


class Table(NamedTuple):
  """A table of experiments.

  Attributes:
    name, title: of it.
    rows: by label, in order.
    columns: the metrics that it shows, the compared one first; (): all of the task.
  """

  name: str
  title: str
  rows: Mapping[str, Row]
  columns: Sequence[str] = ()


def load(spec: str, overrides: Iterable[str] = ()) -> Table:
  """The table that `configs/SYSTEM.py:NAME` names.

  The tables of a config file stand in `get_tables()` of the file of that name in the folder
  `tables` beside it.

  Args:
    spec: path of a config file and the table's name.
    overrides: "train.steps=20" and the like, set in every row's config.

  Raises:
    errors.UserError: no such file or table, rows that are no configs, or a wrong override.
  """
  path, _, name = spec.partition(":")
  grammar.module_of(path)  # so that a wrong path is told as such
  file = pathlib.Path(path)
  module = grammar.module_of(str(file.parent / "tables" / file.name))
  if not callable(getattr(module, "get_tables", None)):
    raise errors.UserError(f"{path} has no tables (no get_tables() in {module.__file__})")
  tables = module.get_tables()
  if not isinstance(tables, Mapping):
    raise errors.UserError(f"{module.__file__}: get_tables() gave no {{name: table}}")
  if name not in tables:
    raise errors.UserError(f"{path} has no table {name!r}{nearest(name, tables)}")
  table = tables[name]
  if not isinstance(table, Table) or not table.rows:
    raise errors.UserError(f"{module.__file__}: {name!r} is no table with rows")
  for label, row in table.rows.items():
    if not isinstance(row, Row):
      raise errors.UserError(f"{module.__file__}: row {label!r} of table {name!r} is no Row")
    if row.against and row.against not in table.rows:
      raise errors.UserError(
        f"{module.__file__}: row {label!r} is compared with {row.against!r}, which is no row"
      )
    for item in overrides:
      grammar.override(row.config, item)
    grammar.check(row.config)
  return table
