"""BiCross's adaptation to a target and its network with a front end, through the scripts."""

import json

import pytest

from tests.systems.contract import Contract, checkpoint, main


class TestBicross(Contract):
  stages = ("bicross-neuromorphic", "bicross-crossdomain")


def test_the_whole_chain_by_one_command(trained, tmp_path, capsys):
  """It is the run of its last stage; in the end it tells what every stage scores everywhere."""
  folder = trained("bicross-crossdomain")
  main("train", "--config", "configs/bicross.py:all,smoke")
  printed = capsys.readouterr().out
  rows = json.loads((folder / "chain.json").read_text())
  assert list(rows) == ["pretrain (rgb)", "crossmodality (spike)", "crossdomain (spike)"]
  assert (folder / "chain.md").read_text() in printed and "finished run" in printed
  main("eval", *checkpoint("bicross-crossdomain", folder), "--output", tmp_path)
  summary = json.loads((tmp_path / "summary.json").read_text())
  row = rows["crossdomain (spike)"]
  assert row["foggy AbsRel"] == pytest.approx(summary["abs_rel"])
  assert {name.split()[0] for name in row} == {"clear", "foggy"}
