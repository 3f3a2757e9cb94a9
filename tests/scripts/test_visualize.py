"""scripts/visualize.py: the panel, the strip, the video."""

import functools

import jax
import numpy as np
from PIL import Image, ImageSequence
import pytest

from bicross_jax import cli, inference
from bicross_jax.commands import stages, visualize
from bicross_jax.evaluation import run as evaluation
from tests.scripts.conftest import script


@pytest.fixture(autouse=True)
def _here(place, monkeypatch):
  monkeypatch.chdir(place)


@pytest.fixture(scope="module", autouse=True)
def _load_once():
  """Networks are restored, and compiled, once for all tests here."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(inference, "load", functools.cache(inference.load))
    yield


@pytest.fixture(scope="module")
def show(crossmodality, place):
  """The two trained networks side by side: one sees RGB, the other spikes."""
  runs = {"rgb": crossmodality.parent / "pretrain-synthetic-s0", "spikes": crossmodality}
  models = visualize.load({name: str(path) for name, path in runs.items()})
  return visualize.Show(models, stages.evaluation_config(models["spikes"].config))


def _main(*argv):
  return script("visualize").main([str(a) for a in argv])


def _size(path):
  with Image.open(path) as picture:
    return picture.size


def test_examples_are_those_of_the_evaluation(show, crossmodality):
  examples = show.examples("test", 2)
  assert [e["key"] for e in examples] == ["clear/test/000000", "clear/test/000002"]
  report = stages.evaluate(show.models["spikes"], show.config, "test")
  for example, row in zip(examples, (report.rows[0], report.rows[2])):
    assert example["abs_rel"]["spikes"] == pytest.approx(row["abs_rel"], rel=1e-5)
    assert set(example["prediction"]) == {"rgb", "spikes"}
    assert "uncertainty" not in example and "feature" not in example
    one = show.models["rgb"].predict({"rgb": example["rgb"][None]})["depth"][0]
    np.testing.assert_allclose(example["prediction"]["rgb"], one, rtol=1e-4)
  assert isinstance(report, evaluation.Report)


def test_the_strip(crossmodality, tmp_path):
  parent = crossmodality.parent / "pretrain-synthetic-s0"
  assert (
    _main(
      "--strip",
      f"source only={parent}",
      f"b={crossmodality}",
      "--output",
      tmp_path / "s.png",
      "--data.domain=clear",
      "--examples",
      2,
    )
    == 0
  )
  assert _size(tmp_path / "s.png")[0] == pytest.approx(110 * (5 * 2.66 + 0.06), abs=2)


@pytest.mark.slow
def test_the_panel_and_a_video_of_a_drive(crossmodality, tmp_path):
  png, gif = tmp_path / "p.png", tmp_path / "v.gif"
  assert (
    _main(
      "--checkpoint",
      crossmodality,
      "--output",
      png,
      "--examples",
      1,
      "--video",
      gif,
      "--frames",
      3,
      "--first",
      1,
      "--fps",
      5,
      "--data.batch_size=1",
    )
    == 0
  )
  assert sorted(p.name for p in tmp_path.iterdir()) == ["p.png", "v.gif"]
  assert _size(png)[0] == pytest.approx(110 * (7 * 2.66 + 0.06), abs=2)
  with Image.open(gif) as picture:
    assert picture.info["duration"] == 200
    frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(picture)]
  assert len(frames) == 3 and len({f.shape for f in frames}) == 1
  bars = [f[-42:].astype(int) for f in frames]  # 0.42 inches of 100 pixels
  assert bars[0].std() > 20
  for bar in bars[1:]:
    assert np.abs(bar - bars[0]).mean() < 3  # a GIF has its own 256 colours in every frame
  assert np.abs(frames[0].astype(int) - frames[2]).mean() > 1


def test_the_feature_map_and_the_uncertainty_are_the_networks_own(crossmodality):
  model = inference.load(str(crossmodality))
  config = stages.evaluation_config(model.config, None, ["data.batch_size=1"])
  (example,) = visualize.Show({"prediction": model}, config).examples("test", 1)
  bits = np.unpackbits(example["spike"], axis=-1, bitorder="little").astype(np.float32)
  output = jax.jit(model.module.apply)(model.variables, 2 * bits[None] - 1)
  np.testing.assert_allclose(example["feature"], output.features["path_1"][0], rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(example["uncertainty"], output.uncertainty[0], rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(example["prediction"], output.depth[0], rtol=1e-3)


def test_a_sequence_of_another_set_is_its_part_in_order(show, monkeypatch):
  monkeypatch.setattr(show.config.data, "name", "real")
  data = visualize.pipeline.open(show.models["spikes"].config.data)
  monkeypatch.setattr(visualize.pipeline, "open", lambda config: data)
  keys = [frame["key"] for frame in show.sequence("test", first=1, count=5)]
  assert keys == ["clear/test/000001", "clear/test/000002"]
  with pytest.raises(visualize.errors.UserError, match="no frame 3"):
    show.sequence("test", first=3)


def test_scales_of_a_sequence_are_nearly_those_of_all_its_pixels():
  rng = np.random.default_rng(0)
  frames = [
    {
      "depth": rng.uniform(2, 50, (90, 120)),
      "prediction": rng.uniform(2, 50, (90, 120)),
      "uncertainty": rng.uniform(0, 0.4, (90, 120)),
      "spike": rng.integers(0, 255, (90, 120, 16), np.uint8),
      "feature": rng.normal(size=(45, 60, 8)),
    }
    for _ in range(20)
  ]
  few, every = visualize.sequence_scales(frames), visualize.panels.shared_scales(frames)
  assert few.depth.low == pytest.approx(every.depth.low, rel=0.1)
  assert few.depth.high == pytest.approx(every.depth.high, rel=0.05)
  assert few.uncertainty == pytest.approx(every.uncertainty, rel=0.05)
  assert few.feature == pytest.approx(every.feature, rel=0.2)
  assert few.white == pytest.approx(every.white, rel=0.15)


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--checkpoint", "configs"], "nothing to do"),
    (["--output", "x.png"], "--checkpoint"),
    (["--checkpoint", "configs", "--strip", "a=b", "--output", "x.png"], "not allowed"),
    (["--checkpoint", "nowhere", "--output", "x.png"], "nowhere"),
    (["--checkpoint", "configs", "--output", "x.jpg"], "x.jpg"),
    (["--checkpoint", "configs", "--output", "nowhere/x.png"], "nowhere"),
    (["--checkpoint", "configs", "--video", "x.avi"], ".mp4 or .gif"),
    (["--checkpoint", "configs", "--output", "x.png", "--examples", "0"], "--examples 0"),
    (["--checkpoint", "configs", "--video", "x.gif", "--frames", "0"], "--frames 0"),
    (["--checkpoint", "configs", "--video", "x.gif", "--fps", "0"], "--fps 0"),
    (["--checkpoint", "configs", "--video", "x.gif", "--first", "-1"], "--first -1"),
    (["--checkpoint", "configs", "--output", "x.png", "--eval.crop=garg"], "--data.key"),
    (["--strip", "a", "--output", "x.png"], "NAME=RUN"),
    (["--strip", "a=configs", "a=configs", "--output", "x.png"], "twice"),
    (["--strip", "a=nowhere", "--output", "x.png"], "nowhere"),
  ],
)
def test_bad_input_is_one_line_and_status_2(argv, words, capsys, place):
  before = set(place.iterdir())
  assert cli.run(script("visualize").main, argv) == 2
  shown = capsys.readouterr().err.strip()
  assert words in shown and shown.startswith("error:") and "\n" not in shown
  assert set(place.iterdir()) == before


def test_a_domain_or_streams_that_do_not_fit(crossmodality, tmp_path, capsys):
  base = ["--checkpoint", str(crossmodality), "--video", str(tmp_path / "v.gif")]
  for more, words in ((["--data.domain=fogy"], "foggy"), (["--data.steps=64"], "128 steps")):
    assert cli.run(script("visualize").main, [*base, *more]) == 2
    shown = capsys.readouterr().err.strip()
    assert words in shown and "\n" not in shown
  assert not list(tmp_path.iterdir())
