"""The data of Akada et al.: Virtual KITTI in both trees, KITTI's left views, KITTI 2015, Make3D."""

import shutil

import jax
import ml_collections
import numpy as np
from PIL import Image
import pytest
import scipy.io

from bicross_jax import errors
from bicross_jax.commands import training
from bicross_jax.data import pipeline, sets
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.layouts import kitti_2015, kitti_drives, make3d
from bicross_jax.data.layouts.readers import Asked
from bicross_jax.data.pipeline_order import TrainingOrder
from bicross_jax.tasks.depth import protocol as protocols
from tests.data import trees

SENSORS = ("rgb", "depth")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _built_elsewhere(tmp_path_factory, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path_factory.mktemp("built")))


def _open(name, domain, folder, size, **more):
  config = ml_collections.ConfigDict(
    dict(
      name=name,
      domain=domain,
      data_dir=str(folder),
      height=size[0],
      width=size[1],
      steps=8,
      sensors=SENSORS,
      limit=0,
      labelled=0,
      batch_size=1,
      **more,
    )
  )
  spec = {
    "rgb": jax.ShapeDtypeStruct((*size, 3), np.uint8),
    "depth": jax.ShapeDtypeStruct(size, np.float32),
  }
  return pipeline.open(config), spec


def _examples(part, data, spec):
  """{key: (batch, truth) of one example}."""
  found = data.batches(spec, seed=0).evaluation(part, truth=("depth",))
  return {truths[0]["key"]: (batch, truths[0]) for batch, truths in found}


def _write(path, array):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(array).save(path)


def _runs(name, folder, domain):
  finders = sets.SETS[name].finders(folder, domain)
  return {part: find() for part, find in finders.items()}


def test_eight_bits_of_depth_are_80_metres(tmp_path):
  size, grey = (6, 8), np.arange(48, dtype=np.uint8).reshape(6, 8)
  grey[0] = 255
  for i in range(12):
    _write(tmp_path / f"train_color/{i}.jpg", RNG.integers(0, 256, (*size, 3), np.uint8))
    _write(tmp_path / f"train_depth/{i}.png", grey + np.uint8(i) if i else grey)
  opened = _open("vkitti", "legacy", tmp_path, size)
  train, validation = (_examples(part, *opened) for part in PARTS[:2])
  assert (list(train), list(validation)) == ([str(i) for i in range(10)], ["10", "11"])
  want = grey.astype(np.float64) / 255 * 80
  np.testing.assert_allclose(train["0"][1]["depth"], want, rtol=1e-6)
  with Image.open(tmp_path / "train_color/0.jpg") as decoded:
    np.testing.assert_array_equal(train["0"][0]["rgb"][0], np.asarray(decoded))


def test_pictures_and_depth_of_legacy_are_matched_by_name(tmp_path):
  trees.touch(tmp_path, [f"train_color/{i}.png" for i in range(20)])
  chosen = dict(fields=SENSORS)
  known = sets.SETS["vkitti"]
  with pytest.raises(errors.UserError, match="18 of the 18 train frames lack .*train_depth/0.png"):
    known.recordings(tmp_path, "legacy", "train", **chosen)
  trees.touch(tmp_path, [f"train_depth/{i}.png" for i in (*range(7), *range(8, 20), "extra")])
  with pytest.raises(errors.UserError) as caught:
    known.recordings(tmp_path, "legacy", "train", **chosen)
  message = str(caught.value)
  assert "1 of the 18 train frames lack files" in message and "train_depth/7.png" in message
  with pytest.raises(errors.UserError, match="1 of the 3 validation.*train_color/extra.png"):
    known.recordings(tmp_path, "legacy", "validation", **chosen)
  with pytest.raises(errors.UserError, match="train_color is of the domain legacy alone"):
    known.finders(tmp_path, "clone")
  (tmp_path / "train_color").rename(tmp_path / "colour")
  with pytest.raises(errors.UserError, match="no vkitti/legacy in .*train_{color,depth}/NAME"):
    known.finders(tmp_path, "legacy")


