"""Sets of stereo pairs: both sides, signs, calibration, depth of either camera, hints."""

import jax
import ml_collections
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data import pipeline
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import kitti as kitti_files
from bicross_jax.data.layouts import custom, frames, kitti_stereo
from bicross_jax.data.layouts.frames import Frame, Recording
from tests.data import stereo_trees
from tests.data.stereo_trees import CAMERAS, DATE, DRIVE, SIZE, picture

LISTED = {"train": (DRIVE,), "validation": (f"{DRIVE}/0000000001",), "test": (DRIVE,)}
SPEC = {
  "rgb": jax.ShapeDtypeStruct((*SIZE, 3), np.uint8),
  "rgb_right": jax.ShapeDtypeStruct((*SIZE, 3), np.uint8),
  "baseline": jax.ShapeDtypeStruct((), np.float32),
  "intrinsics": jax.ShapeDtypeStruct((3, 3), np.float32),
}
DENSE = {
  "depth": jax.ShapeDtypeStruct(SIZE, np.float32),
  "depth_hint": jax.ShapeDtypeStruct(SIZE, np.float32),
}


@pytest.fixture(autouse=True)
def _built_elsewhere(tmp_path_factory, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path_factory.mktemp("built")))


@pytest.fixture
def kitti(tmp_path):
  """(folder, {(camera, number): picture}) of a drive of two pairs, the right ones JPEG."""
  return tmp_path, stereo_trees.write(tmp_path)


def _config(name, domain, folder, size=SIZE, **overrides):
  config = ml_collections.ConfigDict(
    dict(
      name=name,
      domain=domain,
      data_dir=str(folder),
      height=size[0],
      width=size[1],
      steps=8,
      sensors=(),
      limit=0,
      labelled=0,
      batch_size=1,
      parts=LISTED,
      allow_missing=False,
    )
  )
  config.update(overrides)
  return config


def _examples(config, part, spec):
  """{key: fields of one example}."""
  data = pipeline.open(config, parts=(part,))
  return {
    truths[0]["key"]: {name: np.asarray(batch[name][0]) for name in spec}
    for batch, truths in data.batches(spec, seed=0).evaluation(part, truth=())
  }


def test_both_sides_of_a_pair_train_and_the_left_one_tests(kitti):
  folder, pictures = kitti
  config = _config("kitti_stereo", "listed", folder)
  train = _examples(config, "train", SPEC)
  assert set(train) == {f"{DATE}/{DRIVE}/000000000{i}/{side}" for i in (0, 1) for side in "lr"}
  for key, example in train.items():
    number, (own, partner) = int(key[-3]), ((2, 3) if key.endswith("l") else (3, 2))
    np.testing.assert_array_equal(example["rgb"], pictures[own, number])
    np.testing.assert_array_equal(example["rgb_right"], pictures[partner, number])
    assert example["baseline"] == (0.5 if own == 2 else -0.5)
    np.testing.assert_array_equal(example["intrinsics"], [[20, 0, 16], [0, 20, 12], [0, 0, 1]])
  validation = _examples(config, "validation", SPEC)
  assert {key: x["baseline"] for key, x in validation.items()} == {
    f"{DATE}/{DRIVE}/0000000001/l": 0.5,
    f"{DATE}/{DRIVE}/0000000001/r": -0.5,
  }
  assert set(_examples(config, "test", SPEC)) == {k for k in train if k.endswith("l")}


def test_depth_and_hints_are_those_of_the_side(kitti):
  """The right camera stands half a metre to the right of the left one: 20 * 0.5 / 5 = 2 pixels."""
  folder, _ = kitti
  stereo_trees.write_depth(folder)
  sensors = (*SPEC, *DENSE)
  config = _config("kitti_stereo", "listed", folder, sensors=sensors)
  for key, example in _examples(config, "train", {**SPEC, **DENSE}).items():
    moved, first = (0, 200) if key.endswith("l") else (1, 300)
    want = np.zeros(SIZE, np.float32)
    want[12, 20 - 2 * moved], want[5, 8 - moved] = 5, 10
    np.testing.assert_array_equal(example["depth"], want)
    small = np.arange(6 * 8).reshape(6, 8) + first
    np.testing.assert_array_equal(example["depth_hint"], small.repeat(4, 0).repeat(4, 1))


