"""Recordings in order: rows that go on from batch to batch, and where they begin."""

import itertools

import numpy as np
import pytest

from bicross_jax.data import pipeline, pipeline_order
from tests.data import recordings

LENGTHS = (7, 3, 9, 1)


def _order(seed=0, batch=2, length=3):
  return pipeline_order.SequenceOrder(LENGTHS, batch, seed, length)


def _recording(position):
  """(recording, number in it) of a position."""
  ends = np.cumsum(LENGTHS)
  recording = int(np.searchsorted(ends, position, side="right"))
  return recording, position - (ends[recording] - LENGTHS[recording])


def test_rows_go_on_within_one_recording_until_they_begin_anew():
  order = _order()
  plans = [order.plan(step) for step in range(60)]
  for step, (before, after) in enumerate(itertools.pairwise(plans), 1):
    assert after.reset.tolist() == [step % 3 == 0] * 2
    if step % 3:
      assert after.rows.tolist() == (before.rows + 1).tolist()
      np.testing.assert_array_equal(after.places, before.places)
      for a, b in zip(before.rows, after.rows):
        assert _recording(a)[0] == _recording(b)[0]
    else:
      assert not np.array_equal(after.places, before.places)
  assert plans[0].reset.all()


def test_an_epoch_has_every_sequence_once_and_all_windows_have_their_turn():
  order = _order()  # 2 + 1 + 3 sequences: 3 batches of 2, each for 3 steps
  turns = []
  for epoch in range(20):
    rows = np.concatenate([order.plan(9 * epoch + step).rows for step in range(9)])
    assert len(set(rows)) == len(rows) == 18
    turns.append(tuple(rows))
  assert len(set(turns)) == 20
  seen = set(itertools.chain(*turns))
  assert seen == set(range(19))  # but for the recording of one window
  assert not np.array_equal(_order(seed=1).plan(0).rows, order.plan(0).rows) or not np.array_equal(
    _order(seed=1).plan(3).rows, order.plan(3).rows
  )


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  root = tmp_path_factory.mktemp("tree")
  recordings.write(root)
  return root


@pytest.fixture
def batches(tree, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tree.with_name(f"{tree.name}-built")))

  def call(names=("events", "label"), sequence=3, process=(0, 1), **overrides):
    config = recordings.config(tree, sequence=sequence, **overrides)
    spec = recordings.spec(config.height, config.width, names)
    index, count = process
    return pipeline.open(config).batches(spec, seed=4, process_index=index, process_count=count)

  return call


def _serial(batch):
  return batch["events"][:, 0, 0, 0, 2].astype(int)


def test_batches_go_on_and_resume_in_the_middle_of_a_sequence(batches):
  data = batches()
  taken = list(itertools.islice(data.train(), 24))
  for step, (before, after) in enumerate(itertools.pairwise(taken), 1):
    assert after["reset"].dtype == bool and after["reset"].tolist() == [step % 3 == 0] * 2
    if step % 3:
      np.testing.assert_array_equal(_serial(after), _serial(before) + 1)
  for start in (1, 3, 14):
    again = itertools.islice(data.train(start), 6)
    for b, other in zip(taken[start : start + 6], again, strict=True):
      assert sorted(b) == sorted(other) == ["events", "label", "reset"]
      for name in b:
        np.testing.assert_array_equal(b[name], other[name])


def test_two_hosts_have_whole_rows(batches):
  whole = list(itertools.islice(batches().train(), 9))
  for host in range(2):
    for b, mine in zip(whole, batches(process=(host, 2)).train()):
      for name in b:
        np.testing.assert_array_equal(mine[name], b[name][host : host + 1])


def test_a_sequence_is_cropped_in_one_place(batches):
  crops = [
    b["crop"]
    for b in itertools.islice(
      batches(names=("crop",), crop="random", height=9, width=11).train(), 12
    )
  ]
  for step, (before, after) in enumerate(itertools.pairwise(crops), 1):
    assert np.array_equal(before, after) == bool(step % 3)


def test_evaluation_goes_through_the_recordings_in_order(batches):
  found = list(batches(batch_size=2).evaluation("test", truth=("label",)))
  assert [t["key"] for _, (t,) in found] == [
    f"test/{recording}/{number}"
    for recording, length in enumerate((4, 1, 2))
    for number in range(length)
  ]
  resets = [b["reset"].tolist() for b, _ in found]
  assert resets == [[True], [False], [False], [False], [True], [True], [False]]
  assert all(b["mask"].tolist() == [True] for b, _ in found)


def test_without_sequences_every_example_begins_one(batches):
  data = batches(names=("events", "reset"), sequence=0, batch_size=4)
  assert next(data.train())["reset"].all()
  (first, _), (last, _) = data.evaluation("test", truth=())
  assert first["reset"].all() and last["reset"].tolist() == [True] * 3 + [False]
