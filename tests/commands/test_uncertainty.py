"""What is judged of a made-up network with measures of uncertainty, and how it is written."""

import json

import numpy as np
from PIL import Image
import pytest

from bicross_jax import cli, errors, inference
from bicross_jax.commands import uncertainty
from bicross_jax.tasks.depth import uncertainty as judging
from bicross_jax.train import checkpoints, state
from tests.commands import fakes


@pytest.fixture(scope="module")
def found():
  """Two domains with a measure that knows the error, and one that knows nothing."""
  rng = np.random.default_rng(0)
  out = {}
  for name, scale in (("source", 0.5), ("target", 1.0)):
    images = []
    for _ in range(12):
      error = (scale * rng.uniform(0, 1, 500)).astype(np.float32)
      noise = rng.uniform(0, 1, 500).astype(np.float32)
      images.append(judging.Pixels(error, {"head": error / 2, "disagreement": noise}))
    judged = judging.judge(images, {"head": 2.0, "disagreement": 0.5})
    out[name] = uncertainty.Domain(f"set/{name}/test", 12, 6000, scale / 2, 0.45, judged)
  return out


def test_the_table_and_the_differences(found):
  lines = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in uncertainty.table(found["target"]).splitlines()
  ]
  assert lines[0][1:] == list(uncertainty.COLUMNS)
  head, disagreement, none = lines[2:]
  assert head[:2] == ["head", "0.000"] and head[3].startswith("0.25") and head[6] == "2.000"
  assert disagreement[0] == "disagreement" and float(disagreement[1]) == pytest.approx(
    0.45, abs=0.03
  )
  assert none == ["none", "0.450", "-", "0.500", "-", "-", "-"]
  ((name, interval),) = uncertainty.differences(found["target"]).items()
  assert name == "disagreement minus head" and 0.4 < interval.low < interval.value < interval.high


def test_three_files_are_written(found, tmp_path):
  paths = uncertainty.save(tmp_path / "out", found, checkpoint="here")
  assert [p.name for p in paths] == ["uncertainty.json", "uncertainty.md", "uncertainty.png"]
  assert sorted((tmp_path / "out").iterdir()) == sorted(paths)
  written = json.loads(paths[0].read_text())
  assert written["checkpoint"] == "here" and list(written["domains"]) == ["source", "target"]
  head = written["domains"]["source"]["measures"]["head"]
  assert len(head["ause"]) == 12 and len(head["sparsification"]["by_error"]) == 20
  assert len(head["reliability"]["claimed"]) == len(head["reliability"]["found"]) == 10
  assert paths[1].read_text() == uncertainty.text(found)
  with Image.open(paths[2]) as picture:
    assert picture.format == "PNG"


@pytest.fixture
def run(tmp_path, monkeypatch):
  """A run's folder whose made-up network has two measures: half its error, and nothing."""

  def measure(variables, parts, batch, number):
    assert parts == {"student": "what the state holds"}
    depth = 1.1 * batch["rgb"][..., 0].astype(np.float32)
    tilted = depth + np.linspace(0, 1, depth.shape[2], dtype=np.float32)
    error = np.abs(tilted / batch["rgb"][..., 0] - 1)
    return {"depth": tilted, "head": error / 2, "draw": np.full_like(depth, number + 1)}

  offered = state.Uncertainty({"student": ("params", "student")}, measure)
  monkeypatch.setattr(inference, "load", lambda *unused: fakes.model(uncertainty=offered))
  monkeypatch.setattr(checkpoints, "find", lambda path, which: path)
  held = {("params", "student"): "what the state holds"}
  monkeypatch.setattr(checkpoints, "restore_part", lambda folder, place: held.get(place))
  return fakes.run_folder(tmp_path), held


def test_every_measure_of_the_recipe_is_judged_on_every_set(run, monkeypatch, capsys):
  folder, _ = run
  fakes.pipeline(monkeypatch)
  assert uncertainty.main(["--checkpoint", str(folder), "--pixels", "50"]) == 0
  out = folder / "eval-uncertainty-test"
  text = (out / "uncertainty.md").read_text()
  assert text in capsys.readouterr().out and "## Target: world/foggy/test" in text
  written = json.loads((out / "uncertainty.json").read_text())["domains"]
  assert list(written) == ["source", "target"]
  source, target = written.values()
  assert (source["images"], source["pixels"]) == (5, 250)
  error = np.linspace(0, 1, fakes.SIZE[1]).mean()
  assert source["error"] == pytest.approx(0.1 + error / 10, rel=0.02)
  assert target["error"] == pytest.approx(0.1 + error / 20, rel=0.02)
  assert list(source["measures"]) == ["head", "draw"]  # in the recipe's order
  for (
    domain
  ) in written.values():  # factors are those of the validation part of what it learned from
    head = domain["measures"]["head"]
    assert head["sparsification"]["ause"] == pytest.approx(0, abs=1e-6)
    assert head["factor"] == pytest.approx(2, rel=1e-4)
    assert head["calibrated"] == pytest.approx(0, abs=1e-5)


def test_runs_without_measures_and_states_without_parts_are_refused(run, monkeypatch):
  folder, held = run
  fakes.pipeline(monkeypatch)
  held.clear()
  with pytest.raises(errors.BadFileError, match="no params.student"):
    uncertainty.run(folder)
  monkeypatch.setattr(inference, "load", lambda *unused: fakes.model())
  with pytest.raises(errors.UserError, match="stage only, which has no measures"):
    uncertainty.run(folder)


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--checkpoint", "nowhere"], "nowhere"),
    (["--checkpoint", "run", "--pixels", "0"], "--pixels 0"),
    (["--checkpoint", "run", "--output", "file"], "file is no folder"),
    (["--checkpoint", "run", "--part", "tset"], "test"),
    (["--checkpoint", "run", "--nonsense"], "--nonsense"),
  ],
)
def test_what_is_wrong_is_named_before_the_network_is_loaded(
  argv, words, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(inference, "load", lambda *unused: pytest.fail("it was loaded"))
  fakes.run_folder(tmp_path)
  (tmp_path / "file").write_text("mine")
  assert cli.run(uncertainty.main, argv) == 2
  shown = capsys.readouterr().err.strip()
  assert shown.startswith("error:") and words in shown and "\n" not in shown
