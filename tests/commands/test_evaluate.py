"""The evaluation of a made-up network: what is tested, saved, printed and refused."""

import json

import numpy as np
import pytest

from bicross_jax import cli, errors, inference, tasks
from bicross_jax.commands import evaluate
from bicross_jax.tasks import depth
from tests.commands import fakes


@pytest.fixture
def run(tmp_path, monkeypatch):
  """A run's folder whose checkpoint is the made-up network."""
  monkeypatch.setattr(inference, "load", lambda *unused: fakes.model())
  return fakes.run_folder(tmp_path)


def test_a_network_and_its_baselines_are_tested_and_saved(run, monkeypatch, capsys):
  opened = fakes.pipeline(monkeypatch)
  assert evaluate.main(["--checkpoint", str(run)]) == 0
  folder = run / "eval-world-foggy-test"
  shown = capsys.readouterr().out
  lines = shown.splitlines()
  assert lines[0] == "world/foggy/test: 5 images, checkpoint step 7"
  assert "AbsRel" in lines[1] and lines[-1].startswith(f"written: {folder / 'images.json'}")
  table = {line[:13].strip(): line[13:].split()[0] for line in lines[2:5]}
  assert table == {"toy only": "0.100", "best constant": "0.500", "pixel median": "0.500"}
  summary = json.loads((folder / "summary.json").read_text())
  assert summary["abs_rel"] == pytest.approx(0.1, rel=1e-4) and summary["images"] == 5
  assert summary["baselines"]["pixel median"]["abs_rel"] == pytest.approx(0.5, rel=1e-3)
  assert summary["protocol"]["crop"] == "none" and summary["baselines_left_out"] == ""
  keys = [row["key"] for row in json.loads((folder / "images.json").read_text())]
  assert keys == [f"test{i}" for i in range(5)]
  assert opened == [("rgb",)]  # one pass over the data for the network and both baselines


def test_what_is_tested_can_be_chosen(run, monkeypatch, capsys):
  fakes.pipeline(monkeypatch)
  argv = ["--checkpoint", str(run), "--eval", "source", "--protocol", "kitti_eigen_median"]
  argv += ["--eval.crop=none", "--data.height=30", "--part", "validation"]
  assert evaluate.main(argv) == 0
  shown = capsys.readouterr().out
  assert "world/clear/validation" in shown and "eval-world-clear-validation-source-kitti" in shown
  assert shown.splitlines()[2].split()[2] == "0.000"  # a factor is taken away


def test_fields_of_the_network_can_be_changed(run, monkeypatch):
  fakes.pipeline(monkeypatch)
  asked = []
  monkeypatch.setattr(inference, "load", lambda *args: asked.append(args) or fakes.model())
  argv = ["--checkpoint", str(run), "--config.output=-1", "--data.domain=foggy"]
  assert evaluate.main(argv) == 0
  assert asked[0][3] == ["output=-1"]
  folder = run / "eval-world-foggy-test"
  assert json.loads((folder / "summary.json").read_text())["changes"] == ["output=-1"]


def test_without_the_training_data_the_network_is_tested_all_the_same(run, monkeypatch, capsys):
  fakes.pipeline(monkeypatch, missing=("data",))
  assert evaluate.main(["--checkpoint", str(run), "--output", str(run / "out")]) == 0
  shown = capsys.readouterr().out
  assert "without the baselines: no folder /gone for config.data" in shown
  assert "best constant" not in shown
  summary = json.loads((run / "out" / "summary.json").read_text())
  assert summary["baselines"] == {} and "/gone" in summary["baselines_left_out"]


def test_without_the_tested_data_there_is_an_error(run, monkeypatch):
  fakes.pipeline(monkeypatch, missing=("target",))
  with pytest.raises(errors.UserError, match="no folder /gone for config.target"):
    evaluate.main(["--checkpoint", str(run)])


def test_results_are_saved_before_they_are_printed(run, monkeypatch):
  fakes.pipeline(monkeypatch)

  def gone(*unused, **also):
    raise BrokenPipeError

  monkeypatch.setattr("builtins.print", gone)
  with pytest.raises(BrokenPipeError):
    evaluate.main(["--checkpoint", str(run)])
  assert (run / "eval-world-foggy-test" / "summary.json").is_file()


