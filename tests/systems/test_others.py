"""Systems that the package has never heard of, through the same scripts."""

import json

from tests.scripts.conftest import STAGES
from tests.systems.contract import Contract, checkpoint, main


class TestToy(Contract):
  stages = ("toy-stereo", "toy-segment")


class TestSixth(Contract):
  stages = ("sixth-rates",)


def test_parents_that_are_not_there_are_trained_first(trained, tmp_path, monkeypatch, capsys):
  """Of two, one is a checkpoint, and the other the stage that the config names."""
  teacher = trained("bicross-pretrain")
  monkeypatch.chdir(tmp_path)
  config = STAGES["toy-segment"].config
  main("train", "--config", config, f"--config.parents.teacher.checkpoint={teacher}")
  shown = capsys.readouterr().out
  assert "segment starts from stage stereo, which is not trained yet" in shown
  assert f"parents.teacher is {teacher}" in shown
  runs = sorted(path.parent.name for path in tmp_path.glob("runs/toy/*/result.json"))
  assert runs == ["segment-smoke-s0", "stereo-smoke-s0"]


def test_a_chain_of_two_systems_and_two_tasks(trained):
  """Every stage is tested as its own task says."""
  folder = trained("toy-segment")
  main("train", "--config", f"{STAGES['toy-segment'].config}", "--config.report=true")
  rows = json.loads((folder / "chain.json").read_text())
  shown = {stage.split()[0]: next(iter(row)) for stage, row in rows.items()}
  assert shown == {"pretrain": "clear AbsRel", "stereo": "plain AbsRel", "segment": "plain mIoU"}
  assert all(0 <= x < 100 for row in rows.values() for x in row.values())


def test_a_system_of_its_own_has_measures_of_uncertainty(trained, tmp_path):
  folder = trained("toy-stereo")
  main("uncertainty", *checkpoint("toy-stereo", folder), "--output", tmp_path / "u")
  found = json.loads((tmp_path / "u" / "uncertainty.json").read_text())["domains"]["source"]
  assert set(found["measures"]) == {"critic", "change"} and found["images"] == 5
  assert (tmp_path / "u" / "uncertainty.png").stat().st_size > 1000
