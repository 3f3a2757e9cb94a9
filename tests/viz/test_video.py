import importlib.util
import resource
import time

import numpy as np
from PIL import Image, ImageSequence
import pytest

from bicross_jax import errors
from bicross_jax.viz import video

FRAMES = [np.full((21, 34, 3), (40 * i, 255 - 40 * i, 128), np.uint8) for i in range(5)]


def test_gif(tmp_path):
  path = tmp_path / "a.gif"
  assert video.write(path, iter(FRAMES), fps=12.5) == 5
  with Image.open(path) as picture:
    assert picture.info["duration"] == 80
    frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(picture)]
  assert len(frames) == 5
  for got, want in zip(frames, FRAMES, strict=True):
    np.testing.assert_allclose(got, want, atol=8)
  assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="imageio-ffmpeg")
def test_mp4(tmp_path):
  import imageio.v2 as imageio

  path = tmp_path / "a.mp4"
  assert video.write(path, iter(FRAMES), fps=5) == 5
  with imageio.get_reader(path) as reader:
    assert reader.get_meta_data()["fps"] == 5
    frames = list(reader.iter_data())
  assert len(frames) == 5
  assert frames[0].shape == (22, 34, 3)
  for got, want in zip(frames, FRAMES, strict=True):
    np.testing.assert_allclose(got[:21], want, atol=12)
  assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_mp4_without_ffmpeg_names_the_way_out(tmp_path, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(errors.UserError, match="imageio-ffmpeg; .gif"):
    video.write(tmp_path / "a.mp4", FRAMES)


def test_bad_input_leaves_no_file(tmp_path):
  with pytest.raises(errors.UserError, match=".mp4 or .gif"):
    video.write(tmp_path / "a.avi", FRAMES)
  with pytest.raises(errors.UserError, match="no frames"):
    video.write(tmp_path / "a.gif", [])
  with pytest.raises(errors.UserError, match="0 frames a second"):
    video.write(tmp_path / "a.gif", FRAMES, fps=0)
  for bad in (FRAMES[0][:5], FRAMES[0] / 255, FRAMES[0][..., 0]):
    with pytest.raises(ValueError, match="of one size"):
      video.write(tmp_path / "a.gif", [FRAMES[0], bad])
  assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="imageio-ffmpeg")
def test_frames_that_fail_midway_leave_no_file_and_no_process(tmp_path):
  def frames():
    yield from FRAMES
    raise RuntimeError("midway")

  for suffix in (".mp4", ".gif"):
    with pytest.raises(RuntimeError, match="midway"):
      video.write(tmp_path / f"a{suffix}", frames())
  time.sleep(0.2)  # what still ran would write now
  assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="imageio-ffmpeg")
def test_an_mp4_that_the_disk_cannot_hold_is_told_and_removed(tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (30, 64, 96, 3), np.uint8)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
  try:
    with pytest.raises(errors.UserError, match="cannot be written: ffmpeg stopped early"):
      video.write(tmp_path / "a.mp4", noise)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="imageio-ffmpeg")
def test_a_relative_name_with_a_colon_is_no_protocol(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert video.write("12:30:05.mp4", FRAMES) == 5
  assert [p.name for p in tmp_path.iterdir()] == ["12:30:05.mp4"]


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e300, 1e-300])
def test_frames_a_second_that_no_player_shows(fps, tmp_path):
  with pytest.raises(errors.UserError, match="frames a second is not in"):
    video.check(tmp_path / "a.gif", fps)
