"""Sets with semantic classes: from published files to batches, against Pillow and counts by brute force."""

import jax
import numpy as np
from PIL import Image
import pytest

from bicross_jax import errors
from bicross_jax.config import sections
from bicross_jax.data import classes, pipeline, sets
from bicross_jax.data.dataset import PARTS
from tests.data import event_trees as trees

SIZE = (20, 34)  # of a half


@pytest.fixture(autouse=True)
def _built_elsewhere(tmp_path_factory, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path_factory.mktemp("built")))


def _place(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  return path


def _write(root, folder, name, seed):
  """A frame in EvDistill's form: (event image with a third channel of zeros, APS frame, label)."""
  rng = np.random.default_rng(seed)
  events = rng.integers(0, 256, (*SIZE, 3), np.uint8) * (rng.random((*SIZE, 3)) < 0.3)
  events[..., 2] = 0
  grey = np.repeat(rng.integers(0, 256, (*SIZE, 1), np.uint8), 3, axis=-1)
  label = rng.choice(np.array([0, 1, 2, 3, 4, 5, 255], np.uint8), SIZE)
  both = np.concatenate([events, grey], axis=1).astype(np.uint8)
  opaque = np.full((*both.shape[:2], 1), 255, np.uint8)
  picture = Image.fromarray(np.concatenate([both, opaque], axis=2), "RGBA")
  picture.save(_place(root / "images" / folder / f"{name}.png"))
  Image.fromarray(label).save(_place(root / "labels" / folder / f"{name}.png"))
  return events.astype(np.uint8), grey, label


def _ddd17(root, *, val=False):
  """Two training recordings of 20 and 10 frames, one to test; {name: what `_write` wrote}."""
  found = {}
  names = {
    "train": [f"rec14_export_{i}" for i in range(1, 21)] + [f"rec15_export_{i}" for i in range(10)],
    "test": ["rec16_export_9", "rec16_export_10"],
    **({"val": ["rec17_export_0"]} if val else {}),
  }
  for folder, chosen in names.items():
    for name in chosen:
      found[name] = _write(root, folder, name, len(found))
  return found


def _section(name, root, size=SIZE, crop="none", domain="published", **changed):
  config = sections.recordings(name, domain, *size)
  config.update(data_dir=str(root), crop=crop, batch_size=2, **changed)
  return config


def _examples(config, part, truth=("label",)):
  data = pipeline.open(config, "data")
  held = data.dataset.fields(config)
  spec = {
    name: jax.ShapeDtypeStruct(shape, np.dtype(kind))
    for name, (shape, kind) in data.stored(held).items()
  }
  return {
    whole["key"]: ({n: x[i] for n, x in batch.items()}, whole)
    for batch, truths in data.batches(spec, seed=0).evaluation(part, truth=truth)
    for i, whole in enumerate(truths)
  }


@pytest.mark.parametrize("name", ["ddd17_seg", "mvsec_seg"])
def test_the_two_halves_and_their_label(name, tmp_path):
  written = _ddd17(tmp_path / "a.set")  # a dot in the path is none of a name
  found = _examples(_section(name, tmp_path / "a.set"), "test")
  assert list(found) == ["rec16_export_9", "rec16_export_10"]
  for key, (row, whole) in found.items():
    events, grey, label = written[key]
    np.testing.assert_array_equal(row["event_image"], events[..., :2])
    np.testing.assert_array_equal(row["rgb"], grey)
    np.testing.assert_array_equal(row["label"], label)
    np.testing.assert_array_equal(whole["label"], label)


def test_what_validates(tmp_path):
  """The last tenth of each recording, or the folder `val`."""
  _ddd17(tmp_path / "a")
  keys = {part: list(_examples(_section("ddd17_seg", tmp_path / "a"), part)) for part in PARTS}
  assert keys["validation"] == ["rec14_export_19", "rec14_export_20", "rec15_export_9"]
  assert len(keys["train"]) == 27 and not set(keys["train"]) & set(keys["validation"])
  _ddd17(tmp_path / "b", val=True)
  keys = {part: list(_examples(_section("ddd17_seg", tmp_path / "b"), part)) for part in PARTS}
  assert keys["validation"] == ["rec17_export_0"] and len(keys["train"]) == 30


def test_bicubic_frames_are_pillows(tmp_path):
  """As EvDistill's loader prepares them: of the RGB picture with its empty blue channel."""
  size = (32, 64)
  written = _ddd17(tmp_path)
  found = _examples(_section("ddd17_seg", tmp_path, size, "bicubic"), "test")

  def resized(x, how):
    return np.asarray(Image.fromarray(x).resize(size[::-1], how))

  for key, (row, whole) in found.items():
    events, grey, label = written[key]
    want = resized(events, Image.Resampling.BICUBIC)
    assert not want[..., 2].any()
    np.testing.assert_array_equal(row["event_image"], want[..., :2])
    np.testing.assert_array_equal(row["rgb"], resized(grey, Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(row["label"], resized(label, Image.Resampling.NEAREST))
    np.testing.assert_array_equal(whole["label"], label)
  batches = pipeline.open(_section("ddd17_seg", tmp_path, size, "resize")).batches(
    {"event_image": jax.ShapeDtypeStruct((*size, 2), np.uint8)}, seed=0
  )
  lanczos = next(iter(batches.evaluation("test", truth=())))[0]["event_image"][0]
  theirs, other = (
    resized(written["rec16_export_9"][0], how)[..., :2].astype(int)
    for how in (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC)
  )
  off = np.abs(lanczos - theirs).mean()  # Pillow rounds and clips between the axes
  assert off < 1.5 and off < 0.5 * np.abs(lanczos - other).mean()


@pytest.mark.parametrize("old, new", [(346, 512), (200, 256), (640, 512), (440, 256)])
def test_nearest_pixels_of_published_sizes_are_pillows(old, new):
  line = np.arange(old, dtype=np.int32)[None]
  want = np.asarray(Image.fromarray(line).resize((new, 1), Image.Resampling.NEAREST))[0]
  np.testing.assert_array_equal((2 * np.arange(new) + 1) * old // (2 * new), want)


def _cut(path):
  path.write_bytes(path.read_bytes()[:-200])


def _odd(path):
  Image.fromarray(np.zeros((20, 67, 3), np.uint8)).save(path)


def _class_six(path):
  Image.fromarray(np.full(SIZE, 6, np.uint8)).save(path)


def _colours(path):
  Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)


def _other_size(path):
  Image.fromarray(np.zeros((20, 33), np.uint8)).save(path)


@pytest.mark.parametrize(
  "file, damage, said",
  [
    ("images/test/rec16_export_9.png", _cut, r"images/test/rec16_export_9.png.*cannot be decoded"),
    ("images/test/rec16_export_9.png", _odd, "is 67 pixels wide .*an even width"),
    ("labels/test/rec16_export_9.png", _class_six, "has a pixel of class 6 .*0 to 5, or 255"),
    ("labels/test/rec16_export_9.png", _colours, "pixels of type RGB .*map of classes"),
    ("labels/test/rec16_export_9.png", _other_size, "its size is 20x33 .*20x34 like .*images"),
    (
      "labels/test/rec16_export_9.png",
      lambda p: p.unlink(),
      "1 of the 2 test frames lack .*labels",
    ),
    (
      "images/test/rec16_export_9.png",
      lambda p: p.unlink(),
      "1 of the 2 test frames lack .*images",
    ),
  ],
)
def test_what_is_wrong_is_one_line(file, damage, said, tmp_path):
  _ddd17(tmp_path)
  damage(tmp_path / file)
  with pytest.raises(errors.UserError, match=said) as error:
    _examples(_section("ddd17_seg", tmp_path), "test")
  assert "\n" not in str(error.value)
  if "lack" in said:
    found = _examples(_section("ddd17_seg", tmp_path, allow_missing=True), "test")
    assert list(found) == ["rec16_export_10"]


def test_labels_with_a_palette_are_their_indices(tmp_path):
  _ddd17(tmp_path)
  path = tmp_path / "labels" / "test" / "rec16_export_9.png"
  label = np.asarray(Image.open(path)).copy()
  picture = Image.fromarray(label, "P")
  picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
  picture.save(path)
  row, _ = _examples(_section("ddd17_seg", tmp_path), "test")["rec16_export_9"]
  np.testing.assert_array_equal(row["label"], label)


# DSEC-Semantic


def _sequence(root, part, name, seed, *, ess=False, count=4):
  """A sequence of DSEC with labels: (events and maps, {number: eleven classes})."""
  rig = trees.rig(seed, trees.DSEC, count, period=50_000, t0=49_599_300_523)
  trees.write_dsec(root / "all", name, rig)
  folder = root / part / name
  folder.parent.mkdir(parents=True, exist_ok=True)
  (root / "all" / "train" / name).rename(folder)
  rng = np.random.default_rng(seed)
  stamps = "".join(f"{stamp}\n" for stamp in rig.stamps)
  place = folder / "semantic" if ess else folder
  text = "timestamps.txt" if ess else f"{name}_semantic_timestamps.txt"
  _place(place / text).write_text(stamps)
  labels = {}
  for i in range(count):
    labels[i] = rng.choice(np.array([*range(11), 255], np.uint8), (440, 640))
    where = place / "11classes" / "data" if ess else place / "11classes"
    Image.fromarray(labels[i]).save(_place(where / f"{i:06d}.png"))
  return rig, labels


def _image(rig, stamp):
  """The event image of the 50 ms before a stamp, event by event."""
  e, maps = rig.cameras["left"], [m.astype(np.float32) for m in rig.maps["left"]]
  counts = np.zeros((480, 640, 2), int)
  for x, y, t, p in zip(*e, strict=True):
    column, row = int(maps[0][y, x]), int(maps[1][y, x])
    inside = 0 <= maps[0][y, x] and column < 640 and 0 <= maps[1][y, x] and row < 480
    if stamp - 50_000 < t <= stamp and inside:
      counts[row, column, int(p)] += 1
  counts = counts[:440]
  return np.floor(255 * counts / np.maximum(counts.max((0, 1)), 1)).astype(np.uint8)


def test_dsec_semantic(tmp_path):
  rigs = {
    name: _sequence(tmp_path, "train", name, seed, ess=seed == 1, count=1 + seed)
    for seed, name in enumerate(("zurich_city_00_a", "zurich_city_01_a"))
  }
  rig, labels = _sequence(tmp_path, "test", "zurich_city_13_a", 7, count=3)
  picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
  for i in range(3):
    place = tmp_path / "test/zurich_city_13_a/images/left/ev_inf" / f"{i:06d}.png"
    Image.fromarray(picture).save(_place(place))
  size = (440, 640)
  section = lambda domain, **more: _section(
    "dsec_semantic", tmp_path, size, domain=domain, cameras=1, **more
  )
  sensors = ("event_image", "label", "rgb")
  found = _examples(section("11classes", sensors=sensors), "test")
  assert list(found) == [f"zurich_city_13_a/{i:06d}" for i in range(3)]
  for i, (row, _) in enumerate(found.values()):
    np.testing.assert_array_equal(row["event_image"], _image(rig, rig.stamps[i]))
    np.testing.assert_array_equal(row["label"], labels[i])
    np.testing.assert_array_equal(row["rgb"], picture[:440])
  six = _examples(section("6classes"), "test")
  for i, (row, _) in enumerate(six.values()):
    want = classes.mapped(labels[i], classes.DSEC_TO_DDD17)
    np.testing.assert_array_equal(row["label"], want)
    assert "rgb" not in row
  held = {part: list(_examples(section("11classes"), part)) for part in ("train", "validation")}
  assert held == {
    "train": ["zurich_city_00_a/000000"],
    "validation": [f"zurich_city_01_a/{i:06d}" for i in range(2)],
  }
  row, _ = _examples(section("11classes"), "validation")["zurich_city_01_a/000001"]
  np.testing.assert_array_equal(row["label"], rigs["zurich_city_01_a"][1][1])


def test_labels_of_dsec_that_ess_takes_and_damaged_ones(tmp_path):
  _sequence(tmp_path, "test", "zurich_city_15_a", 0, count=11)
  size = (440, 640)
  config = _section("dsec_semantic", tmp_path, size, domain="11classes_ess", cameras=1)
  (take,) = sets.get("dsec_semantic").takes(config, "data", "test")
  assert take.frames == (6, 8, 10)
  config.domain = "11classes"
  path = tmp_path / "test/zurich_city_15_a/11classes/000002.png"
  Image.fromarray(np.full(size, 11, np.uint8)).save(path)
  with pytest.raises(errors.UserError, match="000002.png.*class 11 .*0 to 10, or 255"):
    pipeline.open(config, "data", ("test",))
  path.unlink()
  with pytest.raises(errors.UserError, match="has 11 lines .*one for each of 10 maps"):
    pipeline.open(config, "data", ("test",))


def test_other_recordings_have_event_images_too(tmp_path):
  rig = trees.rig(3, trees.DSEC, 10, period=100_000, t0=49_599_300_523)
  trees.write_dsec(tmp_path, "thun_00_a", rig)
  config = _section("dsec", tmp_path, trees.DSEC, domain="train", sensors=("event_image", "depth"))
  config.allow_missing = True
  ((key, (row, _)),) = _examples(config, "test", truth=()).items()
  assert set(row) == {"event_image", "depth", "mask"}
  np.testing.assert_array_equal(row["event_image"][:440], _image(rig, rig.stamps[-1]))


# DDD17 in the form of ESS


def _ess(folder, seed, frames=5, events=900):
  """A folder of ESS: (columns, rows, polarities, index, {number of a mask: label})."""
  rng = np.random.default_rng(seed)
  x, y, p = rng.integers(0, 346, events), rng.integers(0, 260, events), rng.integers(0, 2, events)
  y[::3] = 50  # several events of some pixels
  x[::3] = 7 + x[::3] % 9
  np.sort(rng.integers(0, 10**9, events)).tofile(_place(folder / "events.dat.t"))
  np.stack([x, y, p], 1).astype(np.int16).tofile(folder / "events.dat.xyp")
  ends = np.linspace(0, events, frames + 1).astype(int)[1:]
  index = np.stack([np.arange(frames), ends, ends - 250], 1)
  np.save(_place(folder / "index" / "index_50ms.npy"), index)
  labels = {}
  for number in (2, 3, frames):
    labels[number] = rng.choice(np.array([0, 1, 2, 3, 4, 5, 255], np.uint8), (200, 346))
    path = _place(folder / "segmentation_masks" / f"segmentation_{number:08d}.png")
    repeated = np.repeat(labels[number][..., None], 3, -1)
    Image.fromarray(labels[number] if number == 2 else repeated).save(path)
  return x, y, p, index, labels


@pytest.mark.parametrize("domain", ["frames", "50ms"])
def test_ddd17_of_ess(domain, tmp_path):
  written = [_ess(tmp_path / f"dir{i}", i) for i in range(7)]
  size = (200, 346)
  config = _section("ddd17_ess", tmp_path, size, domain=domain, cameras=1)
  keys = {part: list(_examples(config, part)) for part in PARTS}
  folders = {part: sorted({key.split("/")[0] for key in found}) for part, found in keys.items()}
  assert folders == {
    "train": ["dir0", "dir2", "dir3", "dir5", "dir6"],
    "validation": ["dir4"],
    "test": ["dir1"],
  }
  x, y, p, index, labels = written[1]
  found = _examples(config, "test")
  assert list(found) == [f"dir1/{number:06d}" for number in (2, 3, 5)]
  for (row, _), number in zip(found.values(), (2, 3, 5), strict=True):
    end = index[number - 1, 1]
    begin = max(index[number - 1, 2], 0) if domain == "50ms" else index[number - 2, 1]
    counts = np.zeros((260, 346, 2))
    window = slice(begin, end)
    np.add.at(counts, (y[window], x[window], p[window]), 1)
    counts = counts[:200]
    assert counts.max() > 1
    want = np.floor(255 * counts / counts.max((0, 1))).astype(np.uint8)
    np.testing.assert_array_equal(row["event_image"], want)
    np.testing.assert_array_equal(row["label"], labels[number])


def _short(folder):
  (folder / "events.dat.t").write_bytes(b"12345678")


def _index(folder):
  np.save(folder / "index/index_50ms.npy", np.zeros((5, 2), int))


def _beyond(folder):
  table = np.load(folder / "index/index_50ms.npy")
  table[1, 1] = 10**6
  np.save(folder / "index/index_50ms.npy", table)


def _late(folder):
  masks = folder / "segmentation_masks"
  (masks / "segmentation_00000002.png").rename(masks / "segmentation_00000009.png")


def _off(folder):
  np.full((900, 3), 400, np.int16).tofile(folder / "events.dat.xyp")


@pytest.mark.parametrize(
  "damage, said",
  [
    (_short, "has 5400 bytes .*6 for every 8 of events.dat.t"),
    (_index, r"index_50ms.npy.*\(5, 2\) .*whole numbers \(frames, 3\)"),
    (_beyond, "frame 2 has events 180 to 1000000 .*of 900"),
    (_late, "is of frame 9 .*1 to 5"),
    (_off, "other numbers than events"),
    (lambda folder: folder.rename(folder.with_name("e")), "has the 6 folders dir0, dir2"),
  ],
)
def test_what_is_wrong_with_files_of_ess_is_one_line(damage, said, tmp_path):
  for i in range(7):
    _ess(tmp_path / f"dir{i}", i)
  damage(tmp_path / "dir1")
  config = _section("ddd17_ess", tmp_path, (200, 346), domain="frames", cameras=1)
  with pytest.raises(errors.UserError, match=said) as error:
    _examples(config, "test")
  assert "\n" not in str(error.value)


def test_classes_of_one_set_in_another():
  """Through DSEC's eleven or directly: the six of each of Cityscapes' classes are the same."""
  every = np.arange(256, dtype=np.uint8)[None]
  six = classes.mapped(every, classes.CITYSCAPES_TO_DDD17)
  eleven = classes.mapped(every, classes.CITYSCAPES_TO_DSEC)
  np.testing.assert_array_equal(classes.mapped(eleven, classes.DSEC_TO_DDD17), six)
  assert np.all(six[0, 19:] == 255)
  by_name = {name: int(six[0, i]) for i, name in enumerate(classes.CITYSCAPES.names)}
  assert [n for n, k in by_name.items() if k == 1] == ["building", "wall", "fence", "sky"]
  assert [n for n, k in by_name.items() if k == 4] == ["person", "rider"]
  for known in classes.KNOWN.values():
    assert len(known.names) == len(known.colours) == len(set(known.colours))
  palette = classes.DDD17.palette()
  assert palette[:2].tolist() == [[128, 64, 128], [70, 70, 70]] and palette[5].tolist() == [
    0,
    0,
    142,
  ]
  assert palette[6:].min() == 255  # what is no class is white
