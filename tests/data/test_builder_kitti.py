import shutil

import jax
import ml_collections
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data import dataset, pipeline
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image, spikes
from bicross_jax.data.layouts import kitti_drives
from bicross_jax.data.simulate import kitti_raw, spike_files
from bicross_jax.sim import streams

DRIVES = {"2011_09_26_drive_0001_sync": (37, 125), "2011_10_03_drive_0002_sync": (38, 124)}
PARTS = {
  "train": ("2011_09_26_drive_0001_sync", "2011_10_03/2011_10_03_drive_0002_sync/0000000001"),
  "validation": ("2011_10_03_drive_0002_sync/0000000002",),
  "test": ("2011_10_03_drive_0002_sync/0000000000",),
}


def _example(drive, number):
  """Arrays that a file of the tree is made from."""
  rng = np.random.default_rng([list(DRIVES).index(drive), number])
  height, width = DRIVES[drive]
  depth = np.round(rng.uniform(1, 80, (height, width)) * 256).astype(np.float32) / 256
  depth[rng.random((height, width)) < 0.7] = 0
  return {
    "rgb": rng.integers(0, 256, (height, width, 3)).astype(np.uint8),
    "spike": rng.integers(0, 2, (20, height, width)).astype(np.uint8),
    "depth": depth,
  }


