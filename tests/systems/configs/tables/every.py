"""A table of one row for every stage of every system, which serves it with what is trained."""

from bicross_jax.config import grammar, tables
from tests.scripts.conftest import STAGES


def get_tables():
  return {
    name: tables.Table(name, f"Stage {name}", {"whole": tables.Row(grammar.load(stage.config))})
    for name, stage in STAGES.items()
  }