def test_a_depth_map_of_16_bits_is_none_of_legacy(tmp_path):
  for i in range(2):
    _write(tmp_path / f"train_color/{i}.png", np.zeros((4, 4, 3), np.uint8))
    _write(tmp_path / f"train_depth/{i}.png", np.ones((4, 4), np.uint16))
  with pytest.raises(errors.BadFileError, match="train_depth/0.png.*8-bit grey"):
    _examples("train", *_open("vkitti", "legacy", tmp_path, (4, 4)))


def test_all_variations_train_but_for_the_ends_of_the_drives(tmp_path):
  lengths = {"0001": 12, "0002": 30, "0006": 5, "0018": 150, "0020": 120}
  variations = sets.SETS["vkitti"].domains[:10]
  for world, count in lengths.items():
    for variation in variations:
      place = f"vkitti_1.3.1_rgb/{world}/{variation}"
      trees.touch(tmp_path, [f"{place}/{i:05d}.png" for i in range(count)])
  found = _runs("vkitti", tmp_path, "all")
  sizes = {part: sum(len(r.frames) for r in runs) for part, runs in found.items()}
  held = 10 * (2 + 3 + 1 + 10 + 10)
  assert sizes == {"train": 10 * sum(lengths.values()) - held, "validation": held, "test": held}
  assert {r.frames[-1].key for r in found["validation"]} == {
    f"Scene{world[2:]}/{variation}/{count - 1:05d}"
    for world, count in lengths.items()
    for variation in variations
  }
  keys = [{f.key for r in runs for f in r.frames} for runs in found.values()]
  assert not keys[0] & keys[1]


def test_the_left_views_of_the_lists(tmp_path):
  """The first test frame comes first, as in the list of Akada et al."""
  (tmp_path / "2011_09_26").mkdir()
  found = _runs("kitti_stereo", tmp_path, "eigen_left")
  frames = {part: [f for r in runs for f in r.frames] for part, runs in found.items()}
  assert [len(frames[part]) for part in PARTS] == [22600, 888, 697]
  for part in PARTS:
    keys = {f"{key}/l" for key in kitti_drives.eigen_frames(part)}
    assert {frame.key for frame in frames[part]} == keys
  first = frames["test"][0]
  place = f"{tmp_path}/2011_09_26/2011_09_26_drive_0002_sync"
  assert first.files["rgb"] == f"{place}/image_02/data/0000000069.png"
  assert first.files["depth"] == f"{place}/velodyne_points/data/0000000069.bin"


def test_left_views_and_laser_of_real_frames(samples):
  opened = _open(
    "kitti_stereo", "eigen_left", samples / "kitti_raw", (375, 1242), allow_missing=True
  )
  found = _examples("test", *opened)
  depths = {key[-28:]: truth["depth"] for key, (_, truth) in found.items()}
  assert {key: (depth > 0).sum() for key, depth in depths.items()} == {
    "drive_0002_sync/0000000003/l": 19299,
    "drive_0009_sync/0000000000/l": 16862,
    "drive_0009_sync/0000000016/l": 18797,
  }


def test_disparities_of_kitti_2015_become_metres(tmp_path, samples):
  """5.85 to 78.91 m, by the notes of the sample."""
  shutil.copytree(samples / "kitti_stereo_2015" / "training", tmp_path / "training")
  calibration = tmp_path / "training" / "calib_cam_to_cam" / "000046.txt"
  calibration.parent.mkdir()
  shutil.copy(samples / "kitti_raw" / "2011_09_26" / "calib_cam_to_cam.txt", calibration)
  opened = _open("kitti_2015", "training", tmp_path, (375, 1242), allow_missing=True)
  ((key, (_, truth)),) = _examples("test", *opened).items()
  depth = truth["depth"]
  assert key == "000046_10" and (depth > 0).sum() == 55068
  assert depth[depth > 0].min() == pytest.approx(5.85, abs=5e-3)
  assert depth.max() == pytest.approx(78.91, abs=5e-3)
  calibration.unlink()
  with pytest.raises(errors.BadFileError, match="000046.txt: no such file"):
    kitti_2015.read_depth(Asked(str(tmp_path / "training/disp_occ_0/000046_10.png")))


GRID = RNG.uniform(1, 81, (55, 305, 4))


