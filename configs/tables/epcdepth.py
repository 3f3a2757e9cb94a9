"""The table of EPCDepth: `python scripts/table.py --table configs/epcdepth.py:ingredients`.

What each ingredient of the paper adds to the ones before, on the same scenes.
"""

import pathlib

from bicross_jax.config import grammar, tables

_FOLDER = pathlib.Path(__file__).parent.parent
COLUMNS = ("abs_rel", "rmse", "d1")
_HINTS = "loss.hints=True,data.sensors=rgb,rgb_right,depth,baseline,intrinsics,depth_hint"


def get_tables() -> dict[str, tables.Table]:
  """The tables that `scripts/table.py --table configs/epcdepth.py:NAME` can make."""
  ingredients = {
    "baseline": ("model.decoder=plain", "loss.distillation=0", "augment.graft=none"),
    "+ full scale": ("loss.distillation=0", "augment.graft=none"),
    "+ distillation": ("augment.graft=none",),
    "+ graft": (),
    "+ hints": (_HINTS,),
  }
  rows, before = {}, ""
  for words, changes in ingredients.items():
    rows[words] = tables.Row(_config(",".join(("tiny", *changes))), against=before)
    before = words
  title = "EPCDepth's ingredients on the synthetic world, domain clear, without labels"
  return {"ingredients": tables.Table("ingredients", title, rows, columns=COLUMNS)}


def _config(arg):
  return grammar.load(f"{_FOLDER / 'epcdepth'}.py:{arg}")
