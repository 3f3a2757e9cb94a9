"""EvDistill's table in its smallest form: rows that test a network on what it was not trained on."""

import json

import numpy as np
import pytest

from bicross_jax.config import grammar, tables
from tests.scripts.conftest import ROOT, script

FILE = f"{ROOT}/configs/evdistill.py"
_TABLE = f"""
from bicross_jax.config import grammar

made = grammar.module_of({str(ROOT / "configs/tables/evdistill.py")!r})


def get_tables():
  def smoke(arg):
    stage, comma, rest = arg.partition(",")
    return grammar.load({FILE!r} + ":" + stage + ",smoke" + comma + rest)

  made._config = smoke
  table = made.get_tables()["distillation"]
  few = dict(list(table.rows.items())[:2])
  return {{"whole": table._replace(name="whole"), "few": table._replace(name="few", rows=few)}}
"""


@pytest.fixture
def small(tmp_path):
  """A file with the table in smoke, as "whole", and its first two rows as "few"."""
  (tmp_path / "tables").mkdir()
  (tmp_path / "mine.py").write_text("")
  (tmp_path / "tables" / "mine.py").write_text(_TABLE)
  return tmp_path / "mine.py"


def test_rows_are_what_they_are_called():
  table = tables.load(f"{FILE}:distillation")
  configs = {label: row.config for label, row in table.rows.items()}
  on_events = "config.input.modality=events"
  assert table.columns == ("miou", "accuracy") and len(configs) == 6
  assert [label for label, row in table.rows.items() if on_events in row.test] == [
    "teacher on event images"
  ]
  assert not configs["student without BMR"].bmr.on and configs["student, label-free"].bmr.on
  regimes = {c.regime for label, c in configs.items() if label.startswith("student")}
  assert regimes == {"label_free", "with_event_labels"}
  for label, row in table.rows.items():  # one set of scenes tests them all, and trained no teacher
    config = configs[label]
    section = config[config.evals[config.test].data]
    assert "data.scenes=1" in row.test or section.scenes == 1
    assert (section.test, section.domain) == (60, "clear")
  for label in ("teacher on frames", "student, label-free"):
    assert configs[label].data.scenes == 0
  assert grammar.parent(configs["student, label-free"], "teacher").data.scenes == 0


def test_a_row_may_change_the_networks_own_config(small, trained, place, tmp_path):
  """As eval.py does with the same words."""
  folder = trained("evdistill-teacher")
  output = tmp_path / "out"
  table = ["--table", f"{small}:few", "--seeds", "0", "--output", str(output)]
  assert script("table").main(table) == 0
  cells = json.loads((output / "table.json").read_text())["rows"]
  for label, words in (
    ("teacher on frames", ("--data.scenes=1",)),
    (
      "teacher on event images",
      ("--data.scenes=1", "--config.input.modality=events", "--data.sensors=event_image,label"),
    ),
  ):
    argv = ["--checkpoint", str(folder), *words, "--no_baselines", "--output", str(tmp_path / "e")]
    assert script("eval").main(argv) == 0
    images = json.loads((tmp_path / "e" / "images.json").read_text())
    for column in ("miou", "accuracy"):
      mean = np.mean([row[column] for row in images])
      assert cells[label][column]["value"] == pytest.approx(mean, rel=1e-6)
  assert cells["teacher on frames"]["miou"] != cells["teacher on event images"]["miou"]


@pytest.mark.slow
def test_the_whole_table(small, trained, place, tmp_path):
  """Every row trains and is tested, and what rows share is trained once."""
  for stage in ("evdistill-student", "evdistill-supervised"):
    trained(stage)
  before = set(place.glob("runs/evdistill/*/result.json"))
  output = tmp_path / "out"
  table = ["--table", f"{small}:whole", "--seeds", "0", "--output", str(output)]
  assert script("table").main(table) == 0
  assert len(set(place.glob("runs/evdistill/*/result.json")) - before) == 2
  found = json.loads((output / "table.json").read_text())
  assert len(found["rows"]) == 6 and len(found["comparisons"]) == 5
  for cells in found["rows"].values():
    assert all(0 <= cells[name]["low"] <= cells[name]["high"] <= 1 for name in ("miou", "accuracy"))