def _files(folder, domain, part, **listed):
  found = kitti_stereo.SET.finders(folder, domain, listed)[part]()
  return [frame for recording in found for frame in recording.frames]


def test_the_lists_have_both_sides_of_every_frame(tmp_path):
  (tmp_path / DATE).mkdir()
  for domain, test in (("eigen", 697), ("eigen_benchmark", 652)):
    sizes = dict(zip(PARTS, (45200, 1776, test), strict=True))
    for part, count in sizes.items():
      found = _files(tmp_path, domain, part)
      assert len(found) == len({frame.key for frame in found}) == count
      right = sum(frame.key.endswith("/r") for frame in found)
      assert right == (0 if part == "test" else count // 2)
      assert all(frame.side[0] == frame.key[-1] for frame in found)


def test_depth_of_eigen_is_the_scan_and_of_its_benchmark_the_official_one(tmp_path):
  (tmp_path / DATE / DRIVE / "image_03" / "data").mkdir(parents=True)
  (tmp_path / DATE / DRIVE / "image_03" / "data" / "0000000007.jpg").touch()
  right = lambda: _files(tmp_path, "listed", "train", train=(DRIVE,))[0].files["depth"]
  scan, official = "velodyne_points/data/0000000007.bin", "groundtruth/image_03/0000000007.png"
  assert right().endswith(f"{DATE}/{DRIVE}/{scan}")
  (tmp_path / "val").mkdir()
  assert right() == f"{tmp_path}/val/{DRIVE}/proj_depth/{official}"
  first = lambda domain, part: _files(tmp_path, domain, part)[0].files["depth"]
  for domain in ("eigen", "eigen_benchmark"):
    assert "velodyne_points" in first(domain, "train")
  assert "velodyne_points" in first("eigen", "test")
  assert "groundtruth/image_02" in first("eigen_benchmark", "test")


@pytest.mark.parametrize("name", ["kitti_stereo", "custom"])
def test_what_a_training_does_not_read_need_not_be_there(kitti, rig, name):
  folder, domain = (kitti[0], "listed") if name == "kitti_stereo" else (rig[0], "both")
  assert _examples(_config(name, domain, folder), "train", SPEC)
  for field, words in (
    ("depth", "velodyne_points" if name == "kitti_stereo" else "depth/00.png"),
    ("depth_hint", "depth_hints/.*npy.*depth_hints.py"),
  ):
    config = _config(name, domain, folder, sensors=(*SPEC, field))
    with pytest.raises(errors.UserError, match=f"train frames lack files: .*{words}") as caught:
      pipeline.open(config, parts=("train",))
    assert "\n" not in str(caught.value)


def _edit(path, old, new):
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
  "damage, words",
  [
    (lambda f: _edit(f / DATE / "calib_cam_to_cam.txt", "P_rect_03", "P_03"), "P_rect_03 is mis"),
    (lambda f: _edit(f / DATE / "calib_cam_to_cam.txt", "32 24", "32 25"), "25x32 .*24x32"),
    (lambda f: _edit(f / DATE / "calib_cam_to_cam.txt", "16 -9", "19 -9"), "lie 3 columns apart"),
    (
      lambda f: _edit(f / DATE / "calib_cam_to_cam.txt", "12 0 0 0 1 0\nS", "13 0 0 0 1 0\nS"),
      "not rect",
    ),
    (lambda f: (f / DATE / "calib_cam_to_cam.txt").unlink(), "lack files: .*calib_cam_to_cam.txt"),
    (
      lambda f: picture(f / DATE / DRIVE / "image_03" / "data" / "0000000001.jpg", 0, (24, 30)),
      "image_03.*24x30 .expected 24x32 like .*image_02",
    ),
    (
      lambda f: (f / DATE / DRIVE / "image_03" / "data" / "0000000001.jpg").unlink(),
      "lack files: .*image_03/data/0000000001",
    ),
  ],
)
def test_a_set_that_cannot_be_right_is_told_of_in_one_line(kitti, damage, words):
  folder, _ = kitti
  damage(folder)
  with pytest.raises(errors.UserError, match=words) as caught:
    pipeline.open(_config("kitti_stereo", "listed", folder), parts=("train",))
  assert "\n" not in str(caught.value)


