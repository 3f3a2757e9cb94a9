"""predict.py from end to end with networks that are formulas: files, videos, what is refused."""

import warnings

import cv2
import numpy as np
from PIL import Image
import pytest

from bicross_jax import cli, inference
from bicross_jax.data import classes as data_classes
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image, spikes
from bicross_jax.viz import video
from tests.commands import toy
from tests.scripts.conftest import script

ENDINGS = ("depth.npy", "depth.png", "uncertainty.npy")


@pytest.fixture
def use(monkeypatch, tmp_path):
  """Makes predict.py restore a stand-in; use(model) -> its main, with the checkpoint given."""
  (tmp_path / "run").mkdir()

  def use(model):
    monkeypatch.setattr(inference, "load", lambda path, plugins=(): model)
    return lambda *argv: cli.run(
      script("predict").main, [*map(str, argv), "--checkpoint", str(tmp_path / "run")]
    )

  return use


def _stream(steps, height=40, width=64):
  return np.random.default_rng(0).integers(0, 2, (steps, height, width), np.uint8)


def _frames(path):
  video = cv2.VideoCapture(str(path))
  count = 0
  while video.read()[0]:
    count += 1
  return count, video.get(cv2.CAP_PROP_FPS)


def _names(folder):
  return {p.name for p in folder.iterdir()}


def test_windows_of_a_stream_and_their_video(use, tmp_path, capsys):
  spikes.write_dat(tmp_path / "a.dat", _stream(72))
  predict, out = use(toy.spikes()), tmp_path / "out"
  base = (tmp_path / "a.dat", "--height", 40, "--width", 64)
  windows = ("--start", 8, "--stride", 24, "--fps", 5, "--depth_range", 1, 60)
  assert predict(*base, "--output", out, *windows) == 0
  names = [f"a_{start:07d}" for start in (8, 32, 56)]
  assert _names(out) == {"a.mp4"} | {f"{name}_{end}" for name in names for end in ENDINGS}
  assert _frames(out / "a.mp4") == (3, 5.0)
  shown = capsys.readouterr().out
  assert "a: depth" in shown and " m, uncertainty " in shown
  assert "3 x depth and uncertainty, 1 video(s)" in shown
  one = tmp_path / "one"
  assert predict(*base, "--output", one, "--start", 32) == 0
  assert _names(one) == {"a.png"} | {f"a_{end}" for end in ENDINGS}
  np.testing.assert_array_equal(np.load(one / "a_depth.npy"), np.load(out / "a_0000032_depth.npy"))


