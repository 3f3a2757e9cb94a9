"""scripts/table.py and scripts/benchmark.py on the cheapest system, in process."""

import json

import jax
import numpy as np
import pytest

from bicross_jax.commands import benchmark
from tests.scripts.conftest import STAGES, script

SIXTH = STAGES["sixth-rates"].config
_TABLE = f"""
from bicross_jax.config import grammar, tables


def get_tables():
  rates = lambda: grammar.load({SIXTH!r})
  return {{"tiny": tables.Table("tiny", "A tiny table", {{
      "home": tables.Row(rates()),
      "away": tables.Row(rates(), test=("data.domain=foggy",), against="home"),
  }})}}
"""


def test_table_trains_once_what_rows_share_and_compares_them(place, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "tables").mkdir()
  (tmp_path / "mine.py").write_text("")
  (tmp_path / "tables" / "mine.py").write_text(_TABLE)
  table = ["--table", "mine.py:tiny", "--seeds", "0,1", "--root", "r", "--config.train.steps=2"]
  traced = []
  compiled = jax.jit(lambda x: traced.append("again") or x)
  compiled(1.0)
  assert script("table").main(table) == 0
  compiled(1.0)
  assert len(traced) == 2  # what a row compiled is dropped: a process may not map all of it
  first = capsys.readouterr().out
  folder = tmp_path / "r" / "sixth"
  found = json.loads((folder / "tables" / "tiny" / "table.json").read_text())
  assert found["seeds"] == [0, 1] and list(found["rows"]) == ["home", "away"]
  assert len(list(folder.glob("rates-*"))) == 2  # one run a seed for both rows

  def scores(part):
    files = sorted(folder.glob(f"rates-*/{part}/images.json"))
    return np.array([[row["abs_rel"] for row in json.loads(f.read_text())] for f in files])

  home, away = scores("test"), scores("test-data.domain-foggy")
  assert home.shape == away.shape == (2, 3) and not np.array_equal(home, away)
  cell = found["rows"]["away"]["abs_rel"]
  assert cell["value"] == pytest.approx(away.mean())
  assert cell["low"] <= cell["value"] <= cell["high"]
  assert found["comparisons"]["away"]["difference"]["value"] == pytest.approx(
    away.mean() - home.mean()
  )
  assert (folder / "tables" / "tiny" / "table.md").read_text().strip() in first

  runs = {path: path.stat().st_mtime_ns for path in folder.glob("rates-*/**/*")}
  assert script("table").main(table) == 0  # nothing is trained or tested again
  assert "step" not in capsys.readouterr().out
  assert {path: path.stat().st_mtime_ns for path in folder.glob("rates-*/**/*")} == runs


def test_benchmark_measures_configs_side_by_side(place, monkeypatch, capsys):
  measured = []

  def measure(*args, **options):
    measured.append(benchmark_measure(*args, **options))
    return measured[0]

  benchmark_measure = benchmark.measure
  monkeypatch.setattr(benchmark, "measure", measure)
  specs = [SIXTH, f"{SIXTH},data.batch_size=8"]
  argv = [word for spec in specs for word in ("--config", spec)]
  assert script("benchmark").main([*argv, "--rounds", "1", "--seconds", "0.1"]) == 0
  shown = capsys.readouterr().out.splitlines()
  (result,) = measured
  assert list(result) == specs
  for spec, line in zip(specs, shown[-2:], strict=True):
    assert line.startswith(spec) and f"{result[spec].train:.1f}" in line
    assert min(result[spec]) > 0
  batch = 4 * 32 * 64 * (16 + 4)  # bytes of spikes and depth, which the steps differ in at least
  assert result[specs[1]].memory > result[specs[0]].memory + batch
