import collections
import itertools
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data import pipeline, pipeline_records


@pytest.fixture
def opened(world_config):
  """open(**overrides of the config) -> Data on the small world."""

  def call(**overrides):
    config = world_config.copy_and_resolve_references()
    config.update(overrides)
    return pipeline.open(config)

  return call


@pytest.fixture
def batches(opened, world_spec):
  """batches(**overrides of the config) -> Batches on the small world."""

  def call(seed=0, spec=world_spec, process=(0, 1), **overrides):
    return opened(**overrides).batches(
      spec, seed=seed, process_index=process[0], process_count=process[1]
    )

  return call


def _take(batches, count, start=0):
  return list(itertools.islice(batches.train(start), count))


def _assert_equal(batches, others):
  assert len(batches) == len(others)
  for batch, other in zip(batches, others):
    assert batch.keys() == other.keys()
    for name in batch:
      np.testing.assert_array_equal(batch[name], other[name])


def _by_content(data):
  """Index in the training part of an example, from the bytes of its picture."""
  rows = [row for batch, truths in data.evaluation("train") for row in batch["rgb"][: len(truths)]]
  return {row.tobytes(): i for i, row in enumerate(rows)}


def test_training_batches_have_the_fields_of_the_spec(batches, world_spec):
  data = batches()
  assert dict(data.sizes) == {"train": 24, "validation": 8, "test": 7}
  (batch,) = _take(data, 1)
  assert list(batch) == list(world_spec)
  for name, spec in world_spec.items():
    assert batch[name].shape == (4, *spec.shape) and batch[name].dtype == spec.dtype
  assert batch["depth"].min() >= 0 and batch["depth"].max() > 1


def test_started_at_a_step_it_goes_on_as_if_never_stopped(batches):
  whole = _take(batches(), 15)  # two and a half epochs
  _assert_equal(_take(batches(), 7, start=8), whole[8:])


def _watched(records):
  """{index: how often it is read from the files} from now on."""
  files, read = records._source, collections.Counter()

  class Watched:
    def __getitem__(self, index):
      read[index] += 1
      return files[index]

  records._source = Watched()
  return read


@pytest.mark.parametrize("room, times", [(1 << 29, 1), (0, 3), (100_000, None)])
def test_examples_stay_in_memory_where_there_is_room(opened, world_spec, monkeypatch, room, times):
  epochs, steps = 3, opened().sizes["train"] // 2
  monkeypatch.setattr(pipeline_records, "_KEPT", 0)
  want = _take(opened(batch_size=2).batches(world_spec, seed=0), epochs * steps)
  monkeypatch.setattr(pipeline_records, "_KEPT", room)
  data = opened(batch_size=2)
  read, size = _watched(data.records("train")), data.records("train").size
  _assert_equal(_take(data.batches(world_spec, seed=0), epochs * steps), want)
  assert len(read) == size
  if times:
    assert min(read.values()) == times
    if times == 1:  # two threads may read one at once, last of an epoch and first of the next
      assert sum(read.values()) < size + pipeline_records.THREADS
  else:
    assert sum(read.values()) < epochs * size


def test_every_validation_finds_what_the_first_one_read(opened, world_spec):
  data = opened()
  read, batches = _watched(data.records("validation")), data.batches(world_spec, seed=0)
  first, second = (
    [batch for batch, _ in batches.evaluation("validation", truth=("depth",))] for _ in range(2)
  )
  _assert_equal(first, second)
  assert len(read) == data.sizes["validation"] and set(read.values()) == {1}


def test_epochs_cover_the_set_in_orders_that_the_seed_determines(batches):
  data = batches()
  index = _by_content(data)
  assert len(index) == 24

  def order(batches):
    return [index[row.tobytes()] for batch in batches for row in batch["rgb"]]

  drawn = order(_take(data, 12))
  assert sorted(drawn[:24]) == sorted(drawn[24:]) == list(range(24))
  assert drawn[:24] != drawn[24:]
  assert drawn[:24] != order(_take(batches(seed=1), 6))


def test_the_shares_of_two_hosts_make_up_the_batch_of_one(batches):
  whole = _take(batches(), 8)
  shares = [_take(batches(process=(i, 2)), 8) for i in range(2)]
  joined = [{k: np.concatenate([a[k], b[k]]) for k in a} for a, b in zip(*shares)]
  _assert_equal(joined, whole)
  with pytest.raises(errors.UserError, match="by 3 process"):
    batches(process=(0, 3))


def test_evaluation_pads_the_last_batch_and_tells_the_truth(batches):
  found = list(batches().evaluation("test"))
  assert [b["mask"].tolist() for b, _ in found] == [[True] * 4, [True] * 3 + [False]]
  assert [len(truths) for _, truths in found] == [4, 3]
  last, truths = found[1]
  assert not any(last[name][3].any() for name in last)
  for row, truth in zip(last["depth"], truths):
    np.testing.assert_array_equal(row, truth["depth"])
    assert truth["crop"].tolist() == [0, 0, 24, 40]
  assert [t["key"] for _, ts in found for t in ts] == [f"clear/test/{i:06d}" for i in range(7)]
  with pytest.raises(errors.UserError, match="choose from"):
    batches().evaluation("holdout")


