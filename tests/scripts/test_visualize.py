"""visualize.py from end to end with networks that are formulas: the panel, the strip, the video."""

import numpy as np
from PIL import Image, ImageSequence
import pytest

from bicross_jax import cli, inference
from bicross_jax.data import pipeline
from tests.commands import toy
from tests.commands.test_visualize import Data, config
from tests.commands.test_visualize import example as examples
from tests.scripts.conftest import script


@pytest.fixture
def run(tmp_path, monkeypatch):
  """A folder that looks like a run, and is the working folder."""
  folder = tmp_path / "run"
  (folder / "checkpoints").mkdir(parents=True)
  monkeypatch.chdir(tmp_path)
  return folder


@pytest.fixture
def use(monkeypatch):
  """use(set, network, ...): what is opened, and restored in this order."""

  def use(data, *models):
    monkeypatch.setattr(pipeline, "open", lambda config, section: data)
    left = list(models)
    monkeypatch.setattr(inference, "load", lambda path, plugins=(): left.pop(0))

  return use


def _main(*argv):
  return cli.run(script("visualize").main, [str(a) for a in argv])


def _size(path):
  with Image.open(path) as picture:
    return picture.size


def test_the_panel_and_a_video_of_frames_of_which_some_lack_the_truth(run, use):
  use(Data(), toy.spikes(**config()))
  video = ("--video", "v.gif", "--frames", 4, "--first", 1, "--fps", 5)
  assert _main("--checkpoint", run, "--output", "p.png", "--examples", 2, *video) == 0
  # RGB, spikes, depth, prediction, error, uncertainty
  assert _size("p.png")[0] == pytest.approx(110 * (6 * 2.66 + 0.06), abs=2)
  with Image.open("v.gif") as picture:
    assert picture.info["duration"] == 200
    frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(picture)]
  assert len(frames) == 4 and len({f.shape for f in frames}) == 1
  assert np.abs(frames[0].astype(int) - frames[2]).mean() > 1


def test_the_strip(run, use):
  use(Data(), toy.pictures(**config()), toy.spikes(**config()))
  strip = ("--strip", f"source $only={run}", f"b={run}")
  assert _main(*strip, "--output", "s.png", "--data.domain=foggy", "--examples", 2) == 0
  # RGB, spikes, two predictions, ground truth
  assert _size("s.png")[0] == pytest.approx(110 * (5 * 2.66 + 0.06), abs=2)


def test_classes_are_drawn_too(run, use):
  use(Data(size=5, batch=1), toy.counter(**config("classes")))
  assert _main("--checkpoint", run, "--output", "c.png", "--video", "c.gif", "--frames", 3) == 0
  assert _size("c.png")[0] > 500


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--checkpoint", "run"], "nothing to do"),
    (["--output", "x.png"], "--checkpoint"),
    (["--checkpoint", "run", "--strip", "a=b", "--output", "x.png"], "not allowed"),
    (["--checkpoint", "nowhere", "--output", "x.png"], "nowhere"),
    (["--checkpoint", "empty", "--output", "x.png"], "no checkpoints"),
    (["--checkpoint", "run", "--output", "x.jpg"], "x.jpg"),
    (["--checkpoint", "run", "--output", "nowhere/x.png"], "nowhere"),
    (["--checkpoint", "run", "--output", "folder.png"], "folder.png is a folder"),
    (["--checkpoint", "run", "--video", "x.avi"], ".mp4 or .gif"),
    (["--checkpoint", "run", "--output", "x.png", "--examples", "0"], "--examples 0"),
    (["--checkpoint", "run", "--video", "x.gif", "--frames", "0"], "--frames 0"),
    (["--checkpoint", "run", "--video", "x.gif", "--frames", "inf"], "invalid int"),
    (["--checkpoint", "run", "--video", "x.gif", "--frames", "9" * 30], "--frames 999"),
    (["--checkpoint", "run", "--video", "x.gif", "--first", "9" * 30], "--first 999"),
    (["--checkpoint", "run", "--video", "x.gif", "--fps", "0"], "0.0 frames a second"),
    (["--checkpoint", "run", "--video", "x.gif", "--fps", "inf"], "inf frames a second"),
    (["--checkpoint", "run", "--video", "x.gif", "--fps", "1e300"], "1e+300 frames a second"),
    (["--checkpoint", "run", "--video", "x.gif", "--fps", "nan"], "nan frames a second"),
    (["--checkpoint", "run", "--video", "x.gif", "--first", "-1"], "--first -1"),
    (["--checkpoint", "run", "--output", "x.png", "--eval.crop=garg"], "--data.key"),
    (["--strip", "a", "--output", "x.png"], "NAME=RUN"),
    (["--strip", "a=run", "a=run", "--output", "x.png"], "twice"),
    (["--strip", "a=nowhere", "--output", "x.png"], "nowhere"),
  ],
)
def test_bad_input_is_one_line_before_anything_is_loaded(argv, words, run, capsys, monkeypatch):
  monkeypatch.setattr(inference, "load", lambda *_, **__: pytest.fail("a network was loaded"))
  for name in ("empty", "folder.png"):
    (run.parent / name).mkdir()
  before = set(run.parent.iterdir())
  assert cli.run(script("visualize").main, argv) == 2
  shown = capsys.readouterr().err.strip()
  assert words in shown and shown.startswith("error:") and "\n" not in shown
  assert set(run.parent.iterdir()) == before


def test_nothing_heavy_is_imported_for_a_wrong_argument(run, tmp_path):
  import subprocess
  import sys

  code = (
    "import sys; from bicross_jax import cli; from bicross_jax.commands import predict, visualize;"
    "s = [cli.run(visualize.main, ['--strip', 'a=nowhere', '--output', 'x.png']),"
    "cli.run(predict.main, ['nothing.png', '--checkpoint', 'run', '--output', 'o'])];"
    "print(s, [m for m in ('jax', 'tensorflow', 'flax', 'orbax') if m in sys.modules])"
  )
  root = str(script.__globals__["ROOT"])
  made = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env={"PYTHONPATH": root, "PATH": "/usr/bin"},
    capture_output=True,
    text=True,
  )
  assert made.stdout.strip() == "[2, 2] []", made.stdout + made.stderr


def test_panels_pixel_for_pixel(run, use, capsys):
  """A file an example: the event image, what is said of it, the frame, what is said of that, the label."""
  whole = config("classes")
  events, frames = (toy.busy(name, **whole) for name in ("event_image", "rgb"))
  use(Data(), events, frames)
  strip = ("--strip", f"events={run}", f"APS={run}", "--panels", "p", "--examples", 2)
  assert _main(*strip) == 0
  assert "2 panel(s)" in capsys.readouterr().out
  example = examples(0)
  panels = np.asarray(Image.open("p/test-0.png"))
  _, event, said, rgb, of_frame, truth = np.split(panels, 6, axis=1)  # the set has spikes, too
  np.testing.assert_array_equal(event[..., :2], example["event_image"])
  np.testing.assert_array_equal(rgb, example["rgb"])
  assert len({x.shape for x in (event, said, rgb, of_frame, truth)}) == 1
  (run / "file").touch()
  assert _main("--strip", f"a={run}", f"b={run}", "--panels", run / "file") == 2
