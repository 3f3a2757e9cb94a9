"""Depth hints of data sets: where they are written, what is skipped, and what is refused."""

import numpy as np
import pytest
from scipy import ndimage

from bicross_jax import errors
from bicross_jax.commands import depth_hints
from bicross_jax.data import depth_hints as maker
from bicross_jax.data import sets
from bicross_jax.data.formats import image
from bicross_jax.data.layouts.readers import Asked

DATE, DRIVE = "2011_09_26", "2011_09_26_drive_0001_sync"
SIZE, DISTANCE = (40, 96), 6  # pixels; of the views
CAMERAS = f"""R_rect_00: 1 0 0 0 1 0 0 0 1
S_rect_02: {SIZE[1]} {SIZE[0]}
P_rect_02: 60 0 48 0 0 60 20 0 0 0 1 0
S_rect_03: {SIZE[1]} {SIZE[0]}
P_rect_03: 60 0 48 -30 0 60 20 0 0 0 1 0
"""
METRES = 60 * 0.5 / DISTANCE
SMALL = ("--height", "20", "--width", "48")


def _views(number):
  noise = np.random.default_rng(number).normal(size=(SIZE[0], SIZE[1] + DISTANCE, 3))
  scene = np.clip(128 + 300 * ndimage.gaussian_filter(noise, (1.5, 1.5, 0)), 0, 255)
  scene = scene.astype(np.uint8)
  return scene[:, : SIZE[1]], scene[:, DISTANCE:]


@pytest.fixture
def kitti(tmp_path):
  """KITTI raw with two pairs of a drive."""
  root = tmp_path / "kitti"
  for number in (0, 1):
    for camera, view in zip((2, 3), _views(number)):
      folder = root / DATE / DRIVE / f"image_{camera:02d}" / "data"
      image.write_png(folder / f"{number:010d}.png", view)
  (root / DATE / "calib_cam_to_cam.txt").write_text(CAMERAS)
  return root


@pytest.fixture
def rig(tmp_path):
  """A rig of one's own with ten pairs."""
  root = tmp_path / "rig"
  for number in range(10):
    for side, view in zip(("left", "right"), _views(number)):
      image.write_png(root / side / f"{number}.png", view)
  (root / "calibration.txt").write_text(f"60 60 48 20\n0.5\n{SIZE[1]} {SIZE[0]}\n")
  return root


def _main(*argv):
  return depth_hints.main([str(word) for word in argv])


def _kitti(root, *argv):
  return _main("--data", "kitti_stereo", "--data_dir", root, "--listed", DRIVE, *SMALL, *argv)


def _hints(root):
  return {
    str(path.relative_to(root / "depth_hints")): path
    for path in (root / "depth_hints").rglob("*")
    if path.is_file()
  }


def test_hints_are_metres_of_the_rig_where_the_set_reads_them(kitti, capsys):
  """At half the size the focal length and the disparity are half of what they are."""
  assert _kitti(kitti, "--workers", "2") == 0
  assert "4 hints made, 0 were there" in capsys.readouterr().out
  known = sets.SETS["kitti_stereo"]
  fields = ("rgb", "rgb_right", "baseline", "depth_hint")
  runs = known.recordings(kitti, "listed", "train", fields=fields, entries={"train": (DRIVE,)})
  frames = [frame for run in runs for frame in run]
  assert len(frames) == 4 and {frame.side for frame in frames} == {"left", "right"}
  for frame in frames:
    read = known.readers["depth_hint"].read
    hint = read(Asked(frame.files["depth_hint"], SIZE, side=frame.side))
    assert hint.shape == SIZE and (hint > 0).mean() > 0.4
    assert np.median(hint[hint > 0]) == pytest.approx(METRES, rel=1e-6)
    edge = hint[:, :DISTANCE] if frame.side == "left" else hint[:, -DISTANCE:]
    assert not edge.any() and frame.files["depth_hint"].endswith(".npy")


def test_the_same_size_is_matched_as_it_is(kitti):
  _kitti(kitti, "--height", SIZE[0], "--width", SIZE[1])
  left, right = _views(1)
  name = f"{DATE}/{DRIVE}/image_03/0000000001.npy"
  np.testing.assert_array_equal(
    np.load(_hints(kitti)[name]), maker.hints(right, left, -0.5, focal=60.0)
  )


def test_what_is_there_whole_is_skipped(kitti, capsys):
  _kitti(kitti)
  one, *others = sorted(_hints(kitti).values())
  one.unlink()
  before = [path.stat().st_mtime_ns for path in others]
  capsys.readouterr()
  _kitti(kitti)
  assert "1 hints made, 3 were there" in capsys.readouterr().out
  assert one.exists() and [path.stat().st_mtime_ns for path in others] == before
  _kitti(kitti)
  assert "0 hints of 20x48 to make, 0 GB; 4 are there" in capsys.readouterr().out