def test_a_folder_of_pictures_gives_a_video(use, tmp_path):
  rng = np.random.default_rng(0)
  for i in range(3):  # one of another size
    shape = (30 + i // 2, 50, 3)
    image.write_png(tmp_path / "clip" / f"{i}.png", rng.integers(0, 256, shape, np.uint8))
  out = tmp_path / "out"
  assert use(toy.pictures())(tmp_path / "clip", "--output", out, "--video", "gif") == 0
  assert _names(out) == {"clip.gif"} | {
    f"{i}{end}" for i in range(3) for end in (".png", *(f"_{e}" for e in ENDINGS))
  }
  assert np.load(out / "2_depth.npy").shape == (31, 50)
  assert _frames(out / "clip.gif")[0] == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_unknown_and_told(bad, use, tmp_path, capsys):
  image.write_png(tmp_path / "a.png", np.full((24, 40, 3), 9, np.uint8))

  def damaged(depth):
    depth = depth.copy()
    depth[:, 0, 0] = bad
    return depth

  assert use(toy.pictures(damaged))(tmp_path / "a.png", "--output", tmp_path / "out") == 0
  shown = capsys.readouterr()
  assert "warning: a: values that are no numbers: 1;" in shown.err
  depth = np.load(tmp_path / "out" / "a_depth.npy")
  png = depth_files.read_png16(tmp_path / "out" / "a_depth.png", 256.0)
  assert np.isfinite(depth).all() and depth[0, 0] == 0 == png[0, 0]
  np.testing.assert_allclose(depth[8:, 8:], 10)
  assert "depth 10 to 10 m" in shown.out


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_network_that_knows_nothing_at_all(bad, use, tmp_path, capsys):
  for name in ("a", "b"):
    image.write_png(tmp_path / "clip" / f"{name}.png", np.zeros((24, 40, 3), np.uint8))
  with warnings.catch_warnings():
    warnings.simplefilter("error", RuntimeWarning)
    predict = use(toy.pictures(lambda depth: depth * bad))
    assert predict(tmp_path / "clip", "--output", tmp_path / "out", "--video", "gif") == 0
  assert not np.load(tmp_path / "out" / "a_depth.npy").any()
  assert "depth unknown" in capsys.readouterr().out


def test_classes_of_an_event_camera_that_remembers(use, tmp_path, capsys):
  rng = np.random.default_rng(0)
  (tmp_path / "drive").mkdir()
  for i in (1, 2, 10):
    np.savez(
      tmp_path / "drive" / f"{i}.npz",
      events=rng.integers(0, 2, (24, 40, 5, 4), np.uint8),
      rgb=rng.integers(0, 256, (24, 40, 3), np.uint8),
    )
  out = tmp_path / "out"
  assert use(toy.counter())(tmp_path / "drive", "--output", out, "--video", "gif") == 0
  for place, i in enumerate((1, 2, 10), 1):  # in the order of the numbers
    with Image.open(out / f"{i}_label.png") as picture:
      assert set(np.unique(np.asarray(picture))) <= {place, 255}
    assert (out / f"{i}_overlay.png").exists() and (out / f"{i}.png").exists()
  assert _frames(out / "drive.gif")[0] == 3
  capsys.readouterr()
  range_ = ("--depth_range", 1, 2)
  assert use(toy.counter())(tmp_path / "drive", "--output", tmp_path / "o", *range_) == 2
  assert "--depth_range is of depth" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["$x^", r"\frac{", "a\udcffb", "100%s", "{}", "\u4e00"])
def test_odd_file_names(name, use, tmp_path):
  (tmp_path / "in").mkdir()
  image.write_png(tmp_path / "in" / f"{name.replace('/', '')}.png", np.zeros((24, 40, 3), np.uint8))
  assert use(toy.pictures())(tmp_path / "in", "--output", tmp_path / "out") == 0
  assert f"{name}.png" in _names(tmp_path / "out")


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--stride", "0"], "--stride 0 is not positive"),
    (["--stride", "-4"], "--stride -4 is not positive"),
    (["--stride", "x"], "invalid int value"),
    (["--start", "-1"], "--start -1 is negative"),
    (["--stride", "8", "--start", "185"], "has 200 steps (expected at least 201 for one window)"),
    (["--stride", "8", "--height", "41"], "no whole number of steps"),
    (["--height", "0"], "--height 0 is not positive"),
    (["--fps", "0"], "--fps 0"),
    (["--fps", "nan"], "--fps nan"),
    (["--fps", "inf"], "--fps inf"),
    (["--fps", "1e300"], "--fps 1e+300"),
    (["--depth_range", "9", "3"], "0 < LOW < HIGH"),
    (["--video", "avi"], "invalid choice"),
  ],
)
def test_bad_input_is_one_line_and_status_2(argv, words, use, tmp_path, capsys):
  spikes.write_dat(tmp_path / "a.dat", _stream(200))
  given = ["--height", "40", "--width", "64", "--output", tmp_path / "out", *argv]
  assert use(toy.spikes())(tmp_path / "a.dat", *given) == 2
  shown = capsys.readouterr().err.strip()
  assert shown.startswith("error: ") and words in shown and "\n" not in shown
  assert not (tmp_path / "out").exists()


