"""Depth for the camera of the input, and point clouds of it: what predict.py does and says."""

import re
import struct

import cv2
import numpy as np
from PIL import Image
import pytest

from bicross_jax import cli, errors, inference
from bicross_jax.commands import camera, predict
from bicross_jax.data.formats import image, spikes
from bicross_jax.train.state import Camera
from tests.commands import toy

LEARNED = Camera(True, 0.6, 0.54, True)
SIZE = (24, 40)
K = "30,28,19.5,11.5"


@pytest.fixture
def use(monkeypatch, tmp_path):
  """use(model)(arguments) runs predict.py with a network that is a formula."""
  (tmp_path / "run").mkdir()

  def use(model):
    monkeypatch.setattr(inference, "load", lambda path, plugins=(): model)
    fixed = ["--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out")]
    return lambda *argv: cli.run(predict.main, [*map(str, argv), *fixed])

  return use


def _picture(path, size=SIZE, exif=None, seed=0):
  rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
  path.parent.mkdir(exist_ok=True)
  Image.fromarray(rgb).save(path, quality=95, **({} if exif is None else {"exif": exif}))
  return image.read_rgb(path)


def _exif(focal, orientation=1):
  exif = Image.Exif()
  exif[0x0112] = orientation
  exif.get_ifd(0x8769)[0xA405] = focal
  return exif.tobytes()


def _depth(tmp_path, name="a"):
  return np.load(tmp_path / "out" / f"{name}_depth.npy")


def _line(capsys):
  lines = capsys.readouterr().out.splitlines()
  assert lines[-1].startswith("written: ")
  return lines[-2]


def test_depth_is_rescaled_to_the_camera_that_is_given(use, tmp_path, capsys):
  _picture(tmp_path / "a.png")
  assert use(toy.pictures())(tmp_path / "a.png") == 0
  plain = _depth(tmp_path)
  assert "the checkpoint does not know which one it learned with" in _line(capsys)
  run = use(toy.pictures(camera=LEARNED))
  assert run(tmp_path / "a.png") == 0
  np.testing.assert_array_equal(_depth(tmp_path), plain)
  assert _line(capsys) == (
    "depth is that of the network's camera, focal length 0.6 of the width: that of the input is not "
    "known (--intrinsics, EXIF)"
  )
  assert run(tmp_path / "a.png", "--intrinsics", K) == 0
  np.testing.assert_allclose(_depth(tmp_path), 1.25 * plain, rtol=1e-6)  # 30 / 40 / 0.6
  assert _line(capsys) == (
    "depth x 1.25: focal length 0.75 of the width (--intrinsics), the network learned with 0.6"
  )
  assert not list((tmp_path / "out").glob("*.ply"))


@pytest.mark.parametrize(
  "learned, words",
  [
    (LEARNED._replace(metric=False), "depth is in no metres"),
    (LEARNED._replace(focal=0.0), "the checkpoint does not know which one it learned with"),
  ],
)
def test_where_nothing_can_be_done_it_says_why(learned, words, use, tmp_path, capsys):
  _picture(tmp_path / "a.png")
  assert use(toy.pictures())(tmp_path / "a.png") == 0
  plain = _depth(tmp_path)
  assert use(toy.pictures(camera=learned))(tmp_path / "a.png", "--intrinsics", K) == 0
  np.testing.assert_array_equal(_depth(tmp_path), plain)
  assert words in _line(capsys)


@pytest.mark.parametrize("orientation, wide", [(1, 40), (6, 24)])
def test_the_exif_focal_length_is_that_of_the_longer_side(orientation, wide, use, tmp_path, capsys):
  _picture(tmp_path / "a.jpg", exif=_exif(27, orientation))
  run = use(toy.pictures(camera=LEARNED))
  assert run(tmp_path / "a.jpg", "--intrinsics", "none") == 0
  plain = _depth(tmp_path)
  assert plain.shape[1] == wide and _line(capsys).endswith("of the width: as asked")
  assert run(tmp_path / "a.jpg") == 0
  share = 27 / 36 * 40 / wide
  np.testing.assert_allclose(_depth(tmp_path), share / 0.6 * plain, rtol=1e-6)
  assert f"focal length {share:.4g} of the width (EXIF)" in _line(capsys)
  assert run(tmp_path / "a.jpg", "--intrinsics", K) == 0  # what the user says wins
  np.testing.assert_allclose(_depth(tmp_path), 30 / wide / 0.6 * plain, rtol=1e-6)


