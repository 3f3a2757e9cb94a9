"""MVSEC, DSEC and DENSE: from published files to batches, against counts made by brute force."""

import shutil
import subprocess
import sys

import h5py
import jax
import ml_collections
import numpy as np
import pytest
from skimage import morphology

from bicross_jax import errors
from bicross_jax.config import sections
from bicross_jax.data import pipeline
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.formats import yaml_numbers
from bicross_jax.data.layouts import mvsec
from tests.data import event_trees as trees


@pytest.fixture(autouse=True)
def _built_elsewhere(tmp_path_factory, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path_factory.mktemp("built")))


def _section(name, domain, data_dir, size, **overrides) -> ml_collections.ConfigDict:
  config = sections.recordings(name, domain, *size)
  config.data_dir = data_dir and str(data_dir)
  config.batch_size = 1
  config.update({name: x for name, x in overrides.items() if name in config})
  more = {name: x for name, x in overrides.items() if name not in config}
  return ml_collections.ConfigDict({**config, **more})


def _examples(config, part):
  """[(key, batch row, truth)] of a part, in order."""
  data = pipeline.open(config, "data")
  spec = {
    name: jax.ShapeDtypeStruct(shape, np.dtype(kind))
    for name, (shape, kind) in data.dataset.fields(config).items()
  }
  return [
    (truth["key"], {n: x[0] for n, x in batch.items()}, truth)
    for batch, truths in data.batches(spec, seed=0).evaluation(part)
    for truth in truths
  ]


def _closed(label):
  """What StereoSpike makes of a depth map, 0 where unknown."""
  return np.nan_to_num(morphology.area_closing(label, 24, connectivity=1))


@pytest.fixture(scope="module")
def outdoor(tmp_path_factory):
  """A small outdoor_day of MVSEC: (data folder, {recording: rig})."""
  root = tmp_path_factory.mktemp("mvsec")
  found = {}
  for seed, (name, count) in enumerate({"outdoor_day1": 3, "outdoor_day2": 11}.items()):
    rig = trees.rig(seed, trees.MVSEC, count, period=50_000)
    rng = np.random.default_rng(seed)
    rig.labels[rng.random(rig.labels.shape) < 0.3] = np.nan
    rig.labels[:, 100:110, 50:70] = np.nan  # a hole too large to be filled
    trees.write_mvsec(root, "outdoor_day", name, rig)
    found[name] = rig
  trees.write_kalibr(root, "outdoor_day")
  return root, found


@pytest.mark.parametrize("bins, cameras", [(1, 2), (5, 1)])
def test_mvsec_counts_and_depth(outdoor, bins, cameras):
  root, rigs = outdoor
  config = _section("mvsec", "outdoor_day", root, trees.MVSEC, bins=bins, cameras=cameras)
  found = _examples(config, "test")
  rig = rigs["outdoor_day1"]
  sides = ("left", "right")[:cameras]
  want = trees.counts(rig, sides, trees.windows(rig.stamps, bins), trees.MVSEC)
  assert [key for key, *_ in found] == [f"outdoor_day1/{i:06d}" for i in range(3)]
  for i, (_, row, truth) in enumerate(found):
    np.testing.assert_array_equal(row["events"], want[i])
    np.testing.assert_array_equal(truth["depth"], _closed(rig.labels[i]))
    before = _closed(rig.labels[i - 1]) if i else np.zeros(trees.MVSEC)
    np.testing.assert_array_equal(row["depth_before"], before)


def test_mvsec_without_filling_has_the_files_depth(outdoor):
  root, rigs = outdoor
  config = _section("mvsec", "outdoor_day", root, trees.MVSEC, closing=False, sensors=("depth",))
  for (_, row, _), label in zip(
    _examples(config, "test"), rigs["outdoor_day1"].labels, strict=True
  ):
    assert set(row) == {"depth", "mask"}
    np.testing.assert_array_equal(row["depth"], np.nan_to_num(label))