def test_what_can_be_seen_to_be_wrong_is_said_before_the_network_is_loaded(
  use, tmp_path, capsys, monkeypatch
):
  predict = use(toy.pictures())
  monkeypatch.setattr(inference, "load", lambda *_, **__: pytest.fail("the network was loaded"))
  for i in range(2):
    image.write_png(tmp_path / "frames" / f"{i}.png", np.full((9, 9, 3), i, np.uint8))
  before = {p: p.read_bytes() for p in (tmp_path / "frames").iterdir()}
  (tmp_path / "a.doc").touch()
  for argv, words in (
    (("frames", "--output", "frames"), "is an input folder"),
    (("frames/0.png", "--output", "frames"), "written over it"),
    (("frames", "--output", "a.doc"), "no folder"),
    (("frames", "--output", "a.doc/x"), "no folder"),
    (("a.doc", "--output", "o"), "unknown kind of input"),
    (("nothing.png", "--output", "o"), "nothing.png"),
  ):
    monkeypatch.chdir(tmp_path)
    assert predict(*argv) == 2
    shown = capsys.readouterr().err.strip()
    assert words in shown and "\n" not in shown
  assert before == {p: p.read_bytes() for p in (tmp_path / "frames").iterdir()}


def test_a_damaged_file_among_others_is_found_before_anything_is_written(use, tmp_path, capsys):
  image.write_png(tmp_path / "in" / "a.png", np.zeros((9, 9, 3), np.uint8))
  (tmp_path / "in" / "b.png").write_bytes(b"no picture")
  assert use(toy.pictures())(tmp_path / "in", "--output", tmp_path / "out") == 2
  assert "b.png" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


def test_a_bad_window_leaves_whole_maps_and_no_video(use, tmp_path, capsys):
  stream = _stream(60)
  stream[40, 0, 0] = 2
  np.save(tmp_path / "a.npy", stream)
  out = tmp_path / "out"
  assert use(toy.spikes())(tmp_path / "a.npy", "--output", out, "--stride", 16) == 2
  assert "other values than 0 and 1" in capsys.readouterr().err
  assert _names(out) == {f"a_{s:07d}_{end}" for s in (0, 16) for end in ENDINGS}


def test_windows_are_for_spikes(use, tmp_path, capsys):
  image.write_png(tmp_path / "a.png", np.zeros((32, 64, 3), np.uint8))
  assert use(toy.pictures())(tmp_path / "a.png", "--output", tmp_path / "o", "--stride", 1) == 2
  assert "--stride is for streams of spikes or events" in capsys.readouterr().err


def test_the_point_cloud_and_the_error_where_the_file_knows_more(use, tmp_path):
  rng = np.random.default_rng(0)
  np.savez(
    tmp_path / "a.npz",
    rgb=rng.integers(0, 256, (24, 40, 3), np.uint8),
    intrinsics=np.array([[30, 0, 20], [0, 30, 12], [0, 0, 1]], np.float32),
    depth=np.full((24, 40), 9, np.float32),
  )
  assert use(toy.pictures())(tmp_path / "a.npz", "--ply", "--output", tmp_path / "out") == 0
  assert _names(tmp_path / "out") == {"a.png", "a.ply"} | {f"a_{end}" for end in ENDINGS}
  with Image.open(tmp_path / "out" / "a.png") as picture:  # RGB, depth, prediction, error, ...
    assert picture.width == pytest.approx(110 * (5 * 2.66 + 0.06), abs=2)


def test_a_single_picture_needs_no_video_writer(use, tmp_path, monkeypatch):
  image.write_png(tmp_path / "a.png", np.zeros((24, 40, 3), np.uint8))
  monkeypatch.setattr(video, "check", lambda *_: pytest.fail("a video was prepared"))
  assert use(toy.pictures())(tmp_path / "a.png", "--output", tmp_path / "o") == 0


