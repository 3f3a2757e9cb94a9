"""The report of a made-up network under corruptions: what is measured, kept, compared and refused."""

import json
import types

import jax
import numpy as np
from PIL import Image
import pytest

from bicross_jax import cli, errors, inference
from bicross_jax.commands import corrupted, robustness
from bicross_jax.sim import corruptions
from tests.commands import fakes

CLEAN = 20.0  # metres, and the grey level of the made-up images


@pytest.fixture
def run(tmp_path, monkeypatch):
  """A run's folder whose network reads metres in grey levels and says a tenth too much."""
  monkeypatch.setattr(inference, "load", lambda path, which, plugins: fakes.model())
  return fakes.run_folder(tmp_path)


@pytest.fixture
def tested(monkeypatch):
  """The (corruption, severity) of every test that was made."""
  made: list = []
  real = corrupted.batches

  def batches(clean, name, severity):
    made.append((name, severity))
    return real(clean, name, severity)

  monkeypatch.setattr(corrupted, "batches", batches)
  return made


def _abs_rel(grey):
  return abs(max(1.1 * grey, 1e-3) - CLEAN) / CLEAN


def _dee(grey):
  ratio = max(1.1 * grey / CLEAN, CLEAN / max(1.1 * grey, 1e-3))
  return (_abs_rel(grey) + (ratio >= 1.25)) / 2


def _report(run):
  return json.loads((run / "robustness-world-foggy-test" / "robustness.json").read_text())


def test_the_report_has_closed_forms_of_flat_images(run, monkeypatch, capsys):
  """A flat grey stays what it is under contrast; quantisation makes 16, 16, 0, 0, 0 of 20."""
  fakes.pipeline(monkeypatch)
  argv = ["--checkpoint", str(run), "--corruptions", "color_quant,contrast"]
  assert robustness.main(argv) == 0
  found = _report(run)
  greys = {"contrast": [20] * 5, "color_quant": [16, 16, 0, 0, 0]}
  assert list(found["found"]["corruptions"]) == ["contrast", "color_quant"]  # in their own order
  for name, values in greys.items():
    judged = found["found"]["corruptions"][name]
    wanted = [_dee(grey) for grey in values]
    np.testing.assert_allclose(list(judged["dee"].values()), wanted, rtol=1e-5)
    assert judged["rr"] == pytest.approx(100 * (1 - np.mean(wanted)) / (1 - _dee(20)), rel=1e-5)
    assert judged["metrics"]["abs_rel"] == pytest.approx(np.mean([_abs_rel(g) for g in values]))
    assert judged["ce"] is None
  assert found["found"]["mCE"] is None and found["found"]["baseline"] is None
  rates = [c["rr"] for c in found["found"]["corruptions"].values()]
  assert found["found"]["mRR"] == pytest.approx(np.mean(rates))
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == "world/foggy/test: 5 images, checkpoint step 7"
  assert lines[1].split() == ["1", "2", "3", "4", "5", "DEE", "AbsRel", "d1", "RR", "[%]"]
  assert lines[2].split() == ["clean", *"-----", "0.050", "0.100", "1.000", "-"]
  assert lines[3].split() == ["contrast", *["0.050"] * 6, "0.100", "1.000", "100.0"]
  assert lines[5] == f"mRR {np.mean(rates):.1f} %" and lines[6].startswith(
    "no mCE without a baseline"
  )
  assert lines[7].startswith("means of 2 of 18 corruptions in 5 of 5 severities")
  for name in ("robustness.png", "corruptions.png"):
    picture = np.array(Image.open(run / "robustness-world-foggy-test" / name))
    assert np.ptp(picture[..., :3]) > 100


def test_what_is_measured_is_not_measured_again(run, tested, monkeypatch):
  fakes.pipeline(monkeypatch)
  argv = ["--checkpoint", str(run), "--severities", "2,1"]
  robustness.main([*argv, "--corruptions", "fog"])
  assert tested == [("fog", 1), ("fog", 2)]
  first = _report(run)["cells"]["fog"]
  robustness.main([*argv, "--corruptions", "jpeg,fog"])
  assert tested[2:] == [("jpeg", 1), ("jpeg", 2)]
  assert _report(run)["cells"]["fog"] == first and _report(run)["cells"].keys() == {"fog", "jpeg"}
  robustness.main([*argv, "--corruptions", "jpeg"])  # a report of less keeps the rest
  found = _report(run)
  assert len(tested) == 4 and found["cells"].keys() == {"fog", "jpeg"}
  assert list(found["found"]["corruptions"]) == ["jpeg"]


def test_an_interrupted_command_goes_on(run, tested, monkeypatch):
  fakes.pipeline(monkeypatch)
  argv = ["--checkpoint", str(run), "--corruptions", "snow", "--severities", "1,2,3"]
  with monkeypatch.context() as patch:
    corrupt = corruptions.corrupt

    def fails(image, name, severity, seed):
      if severity == 2:
        raise KeyboardInterrupt
      return corrupt(image, name, severity, seed)

    patch.setattr(corruptions, "corrupt", fails)
    assert cli.run(robustness.main, argv) == 130
  assert list(_report(run)["cells"]["snow"]) == ["1"] and _report(run)["found"] is None
  assert robustness.main(argv) == 0
  assert tested == [("snow", 1), ("snow", 2), ("snow", 2), ("snow", 3)]