def _make3d(root, folder, name, size, **variables):
  """A frame whose red says its row and whose green its column."""
  picture = np.zeros((*size, 3), np.uint8)
  picture[..., 0], picture[..., 1] = np.indices(size) // 16
  _write(root / folder / f"img-{name}.png", picture)
  (root / "Gridlaserdata").mkdir(exist_ok=True)
  scipy.io.savemat(root / f"Gridlaserdata/depth_sph_corr-{name}.mat", variables)
  return picture


def test_make3d_is_the_central_rows(tmp_path):
  name = make3d.names()[0]
  picture = _make3d(tmp_path, "Test134", name, (2272, 1704), Position3DGrid=GRID)
  opened = _open("make3d", "test", tmp_path, (256, 512), crop="bicubic", allow_missing=True)
  ((key, (batch, truth)),) = _examples("test", *opened).items()
  assert key == name and truth["depth"].shape == (852, 1704)
  want = np.asarray(Image.fromarray(picture[710:1562]).resize((512, 256), Image.Resampling.BICUBIC))
  np.testing.assert_array_equal(batch["rgb"][0], want)
  measured, _ = protocols.compared_truth(
    truth["depth"], tuple(truth["crop"]), protocols.PROTOCOLS["make3d_c1"]
  )
  np.testing.assert_array_equal(measured, GRID[17:38, :, 3].astype(np.float32))


def test_make3d_whole_and_cropped_already(tmp_path):
  one, other = make3d.names()[:2]
  _make3d(tmp_path, "make3d", one, (408, 306), Position3DGrid=GRID)
  cropped = _make3d(tmp_path, "make3d", other, (153, 306), Position3DGrid=GRID)
  known = sets.SETS["make3d"]
  (((first,), (second,))) = known.recordings(tmp_path, "test", "test", allow_missing=True)
  whole, central = sets.SETS["make3d_whole"].readers, known.readers
  asked = lambda frame, field, size=None: Asked(frame.files[field], size)
  np.testing.assert_array_equal(central["rgb"].read(asked(second, "rgb")), cropped)
  assert central["rgb"].read(asked(first, "rgb")).shape == (153, 306, 3)
  assert whole["rgb"].read(asked(first, "rgb")).shape == (408, 306, 3)
  with pytest.raises(errors.BadFileError, match="has 306 columns and 153 rows"):
    whole["rgb"].read(asked(second, "rgb"))
  depth = whole["depth"].read(asked(first, "depth", (408, 306)))
  measured, _ = protocols.compared_truth(
    depth, (0, 0, 408, 306), protocols.PROTOCOLS["make3d_c1_whole"]
  )
  np.testing.assert_array_equal(measured, GRID[:, :, 3].astype(np.float32))


@pytest.mark.parametrize(
  "variables, words",
  [
    (dict(grid=GRID), "has no variable Position3DGrid"),
    (dict(Position3DGrid=GRID[:, :, :3]), "shape .55, 305, 3. .expected .55, 305, 4."),
  ],
)
def test_laser_of_another_form_is_refused(tmp_path, variables, words):
  _make3d(tmp_path, "make3d", make3d.names()[0], (408, 306), **variables)
  with pytest.raises(errors.BadFileError, match=words):
    _examples("test", *_open("make3d", "test", tmp_path, (153, 306), allow_missing=True))


def test_the_list_of_make3d(tmp_path):
  names = make3d.names()
  assert len(set(names)) == len(names) == 134
  assert names[0] == "10.21op2-p-015t000" and names[-1] == "stats11-p-281t0"
  (tmp_path / "make3d").mkdir()
  with pytest.raises(errors.UserError, match="134 of the 134 test frames lack.*-015t000.jpg"):
    make3d.SET.recordings(tmp_path, "test", "test")


def test_orders_of_source_and_target_know_nothing_of_each_other():
  """Two streams of one length, as training gives them their seeds: pairs are no rule."""
  size, batch, epochs = 400, 8, 3
  source, target = (
    TrainingOrder(np.ones(size, bool), batch, 5 + number * training._TARGET_ORDER)
    for number in range(2)
  )
  steps = range(epochs * size // batch)
  rows = [np.concatenate([order.rows(step) for step in steps]) for order in (source, target)]
  assert np.mean(rows[0] == rows[1]) < 0.02
  for order in rows:
    assert (np.bincount(order, minlength=size) == epochs).all()
  assert abs(np.corrcoef(*rows)[0, 1]) < 0.12