def test_pictures_of_several_cameras(use, tmp_path, capsys):
  for name, exif in {"a": _exif(27), "b": _exif(54), "c": None, "d": _exif(0)}.items():
    _picture(tmp_path / "f" / f"{name}.jpg", exif=exif)
  run = use(toy.pictures(camera=LEARNED))
  assert run(tmp_path / "f", "--intrinsics", "none", "--video", "none") == 0
  plain = {name: _depth(tmp_path, name) for name in "abcd"}
  capsys.readouterr()
  assert run(tmp_path / "f", "--video", "none") == 0
  for name, factor in {"a": 1.25, "b": 2.5, "c": 1, "d": 1}.items():
    np.testing.assert_allclose(_depth(tmp_path, name), factor * plain[name], rtol=1e-6)
  line = _line(capsys)
  assert "depth x 1.25 to 2.5: focal length 0.75 to 1.5 of the width (EXIF)" in line
  assert line.endswith("not of 2 of 4 inputs, whose camera is not known")


def test_a_network_that_sees_pixels_as_they_are(use, tmp_path, capsys):
  stream = np.random.default_rng(0).integers(0, 2, (toy.STEPS, 24, 80), np.uint8)
  spikes.write_npy(tmp_path / "a.npy", stream)
  learned = Camera(True, 0.6, 0.54, False, 40)
  run = use(toy.spikes(camera=learned))
  assert run(tmp_path / "a.npy", "--intrinsics", "none") == 0
  plain = _depth(tmp_path)
  capsys.readouterr()
  assert run(tmp_path / "a.npy", "--intrinsics", "48,48,40,12") == 0
  np.testing.assert_allclose(_depth(tmp_path), 2 * plain, rtol=1e-6)  # 48 pixels instead of 24
  assert "focal length 48 pixels (--intrinsics), the network learned with 24" in _line(capsys)


def test_the_intrinsics_of_a_file_of_fields_count(use, tmp_path, capsys):
  rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
  np.savez(tmp_path / "a.npz", rgb=rgb, intrinsics=camera.parse(K))
  run = use(toy.pictures(camera=LEARNED))
  assert run(tmp_path / "a.npz", "--intrinsics", "none") == 0
  plain = _depth(tmp_path)
  capsys.readouterr()
  assert run(tmp_path / "a.npz", "--ply") == 0
  np.testing.assert_allclose(_depth(tmp_path), 1.25 * plain, rtol=1e-6)
  assert "(the input)" in _line(capsys) and (tmp_path / "out" / "a.ply").is_file()


@pytest.mark.parametrize("focal", [0, -30, np.nan])
def test_intrinsics_in_a_file_that_no_camera_has(focal, use, tmp_path, capsys):
  matrix = camera.parse(K)
  matrix[0, 0] = focal
  np.savez(tmp_path / "a.npz", rgb=np.zeros((*SIZE, 3), np.uint8), intrinsics=matrix)
  assert use(toy.pictures(camera=LEARNED))(tmp_path / "a.npz") == 2
  shown = capsys.readouterr().err.strip()
  assert "a.npz: intrinsics have the focal lengths" in shown and "\n" not in shown


def test_a_network_of_one_size_sees_whole_pictures(use, tmp_path):
  rgb = _picture(tmp_path / "a.png", (61, 90))
  seen = []

  def depth(x):
    seen.append(x)
    return x

  assert use(toy.pictures(depth, fixed=True))(tmp_path / "a.png") == 0
  small = np.asarray(Image.fromarray(rgb).resize((toy.W, toy.H), Image.Resampling.LANCZOS))
  np.testing.assert_allclose(seen[0][0], small.astype(np.float32).mean(-1)[::2, ::2] + 1, rtol=1e-5)
  assert _depth(tmp_path).shape == (61, 90)


def _read_ply(path):
  """Points and colours of a PLY file, by its header alone."""
  data = path.read_bytes()
  head, _, body = data.partition(b"end_header\n")
  lines = head.decode("ascii").splitlines()
  assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
  count = int(re.fullmatch(r"element vertex (\d+)", lines[2])[1])
  kinds = {"float": "<f4", "uchar": "u1"}
  fields = [tuple(line.split()[1:]) for line in lines[3:]]
  assert [name for _, name in fields] == ["x", "y", "z", "red", "green", "blue"]
  kind = np.dtype([(name, kinds[kind]) for kind, name in fields])
  assert len(body) == count * kind.itemsize == count * 15
  rows = np.frombuffer(body, kind)
  return tuple(np.stack([rows[n] for n in names], -1) for names in (("x", "y", "z"), ("red", "green", "blue")))  # fmt: skip