@pytest.fixture
def tree(tmp_path, monkeypatch):
  """A tree in BiCross's layout: two drives of three frames, of different sizes."""
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path / "built"))
  for drive in DRIVES:
    folder = tmp_path / "kitti" / "input" / drive[:10] / drive
    for number in range(3):
      arrays = _example(drive, number)
      name = f"{number:010d}"
      for kind in ("rgb", "depth", "spike/npy"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
      image.write_png(folder / "rgb" / f"{name}.png", arrays["rgb"])
      depth_files.write_png16(folder / "depth" / f"{name}.png", arrays["depth"], 256)
      spikes.write_npy(folder / "spike" / "npy" / f"{name}.npy", arrays["spike"])
  return tmp_path / "kitti"


def _open(tree, height=32, width=120, parts=PARTS, steps=16, open_parts=dataset.PARTS, **overrides):
  config = ml_collections.ConfigDict(
    dict(
      name="kitti",
      domain="listed",
      data_dir=str(tree),
      height=height,
      width=width,
      steps=steps,
      limit=0,
      labelled=0,
      batch_size=2,
      parts=parts,
      allow_missing=False,
    )
  )
  config.update(overrides)
  return pipeline.open(config, parts=open_parts)


def _batches(data, height=32, width=120, steps=16):
  spec = {
    "rgb": jax.ShapeDtypeStruct((height, width, 3), np.uint8),
    "spike": jax.ShapeDtypeStruct((height, width, steps // 8), np.uint8),
    "depth": jax.ShapeDtypeStruct((height, width), np.float32),
    "frame": jax.ShapeDtypeStruct((2,), np.int32),
    "crop": jax.ShapeDtypeStruct((4,), np.int32),
  }
  return data.batches(spec, seed=0)


def test_the_view_is_the_bottom_of_the_frame_and_the_truth_is_whole(tree):
  data = _open(tree)
  assert dict(data.sizes) == {"train": 4, "validation": 1, "test": 1}
  ((batch, truths),) = _batches(data).evaluation("test")
  want = _example("2011_10_03_drive_0002_sync", 0)  # 38x124: 6 rows above, 2 columns left
  view = np.s_[6:38, 2:122]
  np.testing.assert_array_equal(batch["rgb"][0], want["rgb"][view])
  np.testing.assert_array_equal(batch["depth"][0], want["depth"][view])
  stream = np.moveaxis(want["spike"][:16], 0, -1)[view]
  np.testing.assert_array_equal(
    np.unpackbits(batch["spike"][0], axis=-1, bitorder="little"), stream
  )
  assert batch["frame"].tolist() == [[38, 124], [0, 0]]
  assert batch["crop"][0].tolist() == [6, 2, 32, 120]
  assert batch["mask"].tolist() == [True, False]
  np.testing.assert_array_equal(truths[0]["depth"], want["depth"])
  assert truths[0]["key"] == "2011_10_03/2011_10_03_drive_0002_sync/0000000000"
  assert truths[0]["crop"].tolist() == [6, 2, 32, 120]


def test_frames_of_several_sizes_train_together(tree):
  data = _open(tree, batch_size=4)
  batch = next(_batches(data).train(0))
  assert sorted(batch["frame"].tolist()) == [[37, 125]] * 3 + [[38, 124]]
  assert {t["depth"].shape for t in data.truths("train", ["depth"])} == {(32, 120)}


def test_a_change_of_the_files_is_another_copy(tree):
  before = _open(tree).records("test").folder
  assert _open(tree).records("test").folder == before
  path = tree / "input/2011_10_03/2011_10_03_drive_0002_sync/depth/0000000000.png"
  depth_files.write_png16(path, np.full((38, 124), 7.0), 256)
  data = _open(tree)
  assert data.records("test").folder != before
  ((_, truths),) = _batches(data).evaluation("test")
  assert np.all(truths[0]["depth"] == 7)


def test_missing_files_are_named_with_where_to_get_them(tree, capsys):
  gone = tree / "input/2011_09_26/2011_09_26_drive_0001_sync/depth/0000000001.png"
  gone.unlink()
  with pytest.raises(errors.UserError) as caught:
    _open(tree)
  message = str(caught.value)
  for words in (
    "1 of the 4 train frames",
    str(tree / "input"),
    "depth/0000000001.png",
    "cvlibs.net",
    "simulate_spikes",
    "allow_missing",
  ):
    assert words in message
  assert _open(tree, allow_missing=True).sizes["train"] == 3
  assert "1 of the 4 train frames" in capsys.readouterr().out


def test_a_tree_that_holds_test_frames_only_can_be_tested_on(tree):
  shutil.rmtree(tree / "input/2011_09_26")
  with pytest.raises(errors.UserError, match="to train in"):
    _open(tree, open_parts=("train",))
  data = _open(tree, open_parts=())
  ((_, truths),) = _batches(data).evaluation("test")
  assert truths[0]["key"] == "2011_10_03/2011_10_03_drive_0002_sync/0000000000"
  with pytest.raises(errors.UserError, match="to train in"):
    data.truths("train", ("depth",))


def test_the_eigen_split_takes_the_frames_of_its_lists(tree):
  with pytest.raises(errors.UserError, match="22598 of the 22600 train frames"):
    _open(tree, domain="eigen")  # drive 0001 has two of them, 1 and 2
  with pytest.raises(errors.UserError, match="697 of the 697 test frames"):
    _open(tree, domain="eigen", allow_missing=True)  # that part would be empty


@pytest.mark.parametrize(
  "overrides, words",
  [
    (dict(domain="garg"), "eigen, eigen_benchmark, partial"),
    (dict(data_dir="/nowhere"), "/nowhere/input"),
    (dict(parts={**PARTS, "test": ()}), "parts.test lists no"),
    (dict(parts={**PARTS, "test": ("2011_09_26_drive_0099_sync",)}), "drive_0099_sync/rgb"),
    (dict(height=37, width=124), None),
    (dict(height=38), "37x124"),
    (dict(steps=24), "has 20 steps"),
    (dict(steps=20), "multiple of 8"),
  ],
)
def test_what_does_not_fit_is_refused(tree, overrides, words):
  if words is None:
    assert _open(tree, **overrides).sizes["train"] == 4
    return
  with pytest.raises(errors.UserError, match=words):
    _open(tree, **overrides)


def test_files_of_different_sizes_are_refused(tree):
  path = tree / "input/2011_09_26/2011_09_26_drive_0001_sync/depth/0000000001.png"
  depth_files.write_png16(path, np.ones((37, 124)), 256)
  with pytest.raises(errors.BadFileError, match="37x124.*37x125"):
    _open(tree)
  assert not list((tree.parent / "built").rglob("*.array_record*"))


@pytest.mark.parametrize(
  "part, count", [("train", 22600), ("validation", 888), ("test", 697), ("benchmark_test", 652)]
)
def test_the_shipped_lists_are_those_of_the_literature(part, count):
  keys = kitti_drives.eigen_frames(part)
  assert len(keys) == len(set(keys)) == count
  assert all(len(key.split("/")) == 3 and key[:10] == key.split("/")[1][:10] for key in keys)
  if part == "test":
    assert "2011_09_26/2011_09_26_drive_0002_sync/0000000069" in keys
    assert set(kitti_drives.eigen_frames("benchmark_test")) < set(keys)
    assert not set(kitti_drives.eigen_frames("train")) & set(keys)


def test_eigen_split_on_real_files_names(samples):
  lines = (samples / "kitti_raw" / "eigen_test_files_subset.txt").read_text().splitlines()
  listed = {f"{line.split()[0]}/{int(line.split()[1]):010d}" for line in lines if line.strip()}
  assert listed and listed <= set(kitti_drives.eigen_frames("test"))


def test_real_frames(samples, tmp_path, monkeypatch):
  """KITTI's own depth and images with a stream made here, in two native sizes."""
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path / "built"))
  source = samples / "kitti_depth_gt"
  drive = "2011_09_26_drive_0005_sync"
  folder = tmp_path / "tree" / "input" / drive[:10] / drive
  for kind in ("rgb", "depth", "spike/npy"):
    (folder / kind).mkdir(parents=True)
  for name in ("0000000005", "0000000050"):
    for kind in ("rgb", "depth"):
      (folder / kind / f"{name}.png").symlink_to(source / kind / f"{name}.png")
    grey = image.read_rgb(source / "rgb" / f"{name}.png").mean(axis=-1) / 255
    phase = np.arange(1, 9)[:, None, None] * grey / 2
    spikes.write_npy(
      folder / "spike" / "npy" / f"{name}.npy",
      np.diff(np.floor(phase), axis=0, prepend=0).astype(np.uint8),
    )
  parts = {"train": (drive,), "validation": (f"{drive}/0000000005",), "test": (drive,)}
  data = _open(tmp_path / "tree", height=352, width=1216, parts=parts, steps=8)
  ((batch, truths),) = _batches(data, 352, 1216, 8).evaluation("test")
  assert [t["depth"].shape for t in truths] == [(375, 1242)] * 2
  assert batch["crop"].tolist() == [[23, 13, 352, 1216]] * 2
  valid = truths[0]["depth"] > 0
  assert valid.mean() == pytest.approx(0.195, abs=5e-4)  # as counted when the sample was cut
  assert truths[0]["depth"][valid].min() == pytest.approx(5.33, abs=5e-3)
  assert truths[0]["depth"].max() == pytest.approx(84.89, abs=5e-3)
  rate = np.unpackbits(batch["spike"][0], axis=-1).mean(axis=-1)
  assert np.corrcoef(rate.ravel(), batch["rgb"][0].mean(axis=-1).ravel())[0, 1] > 0.9


def test_the_layout_that_simulate_spikes_writes(samples, tmp_path, monkeypatch):
  """Real frames, spikes from their neighbours, depth from the laser."""
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path / "built"))
  plan = spike_files.Plan(streams.Timing(kitti_raw.FPS), 16)
  frames = {f"{f.drive}/{f.rgb.stem}": f for f in kitti_raw.find_frames(samples / "kitti_raw")}
  first, second = (f"2011_09_26_drive_0009_sync/{name:010d}" for name in (0, 16))
  for name in (first, second):
    kitti_raw.write_frame(frames[name], tmp_path / "tree", plan)
  parts = {"train": (first, second), "validation": (first,), "test": (first, second)}
  data = _open(tmp_path / "tree", height=352, width=1216, parts=parts)
  ((batch, truths),) = _batches(data, 352, 1216, 16).evaluation("test")
  assert [int((t["depth"] > 0).sum()) for t in truths] == [16862, 18797]  # likewise
  assert truths[0]["depth"].sum() / 16862 == pytest.approx(17.1630, abs=2e-3)
  rate = np.unpackbits(batch["spike"], axis=-1).mean(axis=-1)
  light = (batch["rgb"].mean(axis=-1) / 255) ** 2.2
  assert np.corrcoef(rate.ravel(), light.ravel())[0, 1] > 0.9
  trained_on = next(_batches(data, 352, 1216, 16).train())
  assert (trained_on["depth"] > 0).any(axis=(1, 2)).all()