def test_classes_of_event_files(use, tmp_path, capsys):
  """Windows of a recording become event images: label, overlay over the image, and a video."""
  rng = np.random.default_rng(0)
  t = np.sort(rng.integers(0, 130_000, 4000))
  t[0], t[-1] = 0, 130_000
  x, y, p = rng.integers(0, 40, 4000), rng.integers(0, 24, 4000), rng.integers(0, 2, 4000)
  lines = "\n".join(f"{a / 1e6:.6f} {b} {c} {d}" for a, b, c, d in zip(t, x, y, p))
  (tmp_path / "a.txt").write_text(lines + "\n")
  out, size = tmp_path / "out", ("--height", 24, "--width", 40)
  model = toy.busy("event_image")
  predict = use(model)
  assert predict(tmp_path / "a.txt", *size, "--stride", 40, "--output", out) == 0
  names = [f"a_{begin:07d}" for begin in (0, 40, 80)]
  assert _names(out) == {"a.mp4"} | {
    f"{n}_{end}.png" for n in names for end in ("label", "overlay")
  }
  said = capsys.readouterr()
  assert _frames(out / "a.mp4")[0] == 3
  whole = np.zeros(6)
  colours = data_classes.DDD17.palette()
  for begin, name in zip((0, 40, 80), names, strict=True):
    inside = (t > 1000 * begin - 1) & (t <= 1000 * begin + 49_999)
    counts = np.zeros((24, 40, 2))
    np.add.at(counts, (y[inside], x[inside], p[inside]), 1)
    seen = np.floor(255 * counts / counts.max((0, 1))).astype(np.uint8)
    with Image.open(out / f"{name}_label.png") as picture:
      label = np.asarray(picture)
      np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colours[label])
    want = model.step({"event_image": seen[None]}, ())[0]["logits"][0].argmax(-1)
    np.testing.assert_array_equal(label, want)
    assert len(np.unique(label)) > 3
    whole += np.bincount(label.ravel(), minlength=6)
    below = np.concatenate([seen, np.zeros((24, 40, 1))], -1)
    over = np.asarray(Image.open(out / f"{name}_overlay.png"))
    np.testing.assert_allclose(over, (below + colours[label]) / 2, atol=0.5)
  known = data_classes.DDD17.names
  shares = {k: f"{known[k]} {100 * n / whole.sum():.0f} %" for k, n in enumerate(whole) if n}
  told = next(line for line in (said.out + said.err).splitlines() if line.startswith("a: "))
  assert sorted(told.removeprefix("a: ").split(", ")) == sorted(shares.values())
  assert told.startswith(f"a: {shares[whole.argmax()]}")  # the most frequent first
  assert predict(tmp_path / "a.txt", *size, "--output", tmp_path / "one") == 0
  assert _names(tmp_path / "one") == {"a.png", "a_label.png", "a_overlay.png"}
  assert predict(tmp_path / "a.txt", "--output", tmp_path / "none") == 2  # whose size nobody says


def test_classes_of_frames_that_are_resized_as_in_training(use, tmp_path):
  rng = np.random.default_rng(0)
  pictures = {name: rng.integers(0, 256, (20, 34, 3), np.uint8) for name in ("f_1", "f_2")}
  for name, picture in pictures.items():
    image.write_png(tmp_path / "drive" / f"{name}.png", picture)
  model = toy.busy("rgb", data={"crop": "bicubic", "name": "world"}, fixed=True)
  out = tmp_path / "out"
  assert use(model)(tmp_path / "drive", "--output", out, "--video", "gif") == 0
  assert _frames(out / "drive.gif")[0] == 2
  for name, picture in pictures.items():
    seen = Image.fromarray(picture).resize((40, 24), Image.Resampling.BICUBIC)
    logits = model.step({"rgb": np.asarray(seen)[None]}, ())[0]["logits"][0]
    want = cv2.resize(logits, (34, 20), interpolation=cv2.INTER_LINEAR).argmax(-1)
    with Image.open(out / f"{name}_label.png") as found:
      np.testing.assert_array_equal(np.asarray(found), want)
    assert (out / f"{name}_overlay.png").exists() and (out / f"{name}.png").exists()
