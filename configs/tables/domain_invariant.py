"""The table of Akada et al.: `python scripts/table.py --table configs/domain_invariant.py:adaptation`.

What each stage is worth where there are no labels, between a network that has seen the source alone and one that has
labels of the target.
"""

import pathlib

from bicross_jax.config import grammar, tables

_FOLDER = pathlib.Path(__file__).parent.parent
COLUMNS = ("abs_rel", "rmse", "d1")
TARGET = "night"


def get_tables() -> dict[str, tables.Table]:
  """The tables that `scripts/table.py --table configs/domain_invariant.py:NAME` can make."""
  rows = {
    "source only": tables.Row(_config("source"), (f"data.domain={TARGET}",)),
    "+ translation": tables.Row(_config("translation"), against="source only"),
    "fine-tuned without SSRL": tables.Row(
      _config("finetune,parents.task.stage=source"), against="+ translation"
    ),
    "+ SSRL": tables.Row(_config("finetune"), against="fine-tuned without SSRL"),
    "supervised on target": tables.Row(_config(f"source,data.domain={TARGET}"), against="+ SSRL"),
  }
  title = f"Akada et al.'s stages on the synthetic world, clear -> {TARGET}, tested on {TARGET}"
  return {"adaptation": tables.Table("adaptation", title, rows, columns=COLUMNS)}


def _config(arg):
  return grammar.load(f"{_FOLDER / 'domain_invariant'}.py:{arg}")
