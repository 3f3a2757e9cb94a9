"""scripts/table.py and scripts/benchmark.py on a tiny world, in process."""

import json

import jax
import numpy as np
import pytest

from bicross_jax.commands import benchmark
from tests.scripts.conftest import SMALL, script

_TABLE = """
import importlib.util

from bicross_jax import config as grammar

_SPEC = importlib.util.spec_from_file_location("bicross", "configs/bicross.py")
_BICROSS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_BICROSS)
get_config = _BICROSS.get_config


def get_tables():
  spike = "pretrain,input.modality=spike"
  return {"tiny": grammar.Table("tiny", "A tiny table", {
      "home": grammar.Row(get_config(spike)),
      "away": grammar.Row(get_config(spike), test=("data.domain=foggy",), against="home"),
  })}
"""


@pytest.mark.slow
def test_table_trains_once_what_rows_share_and_compares_them(place, monkeypatch, capsys):
  monkeypatch.chdir(place)
  (place / "tiny.py").write_text(_TABLE)
  small = [s for s in SMALL if "parent" not in s]
  table = ["--table", "tiny.py:tiny", "--seeds", "0,1", "--root", "r", *small]
  traced = []
  compiled = jax.jit(lambda x: traced.append("again") or x)
  compiled(1.0)
  assert script("table").main(table) == 0
  compiled(1.0)
  assert len(traced) == 2  # what a row compiled is dropped: a process may not map all of it
  first = capsys.readouterr().out
  folder = place / "r" / "bicross"
  found = json.loads((folder / "tables" / "tiny" / "table.json").read_text())
  assert found["seeds"] == [0, 1] and list(found["rows"]) == ["home", "away"]
  assert len(list(folder.glob("pretrain-*"))) == 2  # one run a seed for both rows

  def scores(part):
    files = sorted(folder.glob(f"pretrain-*/{part}/images.json"))
    return np.array([[row["abs_rel"] for row in json.loads(f.read_text())] for f in files])

  home, away = scores("test"), scores("test-data.domain-foggy")
  assert home.shape == away.shape == (2, 3) and not np.array_equal(home, away)
  cell = found["rows"]["away"]["abs_rel"]
  assert (
    cell["value"] == pytest.approx(away.mean()) and cell["low"] <= cell["value"] <= cell["high"]
  )
  assert found["comparisons"]["away"]["difference"]["value"] == pytest.approx(
    away.mean() - home.mean()
  )
  assert (folder / "tables" / "tiny" / "table.md").read_text().strip() in first

  runs = {path: path.stat().st_mtime_ns for path in folder.glob("pretrain-*/**/*")}
  assert script("table").main(table) == 0  # nothing is trained or tested again
  assert "step" not in capsys.readouterr().out
  assert {path: path.stat().st_mtime_ns for path in folder.glob("pretrain-*/**/*")} == runs


@pytest.mark.slow
def test_benchmark_measures_configs_side_by_side(place, monkeypatch, capsys):
  monkeypatch.chdir(place)
  measured = []

  def measure(*args, **options):
    measured.append(benchmark_measure(*args, **options))
    return measured[0]

  benchmark_measure = benchmark.measure
  monkeypatch.setattr(benchmark, "measure", measure)
  specs = ["configs/bicross.py:pretrain", "configs/bicross.py:pretrain,model.dtype=bfloat16"]
  small = [s for s in SMALL if "parent" not in s]
  argv = [word for spec in specs for word in ("--config", spec)]
  assert script("benchmark").main([*argv, *small, "--rounds", "1", "--seconds", "0.1"]) == 0
  shown = capsys.readouterr().out.splitlines()
  (result,) = measured
  assert list(result) == specs
  for spec, line in zip(specs, shown[-2:], strict=True):
    assert line.startswith(spec) and f"{result[spec].train:.1f}" in line
    assert min(result[spec]) > 0
  assert result[specs[0]].memory > 3 * 4 * 1.4e6  # parameters and Adam's moments, float32
