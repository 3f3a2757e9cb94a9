"""KITTI's images as JPEG: what is written, what is skipped, removed and refused."""

import shutil

import numpy as np
from PIL import Image
import pytest

from bicross_jax import errors
from bicross_jax.commands import kitti_jpeg
from bicross_jax.data.formats import image
from bicross_jax.data.layouts import kitti_stereo

DATE, DRIVE = "2011_09_26", "2011_09_26_drive_0001_sync"
# The tables of ITU-T T.81, annex K, for light and colour: what JPEG's quality scales.
LIGHT_ROWS = [[16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55]]
COLOUR_ROWS = [[17, 18, 24, 47, 99, 99, 99, 99], [18, 21, 26, 66, 99, 99, 99, 99]]


@pytest.fixture
def tree(tmp_path):
  """KITTI raw with two pairs of smooth pictures."""
  rows, columns = np.mgrid[:40, :61]
  for camera in ("image_00", "image_02", "image_03"):
    folder = tmp_path / "raw" / DATE / DRIVE / camera / "data"
    folder.mkdir(parents=True)
    for i in (0, 1):
      picture = np.stack([4 * rows, 4 * columns, rows + columns + i], -1).astype(np.uint8)
      image.write_png(folder / f"{i:010d}.png", picture)
  (tmp_path / "raw" / DATE / "calib_cam_to_cam.txt").write_text("P_rect_02: 1\n")
  return tmp_path / "raw"


def _main(*argv):
  return kitti_jpeg.main([str(word) for word in argv])


def test_another_tree_has_what_is_needed_to_train(tree, tmp_path, capsys):
  output = tmp_path / "jpeg"
  assert _main("--data_dir", tree, "--output", output) == 0
  assert "4 of 4 images made" in capsys.readouterr().out
  found = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
  images = [f"{c}/data/{i:010d}.jpg" for c in ("image_02", "image_03") for i in (0, 1)]
  assert found == [f"{DATE}/{DRIVE}/{i}" for i in images] + [f"{DATE}/calib_cam_to_cam.txt"]
  path = output / DATE / DRIVE / images[0]
  with Image.open(path) as opened:
    assert opened.layer == [(1, 2, 2, 0), (2, 1, 1, 1), (3, 1, 1, 1)]  # 4:2:0
    tables = {n: np.reshape(table, (8, 8)) for n, table in opened.quantization.items()}
  for table, rows in ((tables[0], LIGHT_ROWS), (tables[1], COLOUR_ROWS)):  # quality 92: 16 %
    np.testing.assert_array_equal(table[:2], (np.array(rows) * 16 + 50) // 100)
  png = image.read_rgb(tree / DATE / DRIVE / images[0].replace("jpg", "png"))
  assert np.abs(image.read_rgb(path).astype(int) - png).mean() < 2


def test_what_is_finished_is_skipped(tree, tmp_path, capsys):
  output = tmp_path / "jpeg"
  _main("--data_dir", tree, "--output", output)
  gone, kept = (output / DATE / DRIVE / "image_03" / "data" / f"{i:010d}.jpg" for i in (0, 1))
  gone.unlink()
  before = kept.stat().st_mtime_ns
  _main("--data_dir", tree, "--output", output)
  assert "1 of 4 images made, 3 were there" in capsys.readouterr().out
  assert gone.exists() and kept.stat().st_mtime_ns == before


def test_jpeg_takes_the_place_of_png(tree, capsys):
  assert _main("--data_dir", tree, "--delete_png", "--workers", 2) == 0
  names = {p.name for c in (2, 3) for p in (tree / DATE / DRIVE / f"image_0{c}" / "data").iterdir()}
  assert names == {"0000000000.jpg", "0000000001.jpg"}
  assert len(list((tree / DATE / DRIVE / "image_00" / "data").glob("*.png"))) == 2  # grey ones
  assert _main("--data_dir", tree, "--delete_png") == 0
  assert "0 of 0 images made" in capsys.readouterr().out


def test_a_png_stays_where_its_jpeg_cannot_be_right(tree):
  folder = tree / DATE / DRIVE / "image_02" / "data"
  image.write_jpeg(folder / "0000000000.jpg", np.zeros((40, 60, 3), np.uint8), 92)
  with pytest.raises(errors.BadFileError, match="40x60 pixels .expected 40x61; remove it"):
    _main("--data_dir", tree, "--delete_png")
  (folder / "0000000000.jpg").write_bytes(b"")
  with pytest.raises(errors.BadFileError, match="0000000000.jpg"):
    _main("--data_dir", tree, "--delete_png")
  (folder / "0000000000.jpg").unlink()
  (folder / "0000000000.png").write_bytes(b"no picture")
  with pytest.raises(errors.BadFileError, match="0000000000.png"):
    _main("--data_dir", tree, "--delete_png")
  assert sorted(p.name for p in folder.iterdir()) == ["0000000000.png", "0000000001.png"]


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--data_dir", "."], "--output --delete_png is required"),
    (["--data_dir", ".", "--output", "a", "--delete_png"], "not allowed with"),
    (["--data_dir", ".", "--output", "a", "--quality", "96"], "--quality 96"),
    (["--data_dir", ".", "--output", "a", "--workers", "0"], "--workers 0"),
    (["--data_dir", "nowhere", "--output", "a"], "nowhere: no such folder"),
    (["--data_dir", ".", "--output", "a"], "no images in"),
  ],
)
def test_arguments_that_do_not_work(tmp_path, monkeypatch, argv, words):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match=words):
    kitti_jpeg.main(argv)


def test_the_trees_of_both_kinds_are_one_set(tree, tmp_path):
  """What the set reads of a JPEG tree is named as of the PNG one, with the other suffix."""
  _main("--data_dir", tree, "--output", tmp_path / "jpeg")
  shutil.rmtree(tree / DATE / DRIVE / "image_00")
  parts = {"test": (DRIVE,)}
  png, jpeg = (
    kitti_stereo.SET.recordings(
      root, "listed", "test", fields=("rgb", "rgb_right", "baseline"), entries=parts
    )[0]
    for root in (tree, tmp_path / "jpeg")
  )
  assert [f.key for f in png] == [f.key for f in jpeg] and len(png) == 2
  for one, other in zip(png, jpeg, strict=True):
    for field in ("rgb", "rgb_right"):
      assert one.files[field].endswith(".png") and other.files[field].endswith(".jpg")