def test_the_last_tenth_of_outdoor_day2_validates(outdoor):
  root, _ = outdoor
  config = _section("mvsec", "outdoor_day", root, trees.MVSEC, sensors=("depth",), closing=False)
  keys = [[key for key, *_ in _examples(config, part)] for part in ("train", "validation")]
  assert [len(found) for found in keys] == [10, 1]
  assert sum(keys, []) == [f"outdoor_day2/{i:06d}" for i in range(11)]


def test_mvsec_calibration(outdoor):
  root, _ = outdoor
  fields = ("depth", "intrinsics", "baseline")
  config = _section("mvsec", "outdoor_day", root, trees.MVSEC, sensors=fields, closing=False)
  row = _examples(config, "test")[0][1]
  want = [[199.653012, 0, 177.43], [0, 199.653012, 126.81], [0, 0, 1]]
  np.testing.assert_allclose(row["intrinsics"], want, rtol=1e-6)
  assert row["baseline"] == pytest.approx(0.09988, abs=1e-5)


def _legacy(rig, side, first, last, frames, bins):
  """Counts of StereoSpike's loader, in float64 as it is written down (its section on binning)."""
  e, (xmap, ymap) = rig.cameras[side], rig.maps[side]
  t = e.t / 1e6
  stamps = rig.stamps / 1e6
  x, y = xmap[e.y, e.x], ymap[e.y, e.x]
  kept = (t > stamps[first] - 0.05) & (t < stamps[last]) & (x >= 0) & (y >= 0)
  kept &= (x < trees.MVSEC[1]) & (y < trees.MVSEC[0])
  whole = e.t[kept] - e.t[kept][0]  # microseconds after the first event that is left
  out = np.zeros((len(frames), *trees.MVSEC, bins, 2), np.int64)
  for i, frame in enumerate(frames):
    for k in range(bins):
      low = (frame - first) * 50_000 + k * 50_000 // bins
      inside = (whole > low) & (whole < low + 50_000 // bins)
      rows, columns = y[kept][inside].astype(int), x[kept][inside].astype(int)
      np.add.at(out[i, :, :, k], (rows, columns, np.where(e.p[kept][inside], 0, 1)), 1)
  return out


@pytest.fixture
def short_lists(monkeypatch):
  """Lists of a split with a dozen frames."""
  table = {
    "span": {"indoor_flying2": tuple(range(3, 9)), "indoor_flying1": tuple(range(2, 8))},
    "train": {"indoor_flying2": tuple(range(4, 9))},
    "validation": {"indoor_flying1": (4,)},
    "test": {"indoor_flying1": (3, 5, 6, 7)},
  }
  monkeypatch.setattr(mvsec, "_table", lambda number: table)
  mvsec.split.cache_clear()
  yield
  mvsec.split.cache_clear()


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
  """Small flights of MVSEC, flat as some unpack them: (data folder, {recording: rig})."""
  root, found = tmp_path_factory.mktemp("flights"), {}
  for seed, name in enumerate(("indoor_flying1", "indoor_flying2")):
    found[name] = trees.rig(seed, trees.MVSEC, 9, period=50_000)
    trees.write_mvsec(root, "indoor_flying", name, found[name])
    (root / "indoor_flying" / f"{name}_gt.hdf5").rename(root / f"{name}_gt.hdf5")
  return root, found


@pytest.fixture
def indoor(flights, tmp_path):
  """A copy of the flights that may be damaged."""
  shutil.copytree(flights[0], tmp_path, dirs_exist_ok=True)
  return tmp_path, flights[1]


@pytest.mark.parametrize("bins", [1, 2])
def test_legacy_counts_are_the_repositorys(indoor, short_lists, bins):
  root, rigs = indoor
  config = _section("mvsec", "split1", root, trees.MVSEC, bins=bins, binning="legacy")
  found = _examples(config, "test")
  assert [key for key, *_ in found] == [f"indoor_flying1/{i:06d}" for i in (3, 5, 6, 7)]
  rig, frames = rigs["indoor_flying1"], (3, 5, 6, 7)
  want = [_legacy(rig, side, 2, 7, frames, bins) for side in ("left", "right")]
  seen = np.stack([row["events"] for _, row, _ in found])
  np.testing.assert_array_equal(seen, np.concatenate(want, -1))
  assert seen.sum() > 800


def test_sequences_are_frames_in_a_row(indoor, short_lists, monkeypatch):
  root, _ = indoor
  data = pipeline.open(_section("mvsec", "split1", root, trees.MVSEC, sensors=("events",)))
  assert data.records("test").recordings == [1, 3]
  assert data.records("train").recordings == [5]
  config = _section("mvsec", "split1_blocked", root, trees.MVSEC, sensors=("events",))
  monkeypatch.setattr(mvsec, "BLOCK", 2)
  data = pipeline.open(config)
  assert (data.records("validation").recordings, data.records("test").recordings) == ([2], [3])
  training = pipeline.open(_section("mvsec", "split1", root, trees.MVSEC, sensors=("events",)))
  assert data.records("train").folder == training.records("train").folder  # it is the same part


def test_the_lists_of_the_package():
  """The published numbers of frames, and Tulyakov's ranges; nothing is in two parts."""
  tests = {
    1: ("indoor_flying1", 140, 1200),
    2: ("indoor_flying2", 120, 1419),
    3: ("indoor_flying3", 73, 1614),
  }
  for number, (name, first, last) in tests.items():
    validation, test = (mvsec.split(f"split{number}", part)[0] for part in ("validation", "test"))
    assert {validation.recording, test.recording} == {name} and len(validation.frames) == 200
    both = sorted(validation.frames + test.frames)
    assert both == list(range(first, last + 1))
    shifted = [mvsec.split(f"split{number}_shifted", part) for part in PARTS]
    counts = [sum(len(x.frames) for x in found) for found in shifted]
    assert counts == [{1: 3110, 2: 2870, 3: 2640}[number], 200, {1: 860, 2: 1100, 3: 1342}[number]]
    blocked = [mvsec.split(f"split{number}_blocked", part)[0].frames for part in PARTS[1:]]
    assert list(blocked[0] + blocked[1]) == both and len(blocked[0]) == 200
    for found in (mvsec.split(f"split{number}", part) for part in PARTS):
      assert all(x.span[0] < x.frames[0] and x.frames[-1] <= x.span[1] for x in found)


def test_dsec_counts_and_depth(tmp_path):
  rigs = {}
  for seed, name in enumerate(
    ("thun_00_a", "zurich_city_01_a", "zurich_city_01_b", "zurich_city_11_c")
  ):
    rigs[name] = trees.rig(seed, trees.DSEC, 3, period=100_000, t0=49_599_300_523)
    trees.write_dsec(tmp_path, name, rigs[name])
  fields = ("events", "depth", "depth_before", "intrinsics", "baseline")
  config = _section("dsec", "train", tmp_path, trees.DSEC, bins=2, sensors=fields)
  parts = {part: _examples(config, part) for part in ("validation", "test")}
  assert [key[:-7] for key, *_ in parts["validation"]] == ["zurich_city_01_a"] * 3 + [
    "zurich_city_01_b"
  ] * 3
  found, rig = parts["test"], rigs["zurich_city_11_c"]
  assert [key for key, *_ in found] == [f"zurich_city_11_c/{i:06d}" for i in (0, 2, 4)]
  maps32 = {k: tuple(m.astype(np.float32) for m in v) for k, v in rig.maps.items()}
  want = trees.counts(
    rig._replace(maps=maps32), ("left", "right"), trees.windows(rig.stamps, 2), trees.DSEC
  )
  for i, (_, row, _) in enumerate(found):
    np.testing.assert_array_equal(row["events"], want[i])
    disparity = np.round(rig.labels[i] * 256) / 256
    metres = trees.DSEC_FOCAL * trees.DSEC_BASELINE / disparity
    np.testing.assert_allclose(row["depth"], metres, rtol=1e-6)
    assert not row["depth_before"].any()  # the map before is 100 ms old
    assert row["intrinsics"][0, 0] == np.float32(trees.DSEC_FOCAL)
    assert row["baseline"] == np.float32(trees.DSEC_BASELINE)


@pytest.mark.parametrize("binning", ["timestamps", "legacy"])
def test_dense_counts_and_depth(binning, tmp_path):
  for part in PARTS:
    rows, depth = trees.write_dense(tmp_path, part, "town_0", 3)
  config = _section("dense", "town", tmp_path, trees.MVSEC, bins=2, cameras=1, binning=binning)
  found = _examples(config, "test")
  assert [key for key, *_ in found] == [f"test/town_0/{i:06d}" for i in range(3)]
  for i, (_, row, _) in enumerate(found):
    t, x, y, p = rows[i].T
    t = np.round(t * 1e6).astype(int)
    twice = 2 * (t - t[0])
    length = int(t[-1] - t[0])
    want = np.zeros((*trees.MVSEC, 2, 2), int)
    if binning == "legacy":
      kept = (twice % length) != 0
      slot = twice // length
    else:  # (first - 1, last] in halves
      kept = np.ones(len(t), bool)
      slot = (2 * (t - t[0] + 1) - 1) // (length + 1)
    np.add.at(
      want, (y[kept].astype(int), x[kept].astype(int), slot[kept], np.where(p[kept] > 0, 0, 1)), 1
    )
    np.testing.assert_array_equal(row["events"], want)
    np.testing.assert_array_equal(row["depth"], depth[i])
    np.testing.assert_array_equal(row["depth_before"], depth[i - 1] if i else 0 * depth[0])


def _without(path):
  path.unlink()


def _shrunk(path):
  np.savetxt(path, np.zeros((260, 345)))


def _gap(path):
  """The file without some of its depth maps."""
  with h5py.File(path, "r+") as file:
    for name in ("", "_ts"):
      kept = file[f"davis/left/depth_image_rect{name}"][:5]
      del file[f"davis/left/depth_image_rect{name}"]
      file[f"davis/left/depth_image_rect{name}"] = kept


def _ends_early(path):
  """The events of the right camera in the first 150 ms alone."""
  with h5py.File(path, "r+") as file:
    rows = file["davis/right/events"][:]
    del file["davis/right/events"]
    file["davis/right/events"] = rows[rows[:, 2] < rows[0, 2] + 0.15]


def _unsorted(path):
  with h5py.File(path, "r+") as file:
    rows = file["davis/left/events"][:]
    rows[[1000, 1500]] = rows[[1500, 1000]]
    file["davis/left/events"][:] = rows


def _empty(path):
  with h5py.File(path, "r+") as file:
    del file["davis/left/events"]
    file["davis/left/events"] = np.zeros((0, 4))


@pytest.mark.parametrize(
  "name, damage, words",
  [
    ("indoor_flying1_gt.hdf5", _without, "lacks .*indoor_flying1_gt.hdf5; MVSEC is published at"),
    ("indoor_flying/indoor_flying1_data.hdf5", _without, "lacks .*flying1_data.hdf5; MVSEC is pub"),
    (
      "indoor_flying/indoor_flying_calib/indoor_flying_right_y_map.txt",
      _without,
      "right_y_map.txt; MVSEC is published at",
    ),
    ("indoor_flying/indoor_flying_calib/indoor_flying_left_x_map.txt", _shrunk, "345"),
    ("indoor_flying1_gt.hdf5", _gap, "no depth of frame 5"),
    ("indoor_flying/indoor_flying1_data.hdf5", _ends_early, "none in the window of frame"),
    ("indoor_flying/indoor_flying1_data.hdf5", _unsorted, "events in the order of time"),
    ("indoor_flying/indoor_flying1_data.hdf5", _empty, "no event of the left camera"),
  ],
)
def test_bad_files_of_mvsec(indoor, short_lists, name, damage, words):
  root, _ = indoor
  damage(root / name)
  with pytest.raises(errors.UserError, match=words) as caught:
    pipeline.open(_section("mvsec", "split1", root, trees.MVSEC), parts=("test",))
  assert "\n" not in str(caught.value) and name.split("/")[-1] in str(caught.value)


def test_what_may_be_missing_is_left_out(indoor, short_lists, capsys):
  root, _ = indoor
  _gap(root / "indoor_flying1_gt.hdf5")
  config = _section("mvsec", "split1", root, trees.MVSEC, allow_missing=True)
  assert pipeline.open(config).sizes["test"] == 1
  assert "left out: 3 of the 4 frames of indoor_flying1" in capsys.readouterr().out
  (root / "indoor_flying1_gt.hdf5").unlink()
  with pytest.raises(errors.UserError, match="lacks .*indoor_flying1_gt"):
    pipeline.open(config, parts=("test",))


def test_windows_without_events_are_zeros_and_are_counted(indoor, short_lists, capsys):
  root, rigs = indoor
  path = root / "indoor_flying" / "indoor_flying1_data.hdf5"
  stamps = rigs["indoor_flying1"].stamps
  with h5py.File(path, "r+") as file:
    rows = file["davis/right/events"][:]
    still = (rows[:, 2] > stamps[5] / 1e6 - 0.050_001) & (rows[:, 2] < stamps[6] / 1e6 + 1e-6)
    del file["davis/right/events"]
    file["davis/right/events"] = rows[~still]
  found = _examples(_section("mvsec", "split1", root, trees.MVSEC), "test")
  silent = [not row["events"][..., 2:].any() for _, row, _ in found]
  assert silent == [False, True, True, False]
  assert "2 windows have no event of a camera" in capsys.readouterr().out


def test_more_events_than_a_byte_holds_are_counted(indoor, short_lists, capsys):
  root, rigs = indoor
  rig = rigs["indoor_flying1"]
  hot = rig.cameras["left"]
  where = np.searchsorted(hot.t, rig.stamps[5] - 20_000)
  many = [
    np.insert(column, where, [value] * 700)
    for column, value in zip(hot, (100, 90, hot.t[where], True), strict=True)
  ]
  rig.cameras["left"] = trees.Stream(*many)
  trees.write_mvsec(root, "indoor_flying", "indoor_flying1", rig)
  row = _examples(_section("mvsec", "split1", root, trees.MVSEC), "test")[1][1]
  assert row["events"].max() == 255
  assert "1 counts above 255 are stored as that" in capsys.readouterr().out


@pytest.mark.parametrize(
  "overrides, words",
  [
    (dict(data_dir="/nowhere"), "no folder /nowhere .*published at"),
    (dict(data_dir=None), "mvsec needs config.data.data_dir"),
    (dict(domain="split4"), "unknown domain 'split4'"),
    (dict(sensors=("rgb",)), "mvsec has no field 'rgb'"),
    (dict(sensors=("baseline",)), "names none of events, depth, depth_before"),
    (dict(binning="lagacy"), "binning='lagacy': mvsec has timestamps, legacy"),
    (dict(name="dense", domain="town"), "no dense in"),
    (dict(name="dsec", domain="train", binning="legacy"), "binning='legacy': dsec has timestamps"),
    (dict(name="dense", domain="town", cameras=2), "dense has one camera"),
  ],
)
def test_sections_that_do_not_work(indoor, overrides, words):
  given = {"name": "mvsec", "domain": "split1", "data_dir": indoor[0], "cameras": 1, **overrides}
  config = _section(size=trees.MVSEC, **given)
  with pytest.raises(errors.UserError, match=words):
    pipeline.open(config)


def test_dsec_with_files_that_do_not_fit(tmp_path):
  rig = trees.rig(0, trees.DSEC, 3, period=100_000, events=10)
  trees.write_dsec(tmp_path, "thun_00_a", rig)
  names = dict(train=("thun_00_a",), validation=("thun_00_a",), test=("thun_00_b",))
  config = _section("dsec", "listed", tmp_path, trees.DSEC, parts=names)
  with pytest.raises(errors.UserError, match="thun_00_b lacks .*published at"):
    pipeline.open(config, parts=("test",))
  place = tmp_path / "train" / "thun_00_a"
  calibration = place / "calibration" / "cam_to_cam.yaml"
  text = calibration.read_text()
  for old, new, words in (
    ("cams_03", "cams_12", "no disparity_to_depth.cams_03"),
    ("335.1, 221.2]", "335.1]", "camera_matrix is something else"),
    ("intrinsics:", "intrinsics: [", "is not YAML"),
  ):
    calibration.write_text(text.replace(old, new))
    with pytest.raises(errors.BadFileError, match=words):
      pipeline.open(config, parts=("train",))
  calibration.write_text(text)
  (place / "disparity" / "event" / "000002.png").unlink()
  with pytest.raises(errors.BadFileError, match="has 3 lines .*2 maps"):
    pipeline.open(config, parts=("train",))


def test_dense_with_files_that_are_missing(tmp_path, capsys):
  trees.write_dense(tmp_path, "train", "town_0", 4)
  (tmp_path / "train" / "town_0" / "depth" / "data" / "depth_0000000002.npy").unlink()
  config = _section("dense", "town", tmp_path, trees.MVSEC, cameras=1)
  with pytest.raises(
    errors.UserError, match="1 of 4 frames. lacks .*depth/data/.*2.npy; DENSE is published"
  ):
    pipeline.open(config, parts=("train",))
  config.allow_missing = True
  assert pipeline.open(config).records("train").recordings == [2, 1]
  before = [row["depth_before"].any() for _, row, _ in _examples(config, "train")]
  assert before == [False, True, False]
  assert "left out: train/town_0 (1 of 4 frames)" in capsys.readouterr().out


def test_damaged_calibrations_are_told_of(tmp_path):
  rng = np.random.default_rng(0)
  trees.write_dsec(tmp_path, "thun_00_a", trees.rig(0, (4, 6), 1, period=100_000, events=3))
  path = tmp_path / "train" / "thun_00_a" / "calibration" / "cam_to_cam.yaml"
  good = path.read_bytes()
  for _ in range(200):
    data = bytearray(good)
    for place in rng.integers(0, len(data), rng.integers(1, 4)):
      data[place] = rng.choice(np.frombuffer(b"\x00[]{}:-&*!'\"#.9e\n \xff", np.uint8))
    path.write_bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data)
    try:
      found = yaml_numbers.read(path)
      q = yaml_numbers.numbers(path, found, "disparity_to_depth.cams_03", (4, 4))
      assert q.shape == (4, 4) and np.isfinite(q).all()
    except errors.BadFileError as error:
      assert "\n" not in str(error)