def test_images_are_corrupted_by_their_keys_and_padding_is_left_alone():
  rgb = np.full((3, 8, 12, 3), 100, np.uint8)
  rgb.setflags(write=False)
  truths = [{"key": "a"}, {"key": "b"}]
  ((batch, same),) = corrupted.batches([({"rgb": rgb, "mask": 1}, truths)], "gaussian", 2)
  ((again, _),) = corrupted.batches([({"rgb": rgb[1:]}, [{"key": "b"}])], "gaussian", 2)
  assert same == truths and batch["mask"] == 1
  assert (batch["rgb"][2] == 100).all() and (batch["rgb"][:2] != 100).any((1, 2, 3)).all()
  assert (batch["rgb"][0] != batch["rgb"][1]).any()
  np.testing.assert_array_equal(batch["rgb"][1], again["rgb"][0])


def test_a_baseline_gives_the_corruption_error(run, monkeypatch, capsys, tmp_path):
  fakes.pipeline(monkeypatch)
  argv = ["--checkpoint", str(run), "--severities", "1,5", "--corruptions", "contrast,color_quant"]
  robustness.main([*argv, "--output", str(tmp_path / "base")])
  base = tmp_path / "base" / "robustness.json"
  found = json.loads(base.read_text())
  for cells in found["cells"].values():
    for summary in cells.values():
      summary["abs_rel"] = 2 * summary["abs_rel"] + 1 - summary["d1"]  # DEE twice as large
  base.write_text(json.dumps(found))
  capsys.readouterr()
  assert robustness.main([*argv, "--baseline", str(base)]) == 0
  shown = capsys.readouterr().out.splitlines()
  assert shown[1].endswith("CE [%]") and shown[6] == f"mCE 50.0 % of {base}"
  assert _report(run)["found"]["mCE"] == pytest.approx(50)
  assert _report(run)["found"]["baseline"] == str(base)


@pytest.mark.parametrize(
  "change, words",
  [
    (lambda x: x["about"].update(data="kitti/eigen/test"), "data kitti/eigen/test, not world"),
    (lambda x: x["about"]["protocol"].update(crop="garg"), "crop garg, not none"),
    (lambda x: x["clean"].update(images=4), "images 4, not 5"),
    (lambda x: x["cells"]["fog"].pop("1"), "has no fog of severity 1"),
    (lambda x: x["cells"].pop("fog"), "has no fog of severity 1"),
    (lambda x: x["clean"].pop("abs_rel"), "is no report of robustness.py"),
    (lambda x: x["cells"]["fog"].update(high={}), "is no report of robustness.py"),
    (lambda x: x.pop("about"), "is no report of robustness.py"),
  ],
)
def test_a_baseline_of_something_else_is_refused(change, words, run, monkeypatch, capsys, tmp_path):
  fakes.pipeline(monkeypatch)
  argv = ["--checkpoint", str(run), "--severities", "1", "--corruptions", "fog"]
  base = tmp_path / "robustness.json"
  robustness.main([*argv, "--output", str(tmp_path)])
  found = json.loads(base.read_text())
  change(found)
  base.write_text(json.dumps(found))
  assert cli.run(robustness.main, [*argv, "--baseline", str(base)]) == 2
  told = capsys.readouterr().err.strip()
  assert words in told and "\n" not in told and str(base) in told


def test_a_report_of_other_weights_or_data_is_not_gone_on_with(run, monkeypatch):
  fakes.pipeline(monkeypatch)
  argv = ["--checkpoint", str(run), "--severities", "1", "--corruptions", "fog"]
  robustness.main(argv)
  with pytest.raises(errors.UserError, match="protocol.max_depth: 80.0 there, 50.0 here.*--output"):
    robustness.main([*argv, "--eval.max_depth=50"])
  other = fakes.model()
  other.variables = {"params": np.ones(3, np.float32)}
  monkeypatch.setattr(inference, "load", lambda *unused: other)
  with pytest.raises(errors.UserError, match="weights"):
    robustness.main(argv)


@pytest.mark.parametrize("reads", [("spike",), ("rgb", "rgb_right")])
def test_networks_that_read_something_else_are_refused(reads, run, monkeypatch, capsys):
  model = fakes.model()
  spec = {name: jax.ShapeDtypeStruct((*fakes.SIZE, 3), np.uint8) for name in reads}
  model.recipe = types.SimpleNamespace(inputs=reads, fields={}, batch_spec=lambda: spec)
  monkeypatch.setattr(inference, "load", lambda *unused: model)
  assert cli.run(robustness.main, ["--checkpoint", str(run)]) == 2
  told = capsys.readouterr().err.strip()
  assert f"stage only, whose network reads {', '.join(reads)}" in told and "\n" not in told


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--checkpoint", "nowhere"], "nowhere"),
    (["--corruptions", "fgo"], "there is no 'fgo'; did you mean fog"),
    (["--corruptions", ""], "there is no ''"),
    (["--severities", "0"], "there is no '0'; choose from 1, 2, 3, 4, 5"),
    (["--severities", "1,x"], "there is no 'x'"),
    (["--baseline", "file"], "file: is not JSON"),
    (["--baseline", "gone.json"], "gone.json: no such file"),
    (["--output", "file"], "file is no folder"),
    (["--model.width=3"], "--data.key=value"),
  ],
)
def test_what_is_wrong_is_named_before_the_network_is_loaded(
  argv, words, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(inference, "load", lambda *unused: pytest.fail("it was loaded"))
  fakes.run_folder(tmp_path)
  (tmp_path / "file").write_text("mine")
  assert cli.run(robustness.main, ["--checkpoint", "run", *argv]) == 2
  shown = capsys.readouterr().err.strip()
  assert shown.startswith("error:") and words in shown and "\n" not in shown
