"""`configs/bicross.py:all`: the whole chain by one command, and what it says in the end."""

import json

import pytest

from tests.scripts.conftest import SMALL, script

ABOVE = [
  item.replace("--config.", "--config.parent.")
  for item in SMALL
  if any(name in item for name in (".train.steps", ".log_every", ".validate_every", ".batch_size"))
]


@pytest.mark.slow
def test_the_chain_is_trained_and_every_stage_tested(place, crossmodality, monkeypatch, capsys):
  monkeypatch.chdir(place)
  command = ["--config", "configs/bicross.py:all", *SMALL[:-2], *ABOVE]
  assert script("train").main(command) == 0
  printed = capsys.readouterr().out
  assert f"crossdomain starts from runs/bicross/{crossmodality.name}" in printed
  folder = place / "runs" / "bicross" / "crossdomain-synthetic-s0"
  rows = json.loads((folder / "chain.json").read_text())
  assert list(rows) == ["pretrain (rgb)", "crossmodality (spike)", "crossdomain (spike)"]
  assert (folder / "chain.md").read_text() in printed

  where = place / "evaluated"
  for run, row, domain in (
    (folder, "crossdomain (spike)", "foggy"),
    (crossmodality, "crossmodality (spike)", "clear"),
  ):
    assert script("eval").main(["--checkpoint", str(run), "--output", str(where)]) == 0
    summary = json.loads((where / "summary.json").read_text())
    for metric in ("abs_rel", "rmse", "d1"):
      assert rows[row][f"{domain} {metric}"] == pytest.approx(summary[metric])

  assert script("train").main(command) == 0  # nothing is trained again
  assert "holds a finished run" in capsys.readouterr().out


@pytest.mark.slow
def test_any_stage_can_report(place, crossmodality, monkeypatch):
  """Of a stage without a target: its own domain alone."""
  monkeypatch.chdir(place)
  assert (
    script("train").main(
      ["--config", "configs/bicross.py:crossmodality", *SMALL, "--config.report=true"]
    )
    == 0
  )
  rows = json.loads((crossmodality / "chain.json").read_text())
  assert list(rows) == ["pretrain (rgb)", "crossmodality (spike)"]
  assert all(list(row) == ["clear abs_rel", "clear rmse", "clear d1"] for row in rows.values())