def test_other_hints_are_replaced_only_where_that_is_said(kitti):
  _kitti(kitti)
  whole = {name: np.load(path) for name, path in _hints(kitti).items()}
  with pytest.raises(
    errors.UserError, match=r"float32\[20, 48\] .expected a hint .24, 48.*--overw"
  ):
    _kitti(kitti, "--height", "24")
  _kitti(kitti, "--overwrite", "--compress", "--dtype", "float16")
  packed = _hints(kitti)
  assert {name.replace("npz", "npy") for name in packed} == set(whole)  # none of both kinds
  for name, path in packed.items():
    with np.load(path) as file:
      assert file.files == ["depth"] and file["depth"].dtype == np.float16
      np.testing.assert_allclose(file["depth"], whole[name.replace("npz", "npy")], rtol=1e-3)
  _kitti(kitti)  # counts these
  assert set(_hints(kitti)) == set(packed)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_a_damaged_hint_is_named(kitti, content):
  path = kitti / "depth_hints" / DATE / DRIVE / "image_02" / "0000000000.npy"
  path.parent.mkdir(parents=True)
  if content is None:
    np.save(path, np.zeros((1, 20, 48), np.float32))  # of the published script
  else:
    path.write_bytes(content)
  with pytest.raises(errors.UserError, match="0000000000.npy.*--overwrite") as caught:
    _kitti(kitti)
  assert "\n" not in str(caught.value)


def test_a_dry_run_says_how_much_and_makes_nothing(kitti, capsys):
  _kitti(kitti, "--dry_run")
  assert "4 hints of 20x48 to make, 1.54e-05 GB; 0 are there" in capsys.readouterr().out
  _kitti(kitti, "--dry_run", "--compress", "--dtype", "float16")
  assert "about 3.07e-06 GB" in capsys.readouterr().out
  assert not (kitti / "depth_hints").exists()


def test_a_disk_without_room_is_told_before_anything_is_made(kitti, monkeypatch):
  usage = type("Usage", (), {"free": 1000})
  monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
  with pytest.raises(errors.UserError, match="would take .* are free"):
    _kitti(kitti)
  assert not (kitti / "depth_hints").exists()


def test_a_rig_of_ones_own(rig, capsys):
  """Training has both views of eight pairs; other parts have left ones, which are made when asked for."""
  base = ("--data", "custom", "--data_dir", rig, *SMALL)
  _main(*base)
  assert set(_hints(rig)) == {f"{side}/{i}.npy" for side in ("left", "right") for i in range(8)}
  for path in _hints(rig).values():
    hint = np.load(path)
    assert np.median(hint[hint > 0]) == pytest.approx(METRES, rel=1e-6)
  capsys.readouterr()
  _main(*base, "--domain", "left", "--parts", "train,validation,test")
  assert "2 hints made, 8 were there" in capsys.readouterr().out


def test_twelve_matchers_make_the_same_hints(rig):
  base = ("--data", "custom", "--data_dir", rig, "--parts", "test", *SMALL)
  _main(*base)
  hint = np.load(_hints(rig)["left/9.npy"])
  _main(*base, "--matchers", "12", "--overwrite")
  np.testing.assert_array_equal(np.load(_hints(rig)["left/9.npy"]), hint)


def _smaller(root):
  image.write_png(root / "right" / "3.png", np.zeros((40, 90, 3), np.uint8))


@pytest.mark.parametrize(
  "damage, words",
  [
    (_smaller, "right/3.png: its size is 40x90 .expected 40x96 like .*left/3.png"),
    (lambda root: (root / "right" / "3.png").unlink(), "2 of the 16 train.*3.png.*--allow_missing"),
    (lambda root: (root / "left" / "3.png").write_bytes(b"no"), "left/3.png: cannot be decoded"),
    (lambda root: (root / "calibration.txt").unlink(), "calibration.txt"),
    (
      lambda root: (root / "calibration.txt").write_text("60 60 48 20\n0.5\n90 40\n"),
      "calibration.txt: is of images of 40x90",
    ),
  ],
)
def test_a_rig_that_cannot_be_right_is_told_of_in_one_line(rig, damage, words):
  damage(rig)
  with pytest.raises(errors.UserError, match=words) as caught:
    _main("--data", "custom", "--data_dir", rig, *SMALL)
  assert "\n" not in str(caught.value)


def test_views_that_lack_files_can_be_left_out(rig, capsys):
  (rig / "right" / "3.png").unlink()
  _main("--data", "custom", "--data_dir", rig, "--allow_missing", *SMALL)
  assert "14 hints made" in capsys.readouterr().out


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--data", "custom"], "--data_dir"),
    (["--data", "custom", "--data_dir", "nowhere"], "nowhere: no such folder"),
    (["--data", "custom", "--data_dir", "."], "no custom/both in"),
    (["--data", "kitti", "--data_dir", "."], "choose from custom, kitti_stereo"),
    (["--data", "world", "--data_dir", "."], "choose from custom, kitti_stereo"),
    (["--data", "costum", "--data_dir", "."], "custom"),
    (["--data", "custom", "--data_dir", ".", "--parts", "train,tset"], "--parts tset"),
    (["--data", "custom", "--data_dir", ".", "--width", "16"], "--width 16"),
    (["--data", "custom", "--data_dir", ".", "--matchers", "9"], "matchers"),
    (["--data", "custom", "--data_dir", ".", "--workers", "0"], "--workers 0"),
    (["--data", "custom", "--data_dir", ".", "--domain", "left", "--listed", "a"], "either"),
    (["--data", "custom", "--data_dir", ".", "--domain", "right"], "unknown domain 'right'"),
  ],
)
def test_arguments_that_do_not_work(tmp_path, monkeypatch, argv, words):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match=words):
    depth_hints.main(argv)
