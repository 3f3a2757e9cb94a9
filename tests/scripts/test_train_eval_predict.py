"""The commands of the README on a tiny world, in process."""

import json

import numpy as np
import orbax.checkpoint as ocp
import pytest

import bicross_jax
from bicross_jax import cli
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import spikes
from tests.scripts.conftest import SMALL, script


@pytest.fixture(autouse=True)
def _here(place, monkeypatch):
  monkeypatch.chdir(place)


def _lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_training_trains_the_parent_first_and_leaves_what_design_promises(crossmodality):
  parent = crossmodality.parent / "pretrain-synthetic-s0"
  for run in (parent, crossmodality):
    result = json.loads((run / "result.json").read_text())
    assert result["steps"] == 2 and np.isfinite(result["after"]["abs_rel"])
    assert any("train/loss" in line for line in _lines(run / "metrics.jsonl"))
    assert list(run.glob("events.out.tfevents*"))
  config = json.loads((crossmodality / "config.json").read_text())
  assert (config["input"]["modality"], config["parent"]["input"]["modality"]) == ("spike", "rgb")


def test_a_finished_run_is_left_alone_and_another_config_is_refused(crossmodality, capsys):
  train = script("train").main
  before = (crossmodality / "metrics.jsonl").read_bytes()
  assert train(["--config", "configs/bicross.py:crossmodality", *SMALL]) == 0
  assert "finished run" in capsys.readouterr().out
  assert (crossmodality / "metrics.jsonl").read_bytes() == before
  other = [*SMALL, "--config.distill.fine=0.5"]
  assert cli.run(train, ["--config", "configs/bicross.py:crossmodality", *other]) == 2
  shown = capsys.readouterr().err
  assert "distill.fine" in shown and shown.count("\n") == 1


def test_variables_restore_with_orbax_alone_and_through_load(crossmodality):
  step = max((crossmodality / "checkpoints").iterdir())
  tree = ocp.StandardCheckpointer().restore(step / "variables")
  assert "depth_head" in tree["params"]
  model = bicross_jax.load(crossmodality)
  assert model.config.stage == "crossmodality"
  out = model.predict({"spike": np.zeros((2, 32, 64, 16), np.uint8)})
  assert out["depth"].shape == (2, 32, 64) and (out["depth"] > 0).all()
  direct = model.module.apply(tree, np.full((2, 32, 64, 128), -1, np.float32))
  np.testing.assert_allclose(direct.depth, out["depth"], rtol=1e-4)


def test_eval_prints_the_table_with_the_baselines(crossmodality, capsys):
  assert script("eval").main(["--checkpoint", str(crossmodality)]) == 0
  shown = capsys.readouterr().out
  assert "AbsRel" in shown and "best constant" in shown and "pixel median" in shown
  folder = crossmodality / "eval-spike_world-clear-test"
  images = json.loads((folder / "images.json").read_text())
  summary = json.loads((folder / "summary.json").read_text())
  assert len(images) == 3
  assert summary["abs_rel"] == pytest.approx(np.mean([row["abs_rel"] for row in images]))


def test_predict_writes_depth_of_a_stream_and_a_folder(crossmodality, tmp_path):
  rng = np.random.default_rng(0)
  (tmp_path / "in").mkdir()
  for name in ("a", "b"):
    spikes.write_npy(tmp_path / "in" / f"{name}.npy", rng.integers(0, 2, (130, 50, 80), np.uint8))
  predict = script("predict").main
  assert (
    predict(
      [
        str(tmp_path / "in"),
        "--checkpoint",
        str(crossmodality),
        "--output",
        str(tmp_path / "out"),
        "--start",
        "2",
      ]
    )
    == 0
  )
  for name in ("a", "b"):
    depth = np.load(tmp_path / "out" / f"{name}_depth.npy")
    assert depth.shape == (50, 80) and depth.dtype == np.float32
    png = depth_files.read_png16(tmp_path / "out" / f"{name}_depth.png", 256.0)
    np.testing.assert_allclose(png, depth, atol=1 / 256)
    assert (tmp_path / "out" / f"{name}.png").stat().st_size > 1000


def test_visualize_writes_a_picture(crossmodality, tmp_path):
  assert (
    script("visualize").main(
      ["--checkpoint", str(crossmodality), "--output", str(tmp_path / "p.png"), "--examples", "2"]
    )
    == 0
  )
  assert (tmp_path / "p.png").stat().st_size > 10_000


@pytest.mark.parametrize(
  "name, argv, words",
  [
    ("train", ["--config", "configs/bicross.py:crossmodalty"], "crossmodality"),
    ("train", ["--config", "configs/bicross.py", "--config.model.backbon=tiny"], "model.backbone"),
    ("train", ["--config", "configs/bicross.py", "--config.init_from=nowhere"], "nowhere"),
    ("train", ["--config", "configs/bicross.py:pretrain", "--config.model.backbone=huge"], "huge"),
    (
      "train",
      ["--config", "configs/bicross.py:pretrain,scene", "--config.data.data_dir=nowhere"],
      "nowhere",
    ),
    ("eval", ["--checkpoint", "nowhere"], "nowhere"),
    ("eval", ["--checkpoint", "configs"], "configs"),
    ("predict", ["nothing.dat", "--checkpoint", "configs", "--output", "o"], "nothing.dat"),
    ("table", ["--table", "configs/bicross.py:cfdk"], "cfkd"),
    ("visualize", ["--checkpoint", "configs", "--output", "x.jpg"], "x.jpg"),
  ],
)
def test_bad_input_is_one_line_and_status_2(name, argv, words, capsys):
  small = SMALL if name == "train" and "scene" not in argv[1] else []
  if "pretrain" in argv[1] or "crossmodalty" in argv[1]:
    small = [s for s in small if "parent" not in s]
  assert cli.run(script(name).main, [*argv, *small]) == 2
  shown = capsys.readouterr().err.strip()
  assert words in shown and shown.startswith("error:") and "\n" not in shown