def test_only_some_training_examples_keep_their_depth(batches, opened):
  full = _by_content(batches())

  def labelled(count):
    taken = _take(batches(labelled=count), 6)
    pairs = [(full[r.tobytes()], d.any()) for b in taken for r, d in zip(b["rgb"], b["depth"])]
    return {i for i, has_depth in pairs if has_depth}

  assert len(labelled(5)) == 5 and len(labelled(10)) == 10
  assert labelled(5) < labelled(10)
  data = opened(labelled=5)
  assert sum(1 for _ in data.truths("train", ["depth"])) == data.labelled.sum() == 5
  assert sum(1 for _ in data.truths("validation", ["depth"])) == 8
  with pytest.raises(errors.UserError, match="labelled=25"):
    batches(labelled=25).train()


def test_limit_uses_the_examples_that_would_be_labelled(batches, opened):
  full = _by_content(batches())
  data = batches(limit=8)
  assert data.sizes["train"] == 8
  seen = {full[row.tobytes()] for batch in _take(data, 4) for row in batch["rgb"]}
  with_depth = {
    full[row.tobytes()]
    for batch in _take(batches(labelled=8), 6)
    for row, depth in zip(batch["rgb"], batch["depth"])
    if depth.any()
  }
  assert len(seen) == 8 and seen == with_depth
  assert sum(1 for _ in opened(limit=8).truths("train", ["depth"])) == 8


def test_oversampling_makes_half_of_each_batch_labelled(batches):
  for batch in _take(batches(labelled=3, oversample_labelled=True), 12):
    assert batch["depth"].any(axis=(1, 2)).tolist() == [False, True] * 2


def test_calibration_and_geometry_fields(batches):
  spec = {
    "rgb_right": jax.ShapeDtypeStruct((24, 40, 3), np.uint8),
    "label": jax.ShapeDtypeStruct((24, 40), np.uint8),
    "intrinsics": jax.ShapeDtypeStruct((3, 3), np.float32),
    "baseline": jax.ShapeDtypeStruct((), np.float32),
    "frame": jax.ShapeDtypeStruct((2,), np.int32),
    "crop": jax.ShapeDtypeStruct((4,), np.int32),
    "mask": jax.ShapeDtypeStruct((), np.bool_),
  }
  (batch,) = _take(batches(spec=spec), 1)
  assert batch["frame"].tolist() == [[24, 40]] * 4
  assert batch["crop"].tolist() == [[0, 0, 24, 40]] * 4
  assert batch["mask"].all() and np.all(batch["baseline"] > 0)
  np.testing.assert_array_equal(batch["intrinsics"][:, 2], [[0, 0, 1]] * 4)


@pytest.mark.parametrize(
  "overrides, words",
  [
    (dict(name="cats"), ["cats", "kitti", "world"]),
    (dict(domain="sunny"), ["sunny", "clear", "night"]),
    (dict(steps=12), ["multiple of 8"]),
    (dict(test=0), ["at least 1", "test"]),
    (dict(batch_size=0), ["batch_size=0"]),
    (dict(batch_size=25), ["25", "24"]),
    (dict(limit=-1), ["limit"]),
    (dict(name="kitti", domain="eigen"), ["input", "cvlibs.net"]),
  ],
)
def test_what_a_user_gets_wrong_is_one_clear_line(batches, overrides, words):
  with pytest.raises(errors.UserError) as caught:
    batches(**overrides).train()
  assert all(word in str(caught.value) for word in words), caught.value
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "name, spec, words",
  [
    ("events", jax.ShapeDtypeStruct((24, 40, 4, 1), np.uint16), "no field 'events'"),
    ("rgb", jax.ShapeDtypeStruct((24, 48, 3), np.uint8), r"uint8\[24, 40, 3\]"),
    ("depth", jax.ShapeDtypeStruct((24, 40), np.float16), "float16"),
  ],
)
def test_a_spec_that_does_not_fit_is_refused(batches, name, spec, words):
  with pytest.raises(errors.UserError, match=words):
    batches(spec={name: spec})


def test_a_process_that_leaves_in_the_middle_ends_well_and_says_nothing(world_config, world_spec):
  del world_spec
  code = f"""
import jax, ml_collections, numpy as np
from bicross_jax.data import pipeline
config = ml_collections.ConfigDict({world_config.to_dict()!r})
spec = {{"depth": jax.ShapeDtypeStruct((24, 40), np.float32)}}
batches = pipeline.open(config).batches(spec, seed=0)
training, testing = batches.train(), batches.evaluation("test")
next(training), next(testing)
"""
  env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
  env.pop("TF_CPP_MIN_LOG_LEVEL", None)
  env.pop("TF_ENABLE_ONEDNN_OPTS", None)
  done = subprocess.run(
    [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  assert not done.stdout
  lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line]
  assert all("building world" in line for line in lines), done.stderr


def test_streams_are_batches_side_by_side_and_resume(batches):
  source, target = batches(seed=1), batches(seed=2)
  both = pipeline.Streams({"source": source, "target": target})
  taken = _take(both, 4)
  for name, alone in (("source", source), ("target", target)):
    _assert_equal([b[name] for b in taken], _take(alone, 4))
    _assert_equal([b[name] for b in _take(both, 2, start=2)], _take(alone, 2, start=2))