def test_a_point_cloud_lies_where_the_pixels_look(use, tmp_path):
  rgb = _picture(tmp_path / "a.png")
  assert use(toy.pictures(camera=LEARNED))(tmp_path / "a.png", "--ply", "--intrinsics", K) == 0
  points, colours = _read_ply(tmp_path / "out" / "a.ply")
  v, u = (x.ravel() for x in np.indices(SIZE))
  np.testing.assert_allclose(points[:, 2], _depth(tmp_path).ravel(), rtol=1e-6)
  matrix = np.array([[30, 0, 19.5], [0, 28, 11.5], [0, 0, 1]])
  seen, _ = cv2.projectPoints(points.astype(np.float64), np.zeros(3), np.zeros(3), matrix, None)
  np.testing.assert_allclose(seen[:, 0], np.stack([u, v], -1), atol=1e-4)
  np.testing.assert_array_equal(colours, rgb[v, u])


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "1,2,3,x", "1,2,-3,4", "0,1,1,1", "inf,1,1,1", "nan,1,1,1", ""])  # fmt: skip
def test_intrinsics_that_are_no_four_positive_numbers(text, use, tmp_path, capsys):
  _picture(tmp_path / "a.png")
  assert use(toy.pictures(camera=LEARNED))(tmp_path / "a.png", f"--intrinsics={text}") == 2
  shown = capsys.readouterr().err.strip()
  assert shown.startswith(f"error: --intrinsics {text!r}: give four positive numbers fx,fy,cx,cy")
  assert "\n" not in shown and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
  "exif",
  [
    b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x05\x01\x12\0\x03",  # cut off
    b"Exif\0\0nothing of the kind",
    _exif(26)[:-12],
    _exif(40_000),
  ],
  ids=("cut off", "other", "entry cut off", "no lens"),
)
def test_a_damaged_exif_block_is_told_and_can_be_passed_over(exif, use, tmp_path, capsys):
  _picture(tmp_path / "a.jpg", exif=exif)
  run = use(toy.pictures(camera=LEARNED))
  assert run(tmp_path / "a.jpg") == 2
  shown = capsys.readouterr().err.strip()
  assert "a.jpg: has a damaged EXIF block" in shown and "--intrinsics none" in shown
  assert shown.startswith("error: ") and "\n" not in shown and not (tmp_path / "out").exists()
  assert run(tmp_path / "a.jpg", "--intrinsics", "none") == 0
  assert use(toy.pictures())(tmp_path / "a.jpg") == 0  # nothing is asked of the block


def test_a_point_cloud_needs_a_camera(use, tmp_path, capsys):
  _picture(tmp_path / "a.jpg", exif=_exif(27))
  _picture(tmp_path / "b.png")
  run = use(toy.pictures())
  assert run(tmp_path / "a.jpg", "--ply") == 0 and (tmp_path / "out" / "a.ply").is_file()
  capsys.readouterr()
  assert run(tmp_path / "a.jpg", tmp_path / "b.png", "--ply") == 2
  assert "b.png is not known; give --intrinsics" in capsys.readouterr().err
  assert run(tmp_path / "a.jpg", "--ply", "--intrinsics", "none") == 2
  assert "--ply needs a camera" in capsys.readouterr().err
  assert use(toy.counter())(tmp_path / "a.jpg", "--ply") == 2
  assert "--ply is of depth; this network predicts classes" in capsys.readouterr().err


def test_a_picture_without_a_block_has_no_focal_length(tmp_path):
  _picture(tmp_path / "a.png")
  assert image.focal_35mm(tmp_path / "a.png") is None
  (tmp_path / "b.png").write_bytes(b"no picture")
  with pytest.raises(errors.BadFileError, match="b.png: cannot be decoded"):
    image.focal_35mm(tmp_path / "b.png")


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_exif_block_by_hand(order, tmp_path):
  """TIFF 6.0 and Exif 2.3: a directory whose one entry points to the next, which has the number."""
  pointer = struct.pack(f"{order}HHII", 0x8769, 4, 1, 26)
  number = struct.pack(f"{order}HHIHH", 0xA405, 3, 1, 28, 0)
  first, second = (struct.pack(f"{order}H", 1) + entry + b"\0" * 4 for entry in (pointer, number))
  mark = b"II" if order == "<" else b"MM"
  block = mark + struct.pack(f"{order}HI", 42, 8) + first + second
  for name in ("a.jpg", "a.png"):
    _picture(tmp_path / name, exif=b"Exif\0\0" + block)
    assert image.focal_35mm(tmp_path / name) == 28
