"""Every layout of every real set, built and read back."""

import jax
import ml_collections
import numpy as np
from PIL import Image
import pytest

from bicross_jax import errors
from bicross_jax.data import pipeline
from bicross_jax.data.dataset import PARTS
from tests.data import trees


@pytest.fixture(autouse=True)
def _built_elsewhere(tmp_path_factory, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path_factory.mktemp("built")))


def _open(case, data_dir, size, steps=16, parts_=PARTS, **overrides):
  config = ml_collections.ConfigDict(
    dict(
      name=case.dataset,
      domain=case.domain,
      data_dir=str(data_dir),
      height=size[0],
      width=size[1],
      steps=steps,
      limit=0,
      labelled=0,
      batch_size=1,
    )
  )
  config.update(overrides)
  return pipeline.open(config, parts=parts_)


def _examples(data, part, size, steps=16):
  h, w = size
  spec = {
    "rgb": jax.ShapeDtypeStruct((h, w, 3), np.uint8),
    "spike": jax.ShapeDtypeStruct((h, w, steps // 8), np.uint8),
    "depth": jax.ShapeDtypeStruct((h, w), np.float32),
  }
  for batch, truths in data.batches(spec, seed=0).evaluation(part):
    for i, truth in enumerate(truths):
      bits = np.unpackbits(batch["spike"][i], axis=-1, bitorder="little")
      yield truth, batch["rgb"][i], np.moveaxis(bits, -1, 0), batch["depth"][i]


@pytest.mark.parametrize("name", trees.CASES)
def test_what_stands_in_the_files_comes_back(name, tmp_path):
  case = trees.CASES[name]
  truth = trees.write(tmp_path, case)
  size = (trees.SIZE[0] - 2, trees.SIZE[1] - 4)
  view = np.s_[2:, 2:-2]  # the bottom, centred
  data = _open(case, tmp_path, size)
  assert dict(data.sizes) == {part: len(rows) for part, rows in case.frames.items()}
  seen = {}
  for part in PARTS:
    for found, rgb, bits, depth in _examples(data, part, size):
      want_rgb, want_bits, metres = truth[found["key"]]
      np.testing.assert_array_equal(rgb, want_rgb[view])
      np.testing.assert_array_equal(bits, want_bits[(slice(16), *view)])
      np.testing.assert_array_equal(found["depth"], metres)
      np.testing.assert_array_equal(depth, metres[view])
      seen.setdefault(part, set()).add(found["key"])
  assert seen == {part: {row[0] for row in rows} for part, rows in case.frames.items()}


@pytest.mark.parametrize(
  "name, words",
  [
    ("vkitti 2.0.3", "19x24 is larger than the smallest frame of vkitti, 18x24"),
    ("respike", "config.data.height"),
  ],
)
def test_a_crop_that_frames_do_not_fill_is_refused(name, words, tmp_path):
  case = trees.CASES[name]
  trees.write(tmp_path, case)
  with pytest.raises(errors.UserError, match=words):
    _open(case, tmp_path, (19, 24))


@pytest.mark.parametrize(
  "damage, words",
  [
    (lambda p: np.save(p, np.zeros((20, 18, 23), np.uint8)), "18x23"),
    (lambda p: np.save(p, np.zeros((8, 18, 24), np.uint8)), "8 steps"),
  ],
)
def test_a_stream_that_does_not_fit_is_refused(damage, words, tmp_path):
  case = trees.CASES["vkitti 2.0.3"]
  trees.write(tmp_path, case)
  stream = case.frames["test"][1][2]
  damage(tmp_path / stream)
  with pytest.raises(errors.BadFileError, match=words) as caught:
    _open(case, tmp_path, trees.SIZE)
  assert stream in str(caught.value)


def test_a_recording_stored_as_respike_does(samples, tmp_path):
  """A camera's raw file, unpacked as Respike's are: right side up it looks like its picture."""
  case = trees.CASES["respike"]
  trees.write(tmp_path, case, size=(250, 400), steps=8)
  key, image, stream, _ = case.frames["test"][0]
  raw = np.fromfile(samples / "spike_reds/test/spike/200_part1_key_id151.dat", np.uint8)
  bits = np.unpackbits(raw.reshape(301, -1), axis=1, bitorder="big").reshape(301, 250, 400)
  np.save(tmp_path / stream, bits[88:216])
  with Image.open(samples / "spike_reds/test/gt/200_part1_key_id151.png") as picture:
    grey = np.asarray(picture.convert("L"))
  Image.fromarray(grey).save(tmp_path / image)
  data = _open(case, tmp_path, (250, 400), steps=8)
  found = {t["key"]: (rgb, b) for t, rgb, b, _ in _examples(data, "test", (250, 400), 8)}
  rgb, seen = found[key]
  np.testing.assert_array_equal(rgb, np.repeat(grey[..., None], 3, axis=2))
  groups = bits[88:96, ::-1].reshape(8, 250, 50, 8)[..., ::-1]
  np.testing.assert_array_equal(seen, groups.reshape(8, 250, 400))
  whole = bits[135:166, ::-1].reshape(-1, 250, 50, 8)[..., ::-1].reshape(-1, 250, 400)
  assert np.corrcoef(whole.mean(0).ravel(), grey.ravel())[0, 1] > 0.98  # it is 0.987


def test_real_nyu_frames(samples, tmp_path):
  """Public lists have a slash before each path and a third column."""
  lines = []
  for number in ("00000", "00050"):
    paths = f"rgb/rgb_{number}.jpg", f"depth/sync_depth_{number}.png"
    for path in paths:
      link = tmp_path / "scene" / path
      link.parent.mkdir(parents=True, exist_ok=True)
      link.symlink_to(samples / "nyu_v2" / path)
    lines.append(f"/scene/{paths[0]} /scene/{paths[1]} 518.8579\n")
    stream = tmp_path / "spike" / "scene" / "rgb" / f"rgb_{number}.npy"
    stream.parent.mkdir(parents=True, exist_ok=True)
    np.save(stream, np.ones((8, 480, 640), np.uint8))
  (tmp_path / "train.txt").write_text("".join(lines))
  (tmp_path / "test.txt").write_text("".join(lines))
  case = trees.Case("nyu", "lists", {})
  data = _open(case, tmp_path, (480, 640), steps=8)
  assert dict(data.sizes) == {"train": 1, "validation": 1, "test": 2}
  found = {
    t["key"][-5:]: (t["depth"], rgb) for t, rgb, _, _ in _examples(data, "test", (480, 640), 8)
  }
  for number, valid, low, high in (("00000", 0.733, 1.390, 6.625), ("00050", 0.751, 0.887, 8.266)):
    depth, rgb = found[number]
    assert (depth > 0).mean() == pytest.approx(valid, abs=5e-4)
    assert depth[depth > 0].min() == pytest.approx(low, abs=5e-4)
    assert depth.max() == pytest.approx(high, abs=5e-4)
    with Image.open(samples / "nyu_v2" / "rgb" / f"rgb_{number}.jpg") as picture:
      np.testing.assert_array_equal(rgb, np.asarray(picture))


def test_kitti_as_published_with_laser_scans(samples, tmp_path):
  """KITTI raw alone: depth is the scan's, as counted when the samples were cut."""
  drives = ("2011_09_26_drive_0009_sync", "2011_09_26_drive_0002_sync")
  date = tmp_path / "2011_09_26"
  date.mkdir()
  for file in (samples / "kitti_raw" / "2011_09_26").iterdir():
    (date / file.name).symlink_to(file)
  frames_ = [f"{drives[0]}/0000000000", f"{drives[0]}/0000000016", f"{drives[1]}/0000000003"]
  for frame in frames_:
    drive, name = frame.split("/")
    stream = tmp_path / "spike" / drive[:10] / drive / "image_02" / "data" / f"{name}.npy"
    stream.parent.mkdir(parents=True, exist_ok=True)
    np.save(stream, np.zeros((8, 375, 1242), np.uint8))
  data = _open(
    trees.Case("kitti", "listed", {}),
    tmp_path,
    (352, 1216),
    steps=8,
    parts={"train": frames_[:1], "validation": frames_[1:2], "test": frames_},
  )
  found = [t["depth"] for t, *_ in _examples(data, "test", (352, 1216), 8)]
  assert [int((depth > 0).sum()) for depth in found] == [16862, 18797, 19299]
  assert [depth[depth > 0].mean() for depth in found] == pytest.approx(
    [17.1630, 18.9028, 16.6552], abs=1e-4
  )


def test_kitti_as_published_with_official_depth(samples, tmp_path):
  drive = "2011_09_26_drive_0005_sync"
  for name in ("0000000005", "0000000050"):
    image = f"2011_09_26/{drive}/image_02/data/{name}"
    for path, kind in (
      (f"{image}.png", "rgb"),
      (f"val/{drive}/proj_depth/groundtruth/image_02/{name}.png", "depth"),
    ):
      (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / path).symlink_to(samples / "kitti_depth_gt" / kind / f"{name}.png")
    stream = tmp_path / "spike" / f"{image}.npy"
    stream.parent.mkdir(parents=True, exist_ok=True)
    np.save(stream, np.zeros((8, 375, 1242), np.uint8))
  data = _open(
    trees.Case("kitti", "listed", {}),
    tmp_path,
    (352, 1216),
    steps=8,
    parts=dict.fromkeys(PARTS, (drive,)),
  )
  depth = [t["depth"] for t, *_ in _examples(data, "test", (352, 1216), 8)]
  assert [(d > 0).mean() for d in depth] == pytest.approx([0.195, 0.206], abs=5e-4)
  assert [d[d > 0].min() for d in depth] == pytest.approx([5.33, 5.20], abs=5e-3)
