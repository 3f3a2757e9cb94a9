import json

import numpy as np

from bicross_jax.evaluation import bootstrap, report, run

RESULTS = {
  "student": {"abs_rel": 0.1234, "d1": bootstrap.Interval(0.5, 0.4, 0.6)},
  "best constant": {"abs_rel": np.float64(1.0)},
}

TITLES = {"abs_rel": "AbsRel"}


def test_text():
  assert report.table(RESULTS, ["abs_rel", "d1"], TITLES) == (
    "               AbsRel                    d1\n"
    "student         0.123  0.500 [0.400, 0.600]\n"
    "best constant   1.000                     -"
  )


def test_titles_and_the_columns_that_have_results():
  titled = report.table(RESULTS, ["abs_rel"], TITLES).splitlines()[0]
  assert titled.split() == ["AbsRel"]
  assert report.shown(RESULTS.values(), ["rmse", "d1", "abs_rel"]) == ["d1", "abs_rel"]


def test_markdown():
  lines = report.table(RESULTS, ["abs_rel", "d1"], TITLES, markdown=True).split("\n")
  assert lines[0] == "|               | AbsRel |                   d1 |"
  assert lines[1] == "| ------------- | -----: | -------------------: |"
  assert lines[3] == "| best constant |  1.000 |                    - |"
  assert len({len(line) for line in lines}) == 1


def test_files(tmp_path):
  rows = [
    {"key": "a", "abs_rel": np.float32(0.5), "pixels": np.int64(3)},
    {"key": "b", "abs_rel": float("nan"), "pixels": 0, "confusion": np.eye(2, dtype=int)},
  ]
  found = run.Report(rows, {"abs_rel": 0.5, "images": 1})
  images, summary = report.save(
    tmp_path / "new" / "folder", found, interval=RESULTS["student"]["d1"], shape=np.arange(2)
  )
  assert json.loads(images.read_text()) == [
    {"key": "a", "abs_rel": 0.5, "pixels": 3},
    {"key": "b", "abs_rel": None, "pixels": 0, "confusion": [[1, 0], [0, 1]]},
  ]
  assert json.loads(summary.read_text()) == {
    "interval": {"value": 0.5, "low": 0.4, "high": 0.6},
    "shape": [0, 1],
    "abs_rel": 0.5,
    "images": 1,
  }
  assert sorted(p.name for p in images.parent.iterdir()) == ["images.json", "summary.json"]