def test_hints_that_are_none_are_refused(tmp_path):
  for array, words in (
    (np.zeros((1, 6, 8), np.float32), r"\[1, 6, 8\]"),
    (np.zeros((6, 8), np.int16), "int16"),
  ):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(errors.BadFileError, match=words):
      depth_files.read_npy(tmp_path / "a.npy")
  np.save(tmp_path / "a.npy", np.float32([[2, 0, -1, np.nan, np.inf]]))
  np.testing.assert_array_equal(depth_files.read_npy(tmp_path / "a.npy"), [[2, 0, 0, 0, 0]])


@pytest.fixture
def rig(tmp_path):
  """(folder, {(side, name): picture}) of a rig of one's own: two recordings of five pairs."""
  folder = tmp_path / "rig"
  pictures = {}
  for side in ("left", "right"):
    for place in ("", "a/"):
      for i in range(5):
        name = f"{place}{i:02d}"
        pictures[side, name] = picture(folder / side / f"{name}.png", len(pictures))
  (folder / "calibration.txt").write_text("20 20 16 12\n0.12\n32 24\n")
  return folder, pictures


def test_a_rig_of_ones_own(rig):
  folder, pictures = rig
  names = lambda *numbers: {f"{place}{i:02d}" for place in ("", "a/") for i in numbers}
  for domain, sides in (("both", "lr"), ("left", "l")):
    config = _config("custom", domain, folder)
    train = _examples(config, "train", SPEC)
    assert set(train) == {f"{name}/{side}" for name in names(0, 1, 2) for side in sides}
    for key, example in train.items():
      own, partner = ("left", "right") if key.endswith("l") else ("right", "left")
      np.testing.assert_array_equal(example["rgb"], pictures[own, key[:-2]])
      np.testing.assert_array_equal(example["rgb_right"], pictures[partner, key[:-2]])
      assert example["baseline"] == np.float32(0.12 if own == "left" else -0.12)
    assert set(_examples(config, "validation", SPEC)) == {f"{name}/l" for name in names(3)}
    assert set(_examples(config, "test", SPEC)) == {f"{name}/l" for name in names(4)}


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_pair_that_lacks_a_picture_is_named(rig, side):
  folder, _ = rig
  (folder / side / "a" / "01.png").unlink()
  with pytest.raises(errors.UserError, match=f"1 of the 6 train .*{side}/a/01.png; scripts/depth_"):
    pipeline.open(_config("custom", "left", folder), parts=("train",))


def test_depth_of_a_rig_of_ones_own_is_png_or_npy(rig):
  folder, _ = rig
  metres = np.random.default_rng(0).integers(0, 2560, SIZE).astype(np.float32) / 256
  (folder / "depth" / "a").mkdir(parents=True)
  depth_files.write_png16(folder / "depth" / "04.png", metres, 256)
  np.save(folder / "depth" / "a" / "04.npy", metres.astype(np.float64))
  config = _config("custom", "both", folder, sensors=("depth",))  # and what says its size
  spec = {name: {**SPEC, **DENSE}[name] for name in ("rgb", "depth")}
  found = _examples(config, "test", spec)
  assert set(found) == {"04/l", "a/04/l"}
  for example in found.values():
    np.testing.assert_array_equal(example["depth"], metres)