@pytest.mark.nightly
def test_ten_million_events_in_a_minute_and_a_gigabyte(tmp_path):
  """A busy machine of two cores takes 60 s; another one may need somewhat more."""
  count = 1000
  rng = np.random.default_rng(0)
  stamps = trees.T0 + 60_000 + 50_000 * np.arange(count)
  last = int(stamps[-1]) + 20_000
  cameras = {
    side: trees.stream(rng, 5_000_000, trees.MVSEC, trees.T0, last) for side in ("left", "right")
  }
  y, x = np.mgrid[: trees.MVSEC[0], : trees.MVSEC[1]]
  labels = np.empty((count, *trees.MVSEC), np.float32)
  for i in range(count):
    labels[i] = 5 + np.sin((x + i) / 30) + y / 60 + rng.normal(0, 0.02, trees.MVSEC)
    labels[i][rng.random(trees.MVSEC) < 0.3] = np.nan
  maps = {"left": trees.warp(trees.MVSEC, 0.0), "right": trees.warp(trees.MVSEC, 1.7)}
  trees.write_mvsec(
    tmp_path, "outdoor_day", "outdoor_day1", trees.Rig(cameras, maps, stamps, labels)
  )
  program = (
    "import pathlib, re, sys, time\n"
    "from bicross_jax.config import sections\n"
    "from bicross_jax.data import pipeline\n"
    "config = sections.recordings('mvsec', 'outdoor_day', 260, 346)\n"
    "config.data_dir, start = sys.argv[1], time.monotonic()\n"
    "size = pipeline.open(config, parts=('test',)).sizes['test']\n"
    "status = pathlib.Path('/proc/self/status').read_text()\n"
    "print(size, time.monotonic() - start, re.search(r'VmHWM:\\s*(\\d+) kB', status)[1])\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
  )
  size, seconds, kilobytes = map(float, done.stdout.split()[-3:])
  assert size == count
  assert seconds < 90 and kilobytes < 880_000  # a process that fills holes takes another 100,000
