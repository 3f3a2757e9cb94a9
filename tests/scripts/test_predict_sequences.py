"""predict.py on long streams and on folders: windows, videos, and what is refused."""

import json

import cv2
import numpy as np
import pytest

from bicross_jax import cli
from bicross_jax.data.formats import image, spikes
from tests.scripts.conftest import script


@pytest.fixture(autouse=True)
def _here(place, monkeypatch):
  monkeypatch.chdir(place)


def _stream(steps, height=40, width=64):
  return np.random.default_rng(0).integers(0, 2, (steps, height, width), np.uint8)


def _frames(path):
  video = cv2.VideoCapture(str(path))
  count = 0
  while video.read()[0]:
    count += 1
  return count, video.get(cv2.CAP_PROP_FPS)


def test_windows_of_a_stream_and_their_video(crossmodality, tmp_path, capsys):
  spikes.write_dat(tmp_path / "a.dat", _stream(200))
  predict, out = script("predict").main, tmp_path / "out"
  base = ["--checkpoint", str(crossmodality), "--height", "40", "--width", "64"]
  assert (
    predict(
      [
        str(tmp_path / "a.dat"),
        *base,
        "--output",
        str(out),
        "--start",
        "8",
        "--stride",
        "32",
        "--fps",
        "5",
        "--depth_range",
        "1",
        "60",
      ]
    )
    == 0
  )
  names = [f"a_{start:07d}" for start in (8, 40, 72)]
  assert {p.name for p in out.iterdir()} == {"a.mp4"} | {
    f"{name}_{end}" for name in names for end in ("depth.npy", "depth.png", "uncertainty.npy")
  }
  assert _frames(out / "a.mp4") == (3, 5.0)
  assert "3 x depth" in capsys.readouterr().out
  one = tmp_path / "one"
  assert predict([str(tmp_path / "a.dat"), *base, "--output", str(one), "--start", "40"]) == 0
  assert {p.name for p in one.iterdir()} == {
    "a_depth.npy",
    "a_depth.png",
    "a_uncertainty.npy",
    "a.png",
  }
  np.testing.assert_array_equal(np.load(one / "a_depth.npy"), np.load(out / "a_0000040_depth.npy"))


def test_a_folder_of_pictures_gives_a_video(crossmodality, tmp_path):
  rgb = crossmodality.parent / "pretrain-synthetic-s0"
  rng = np.random.default_rng(0)
  for i in range(3):  # one of another size
    image.write_png(
      tmp_path / "clip" / f"{i}.png", rng.integers(0, 256, (30 + i // 2, 50, 3), np.uint8)
    )
  argv = [str(tmp_path / "clip"), "--checkpoint", str(rgb), "--output", str(tmp_path / "out")]
  assert script("predict").main([*argv, "--video", "gif"]) == 0
  made = {p.name for p in (tmp_path / "out").iterdir()}
  assert made == {"clip.gif"} | {
    f"{i}{end}"
    for i in range(3)
    for end in (".png", "_depth.npy", "_depth.png", "_uncertainty.npy")
  }
  assert np.load(tmp_path / "out" / "2_depth.npy").shape == (31, 50)
  assert _frames(tmp_path / "out" / "clip.gif")[0] == 3


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--stride", "0"], "--stride 0 is not positive"),
    (["--stride", "-4"], "--stride -4 is not positive"),
    (["--stride", "x"], "invalid int value"),
    (["--start", "-1"], "--start -1 is negative"),
    (["--stride", "8", "--start", "73"], "has 200 steps (expected at least 201 for one window)"),
    (["--stride", "8", "--height", "41"], "no whole number of steps"),
    (["--fps", "0"], "--fps 0"),
    (["--fps", "nan"], "--fps nan"),
    (["--depth_range", "9", "3"], "0 < LOW < HIGH"),
    (["--video", "avi"], "invalid choice"),
  ],
)
def test_bad_input_is_one_line_and_status_2(argv, words, crossmodality, tmp_path, capsys):
  spikes.write_dat(tmp_path / "a.dat", _stream(200))
  capsys.readouterr()
  assert (
    cli.run(
      script("predict").main,
      [
        str(tmp_path / "a.dat"),
        "--checkpoint",
        str(crossmodality),
        "--height",
        "40",
        "--width",
        "64",
        "--output",
        str(tmp_path / "out"),
        *argv,
      ],
    )
    == 2
  )
  shown = capsys.readouterr().err.strip()
  assert shown.startswith("error: ") and words in shown and "\n" not in shown
  assert not (tmp_path / "out").exists()


def test_a_bad_window_leaves_whole_maps_and_no_video(crossmodality, tmp_path, capsys):
  stream = _stream(160)
  stream[150, 0, 0] = 2
  np.save(tmp_path / "a.npy", stream)
  argv = [
    str(tmp_path / "a.npy"),
    "--checkpoint",
    str(crossmodality),
    "--output",
    str(tmp_path / "out"),
    "--stride",
    "16",
  ]
  assert cli.run(script("predict").main, argv) == 2
  assert "other values than 0 and 1" in capsys.readouterr().err
  assert {p.name for p in (tmp_path / "out").iterdir()} == {
    f"a_{s:07d}_{end}" for s in (0, 16) for end in ("depth.npy", "depth.png", "uncertainty.npy")
  }


def test_windows_are_for_spikes(crossmodality, tmp_path, capsys):
  rgb = crossmodality.parent / "pretrain-synthetic-s0"
  assert json.loads((rgb / "config.json").read_text())["input"]["modality"] == "rgb"
  image.write_png(tmp_path / "a.png", np.zeros((32, 64, 3), np.uint8))
  assert (
    cli.run(
      script("predict").main,
      [
        str(tmp_path / "a.png"),
        "--checkpoint",
        str(rgb),
        "--output",
        str(tmp_path / "o"),
        "--stride",
        "1",
      ],
    )
    == 2
  )
  assert "--stride is for spike streams" in capsys.readouterr().err