@pytest.mark.parametrize("name", custom.CALIBRATIONS)
def test_a_rig_is_described_by_any_of_the_known_files(rig, name):
  folder, _ = rig
  (folder / "calibration.txt").unlink()
  text = CAMERAS if "cam_to_cam" in name else "20 20 16 12\n0.5\n32 24\n"
  if name.endswith("ml"):
    text = "P1: {data: [20, 0, 16, 0, 0, 20, 12, 0, 0, 0, 1, 0]}\n"
    text += text.replace("P1", "P2").replace("16, 0", "16, -10")
  (folder / name).write_text(text)
  found = _examples(_config("custom", "both", folder), "test", SPEC)
  assert {float(x["baseline"]) for x in found.values()} == {0.5}


def test_three_parts_of_many_recordings_are_whole_ones():
  cut = frames.three_parts
  runs = [Recording(str(i), tuple(Frame(f"{i}/{j}", {}) for j in range(4))) for i in range(21)]
  parts = cut(runs)
  assert [len(parts[part]) for part in PARTS] == [15, 3, 3]
  assert [r for part in PARTS for r in parts[part]] == runs
  for n, sizes in ((1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1]), (40, [32, 4, 4])):
    one = Recording("a", tuple(Frame(str(i), {}) for i in range(n)))
    found = cut([one])
    assert [sum(len(r.frames) for r in found[part]) for part in PARTS] == sizes
    assert [f for part in PARTS for r in found[part] for f in r.frames] == list(one.frames)


def test_real_pairs(samples):
  """The laser's depth finds a view in its partner: signs and scale are right on both sides."""
  listed = [f"{DATE}_drive_0009_sync/{n:010d}" for n in (0, 16)]
  listed.append(f"{DATE}_drive_0002_sync/{3:010d}")
  parts = {"train": listed[:1], "validation": listed[:1], "test": listed}
  size = (375, 1242)
  config = _config(
    "kitti_stereo", "listed", samples / "kitti_raw", size, parts=parts, sensors=(*SPEC, "depth")
  )
  spec = {
    **{name: jax.ShapeDtypeStruct((*size, 3), np.uint8) for name in ("rgb", "rgb_right")},
    **{name: SPEC[name] for name in ("baseline", "intrinsics")},
    "depth": jax.ShapeDtypeStruct(size, np.float32),
  }
  known = [x["depth"][x["depth"] > 0] for x in _examples(config, "test", spec).values()]
  assert [len(metres) for metres in known] == [16862, 18797, 19299]  # counted when it was cut
  means = [metres.astype(np.float64).mean() for metres in known]
  np.testing.assert_allclose(means, [17.1630, 18.9028, 16.6552], atol=5e-5)
  for key, example in _examples(config, "train", spec).items():
    assert abs(example["baseline"]) == np.float32(0.53272543)
    assert (example["baseline"] > 0) == key.endswith("l")
    right, *wrong = (_difference(example, factor) for factor in (1, 0, -1, 0.5, 2))
    assert right < 0.75 * min(wrong), (key, right, wrong)


def _difference(example, factor: float) -> float:
  """Grey levels between the view and its partner where a multiple of the true disparity says."""
  rows, columns = np.nonzero(example["depth"])
  scaled = example["intrinsics"][0, 0] * example["baseline"] * factor
  sought = np.round(columns - scaled / example["depth"][rows, columns]).astype(int)
  inside = (sought >= 0) & (sought < example["rgb"].shape[1])
  partner = example["rgb_right"][rows[inside], sought[inside]]
  own = example["rgb"][rows[inside], columns[inside]]
  return float(np.abs(own.astype(float) - partner).mean())


def test_the_laser_is_projected_into_either_camera(samples):
  """Camera 3 sees a point f * 0.5327 / z columns to the left of where camera 2 does."""
  date = samples / "kitti_raw" / DATE
  left, right = (kitti_files.raw_calibration(date, camera).projection for camera in (2, 3))
  point = np.array([20, 1, -0.5, 1])
  (u, _, z), (v, _, w) = left @ point, right @ point
  assert u / z - v / w == pytest.approx(721.5377 * 0.5327 / z, rel=1e-3)
