"""A set with other fields than depth and pictures: cutting, hiding and padding ask `fields`."""

import itertools
import shutil

import jax
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data import pipeline, sets
from bicross_jax.data.layouts import frames
from tests.data import recordings


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  root = tmp_path_factory.mktemp("tree")
  recordings.write(root)
  return root


@pytest.fixture(autouse=True)
def _built(tree, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tree.with_name(f"{tree.name}-built")))


def _batches(tree, names=("events", "label", "intrinsics", "tilt"), seed=0, **overrides):
  config = recordings.config(tree, **overrides)
  spec = recordings.spec(config.height, config.width, names)
  return pipeline.open(config).batches(spec, seed=seed, own_fields=recordings.OWN)


def _key(part, tilt):
  recording, number = divmod(int(tilt[0]), 16)
  return recordings.example(part, recording, number)


def test_every_field_comes_back_and_padding_is_what_is_unknown(tree):
  found = list(_batches(tree, batch_size=4).evaluation("test", truth=("label",)))
  assert [len(truths) for _, truths in found] == [4, 3]
  for batch, truths in found:
    for i, truth in enumerate(truths):
      want = _key("test", batch["tilt"][i])
      for name, x in want.items():
        np.testing.assert_array_equal(batch[name][i], x)
        assert batch[name].dtype == x.dtype
      np.testing.assert_array_equal(truth["label"], want["label"])
      assert sorted(truth) == ["crop", "frame", "key", "label"]
  last = found[1][0]
  assert not last["mask"][3] and np.all(last["label"][3] == 255) and not last["events"][3].any()
  assert [t["key"] for _, truths in found for t in truths][:5] == [
    *(f"test/0/{i}" for i in range(4)),
    "test/1/0",
  ]


def test_the_bottom_of_the_frame_and_where_its_principal_point_is(tree):
  batch = next(_batches(tree, height=12, width=20).train())
  for i, tilt in enumerate(batch["tilt"]):
    want = _key("train", tilt)
    np.testing.assert_array_equal(batch["events"][i], want["events"][8:, 5:25])
    np.testing.assert_array_equal(batch["label"][i], want["label"][8:, 5:25])
    np.testing.assert_array_equal(batch["intrinsics"][i, :2, 2], [14.5 - 5, 9.5 - 8])
    np.testing.assert_array_equal(batch["intrinsics"][i, :, :2], want["intrinsics"][:, :2])


def test_random_crops_move_in_training_and_stand_in_the_middle_elsewhere(tree):
  chosen = dict(height=12, width=20, crop="random", names=("events", "intrinsics", "crop"))
  batches = _batches(tree, **chosen)
  taken = list(itertools.islice(batches.train(), 60))
  corners = np.concatenate([b["events"][:, 0, 0, 0, :2] for b in taken]).astype(int)
  crops = np.concatenate([b["crop"] for b in taken])
  np.testing.assert_array_equal(crops[:, :2], corners)
  assert np.all(crops[:, 2:] == [12, 20])
  for b in taken[:3]:
    np.testing.assert_array_equal(b["intrinsics"][:, 0, 2], 14.5 - b["crop"][:, 1])
    np.testing.assert_array_equal(b["intrinsics"][:, 1, 2], 9.5 - b["crop"][:, 0])
  for axis, room in ((0, 8), (1, 10)):  # every place within 5 deviations of its share
    counts = np.bincount(corners[:, axis], minlength=room + 1)
    share = len(corners) / (room + 1)
    assert len(counts) == room + 1 and np.all(np.abs(counts - share) < 5 * np.sqrt(share))
  for b, again in zip(taken[25:30], itertools.islice(batches.train(25), 5), strict=True):
    for name in b:
      np.testing.assert_array_equal(b[name], again[name])
  halves = [pipeline.open(recordings.config(tree, **dict(height=12, width=20, crop="random")))]
  spec = recordings.spec(12, 20, ("crop",))
  both = [
    next(halves[0].batches(spec, seed=0, process_index=i, process_count=2).train(3))["crop"]
    for i in range(2)
  ]
  np.testing.assert_array_equal(np.concatenate(both), taken[3]["crop"])
  for _, truths in batches.evaluation("test", truth=()):
    assert all(t["crop"].tolist() == [4, 5, 12, 20] for t in truths)