def test_a_recipe_that_needs_no_labels_says_its_scores(run, monkeypatch, capsys):
  def score(variables, batch):
    del variables
    weight = batch["mask"].astype(np.float32)
    return {"photometric": ((batch["rgb"][:, 0, 0, 0] * weight).sum(), weight.sum())}

  opened = fakes.pipeline(monkeypatch)
  monkeypatch.setattr(inference, "load", lambda *unused: fakes.model(score))
  monkeypatch.setattr(evaluate, "_has_truth", lambda task, where: False)
  assert evaluate.main(["--checkpoint", str(run)]) == 0
  shown = capsys.readouterr().out
  assert "photometric" in shown and "20.000" in shown and "AbsRel" not in shown
  folder = run / "eval-world-foggy-test"
  assert json.loads((folder / "summary.json").read_text())["scores"] == {"photometric": 20}
  assert opened == [("rgb", "baseline")] and not (folder / "images.json").exists()
  monkeypatch.setattr(evaluate, "_has_truth", lambda task, where: True)
  assert evaluate.main(["--checkpoint", str(run)]) == 0
  shown = capsys.readouterr().out
  assert "photometric" in shown and "AbsRel" in shown and "5 images" in shown


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--checkpoint", "nowhere"], "nowhere: there is no such folder"),
    (["--checkpoint", "file"], "file: is a file"),
    (["--checkpoint", "empty"], "empty: holds no checkpoints"),
    (["--checkpoint", "run", "--output", "file"], "file is no folder"),
    (["--checkpoint", "run", "--output", "file/inside"], "is no folder"),
    (["--checkpoint", "run", "--model.width=3"], "--data.key=value and --eval.key=value"),
    (["--checkpoint", "run", "--data.height"], "--data.height"),
    (["--checkpoint", "run", "--config.output"], "--config.output"),
    (["--checkpoint", "run", "--part", "tset"], "tset"),
    (["--checkpoint", "run", "--config", "no.py:stage"], "no.py"),
  ],
)
def test_what_is_wrong_is_named_before_the_network_is_loaded(
  argv, words, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(inference, "load", lambda *unused: pytest.fail("it was loaded"))
  fakes.run_folder(tmp_path)
  (tmp_path / "empty").mkdir()
  (tmp_path / "file").write_text("mine")
  assert cli.run(evaluate.main, argv) == 2
  shown = capsys.readouterr().err.strip()
  assert shown.startswith("error:") and words in shown and "\n" not in shown
  assert not (tmp_path / "run" / "eval").exists()


def _of_classes():
  other = fakes.config()
  other.task = "classes"
  return other


def test_fields_keep_their_type_and_wrong_ones_are_named():
  config = fakes.config()
  where = evaluate.test_config(config, overrides=["data.height=64", "eval.max_depth=50"])
  assert (where.section, where.data.height, where.protocol.max_depth) == ("target", 64, 50.0)
  assert config.target.height == 20  # the checkpoint's config stays as it is
  published = evaluate.test_config(config, evaluation="source", protocol="kitti_eigen_50")
  assert published.section == "data"
  assert published.protocol == depth.TASK.protocols["kitti_eigen_50"]
  for change, words in (
    (dict(evaluation="soruce"), "no evals.soruce.*source"),
    (dict(protocol="kitti"), "no protocol 'kitti'.*kitti_eigen"),
    (dict(overrides=["eval.max_dept=5"]), "eval.max_dept"),
    (dict(overrides=["eval.max_depth=far"]), "eval.max_depth"),
    (dict(overrides=["eval.max_depth=-1"]), "max_depth"),
    (dict(overrides=["eval.crop=all"]), "crop='all'"),
    (dict(overrides=["data.height=0"]), "data.height is 0"),
    (dict(overrides=["data.batch_size=-2"]), "data.batch_size is -2"),
    (dict(other=_of_classes()), "the network is of task depth, the config of classes"),
  ):
    with pytest.raises(errors.UserError, match=words):
      evaluate.test_config(config, **change)


def test_a_size_of_the_truth_is_two_numbers():
  where = evaluate.test_config(fakes.config(), overrides=["eval.truth_size=375,1242"])
  assert where.protocol.truth_size == (375, 1242)
  assert evaluate.test_config(fakes.config()).protocol.truth_size == ()
  with pytest.raises(errors.UserError, match="truth_size=.'high',.*height and width"):
    evaluate.test_config(fakes.config(), overrides=["eval.truth_size=high"])


def test_a_network_of_the_world_is_tested_on_any_set():
  texts = ["name=kitti", "domain=eigen", "data_dir=/data/kitti", "allow_missing=true", "limit=5"]
  texts += ["parts.test=2011_09_26_drive_0003_sync,2011_09_26_drive_0005_sync", "crop=none"]
  found = evaluate.test_config(fakes.config(), overrides=[f"data.{text}" for text in texts]).data
  assert (found.name, found.domain, found.data_dir) == ("kitti", "eigen", "/data/kitti")
  assert found.allow_missing is True and found.limit == 5 and found.crop == "none"
  assert found.parts.test == ("2011_09_26_drive_0003_sync", "2011_09_26_drive_0005_sync")
  assert found.height == 20 and evaluate.test_config(fakes.config()).data.data_dir is None


def test_the_truth_is_read_where_the_set_gives_none_unasked():
  task = tasks.create("depth")
  texts = ["data.name=kitti_stereo", "data.domain=eigen", "data.data_dir=/data/kitti"]
  where = evaluate.test_config(fakes.config(), overrides=texts)
  assert evaluate.with_truth(where, task, ("rgb",)).data.sensors == ("rgb", "depth")
  assert where.data.sensors == ()
  world = evaluate.test_config(fakes.config())
  assert evaluate.with_truth(world, task, ("rgb",)) is world


def test_another_config_says_where():
  other = fakes.config()
  other.test, other.data.domain = "source", "rainy"
  where = evaluate.test_config(fakes.config(), other)
  assert (where.section, where.data.domain) == ("data", "rainy")
