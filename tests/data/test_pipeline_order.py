import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data import pipeline_order


def test_permutation_is_one_and_depends_on_every_word():
  drawn = [tuple(pipeline_order.permutation(50, *words)) for words in ((0, 0), (0, 1), (1, 0))]
  assert all(sorted(p) == list(range(50)) for p in drawn)
  assert len(set(drawn)) == 3
  assert drawn[0] == tuple(pipeline_order.permutation(50, 0, 0))


def test_permutation_is_fixed_for_ever():
  # Resumed runs and the choice of labelled examples rely on these never changing.
  assert pipeline_order.permutation(8, 0, 0).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]


def test_permutations_are_uniform():
  first = np.bincount([pipeline_order.permutation(4, seed)[0] for seed in range(2000)])
  assert np.all(np.abs(first - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75))


def test_choices_are_nested_and_labels_are_those_of_a_limit():
  used, labelled = pipeline_order.chosen_rows(500, 300, 100)
  more, _ = pipeline_order.chosen_rows(500, 400, 0)
  few, all_labelled = pipeline_order.chosen_rows(500, 100, 0)
  assert len(used) == len(labelled) == 300 and np.all(np.diff(used) > 0)
  assert set(used) < set(more) and all_labelled.all()
  assert used[labelled].tolist() == few.tolist()


def test_without_a_limit_all_examples_are_used():
  used, labelled = pipeline_order.chosen_rows(7, 0, 0)
  assert used.tolist() == list(range(7)) and labelled.all()


def test_an_epoch_shows_every_example_once_and_epochs_differ():
  order = pipeline_order.TrainingOrder(np.ones(12, bool), 4, seed=3)
  epochs = [np.concatenate([order.rows(3 * e + s) for s in range(3)]) for e in range(3)]
  assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_rest_of_an_epoch_is_dropped():
  order = pipeline_order.TrainingOrder(np.ones(11, bool), 4, seed=3)
  epoch = np.concatenate([order.rows(0), order.rows(1)])
  assert len(set(epoch)) == 8
  assert not np.array_equal(np.sort(order.rows(2)), np.sort(epoch[:4]))


def test_half_of_a_batch_is_labelled_when_oversampled():
  labelled = np.arange(40) % 10 == 0
  order = pipeline_order.TrainingOrder(labelled, 6, seed=0, oversample_labelled=True)
  rows = np.stack([order.rows(step) for step in range(24)])
  assert np.all(labelled[rows[:, 1::2]]) and not np.any(labelled[rows[:, 0::2]])
  assert set(rows[:12, 0::2].ravel()) == set(np.flatnonzero(~labelled))  # 36 of 36
  assert len(set(rows[0])) == 6


@pytest.mark.parametrize(
  "labelled, batch, oversample",
  [
    (np.ones(7, bool), 8, False),
    (np.ones(8, bool), 4, True),  # no unlabelled ones
    (np.arange(8) < 1, 4, True),  # two labelled rows a batch, one labelled example
  ],
)
def test_too_few_examples_for_a_batch(labelled, batch, oversample):
  with pytest.raises(errors.UserError, match="batch_size"):
    pipeline_order.TrainingOrder(labelled, batch, 0, oversample)