def test_labels_are_unknown_in_unlabelled_examples(tree):
  batches = _batches(tree, labelled=5)
  known = {}
  for batch in itertools.islice(batches.train(), 10):
    for tilt, label in zip(batch["tilt"], batch["label"]):
      known[int(tilt[0])] = not np.all(label == 255)
      assert known[int(tilt[0])] == np.array_equal(label, _key("train", tilt)["label"])
  assert len(known) == 20 and sum(known.values()) == 5
  data = pipeline.open(recordings.config(tree, labelled=5))
  truths = list(data.truths("train", ("label", "tilt"), recordings.OWN))
  assert {int(t["tilt"][0]) for t in truths} == {i for i, has in known.items() if has}


def test_what_a_set_lacks_is_missed_only_when_it_is_asked_for(tree):
  data = pipeline.open(recordings.config(tree))
  batches = data.batches(recordings.spec(names=("events",)), seed=0)
  next(batches.train()), next(batches.evaluation("test", truth=()))
  for ask in (
    lambda: batches.evaluation("test"),
    lambda: data.truths("train", ("depth",)),
    lambda: data.batches({"rgb": jax.ShapeDtypeStruct((20, 30, 3), np.uint8)}, seed=0),
  ):
    with pytest.raises(errors.UserError, match="recordings has no field '(depth|rgb)'.*events"):
      ask()
  with pytest.raises(errors.UserError, match="makes no drive"):
    batches.drive(3)


def test_fewer_fields_need_fewer_files(tree, tmp_path):
  recordings.write(tmp_path)
  for file in tmp_path.rglob("*.label.npy"):
    file.unlink()
  with pytest.raises(errors.UserError, match="20 of the 20 train frames lack files"):
    pipeline.open(recordings.config(tmp_path), parts=("train",))
  chosen = recordings.config(tmp_path, sensors=("events", "tilt"))
  batches = pipeline.open(chosen).batches(
    recordings.spec(names=("events", "tilt")), seed=0, own_fields=recordings.OWN
  )
  assert next(batches.train())["tilt"].shape == (2, 2)
  with pytest.raises(errors.UserError, match="has no field 'depth'.*choose from events, label"):
    pipeline.open(recordings.config(tmp_path, sensors=("depth",)))


@pytest.mark.parametrize(
  "overrides, words",
  [
    (dict(crop="centre"), "choose from bottom, random, none"),
    (dict(crop="none", height=18), "crop='none' needs frames of 18x30"),
    (dict(height=21), "larger than the smallest frame"),
    (dict(height=0), "height=0"),
    (dict(width=-1), "width=-1"),
    (dict(sequence=-1), "sequence=-1"),
    (dict(sequence=4, limit=3), "limit"),
    (dict(sequence=8), "sequences of 8 windows, and the training recordings have 1"),
  ],
)
def test_a_section_that_cannot_be_is_refused(tree, overrides, words):
  with pytest.raises(errors.UserError, match=words):
    _batches(tree, **overrides).train()


def test_a_name_is_taken_once(tree):
  assert sets.register(recordings.SET) is recordings.SET  # once more is no harm
  with pytest.raises(ValueError, match="'kitti'"):
    sets.register(frames.FrameSet("kitti", "", "", (), (), None, {}))


@pytest.mark.parametrize(
  "damage",
  [
    lambda data: bytes(len(data)),
    lambda data: data[:64] + bytes(2000) + data[2064:],
    lambda data: data[:9000],
    lambda data: b"",
    None,
  ],
  ids=["zeroed", "a record zeroed", "cut", "empty", "gone"],
)
def test_a_damaged_record_names_its_file_and_what_to_do(tree, tmp_path, monkeypatch, damage):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path))
  config = recordings.config(tree)
  folder = pipeline.open(config, parts=("test",)).records("test").folder
  (file,) = folder.glob("*.array_record*")
  whole = file.read_bytes()
  file.unlink()
  if damage is not None:
    file.write_bytes(damage(whole))
  spec = recordings.spec(names=("events",))
  with pytest.raises(errors.UserError) as caught:
    list(pipeline.open(config).batches(spec, seed=0).evaluation("test", truth=()))
  message = str(caught.value)
  assert str(file) in message and f"delete the folder {folder}" in message
  assert "\n" not in message
  shutil.rmtree(folder)
  list(pipeline.open(config).batches(spec, seed=0).evaluation("test", truth=()))
