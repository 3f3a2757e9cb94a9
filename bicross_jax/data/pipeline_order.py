"""Which examples make up the batch of a training step: pure functions of seed and step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bicross_jax import errors

_CHOICE = 0x6C6162  # of the examples in use and of the labelled ones, for every training seed
_PLACES = 0x63726F70  # of random crops
_PHASES = 0x7068617365  # of where sequences begin
_WHOLE = 2.0**-53  # makes 53 random bits a number in [0, 1)


class Plan(NamedTuple):
  """The global batch of a training step.

  Attributes:
    rows: int64[B], positions among the examples in use.
    places: float32[B, 2] in [0, 1), where a random crop lies between top and bottom, left and
      right.
    reset: bool[B], where a sequence begins.
  """

  rows: np.ndarray
  places: np.ndarray
  reset: np.ndarray


def permutation(size: int, *words: int) -> np.ndarray:
  """A pseudo-random permutation of 0..size-1, int64, that `words` determine.

  Made from the raw output of a counter-based generator, whose stream NumPy keeps for ever.
  """
  raw = np.random.Philox(np.random.SeedSequence(words)).random_raw(size)
  return np.argsort(raw, kind="stable")


def uniform(shape: tuple[int, ...], *words: int) -> np.ndarray:
  """Pseudo-random numbers in [0, 1), float64, that `words` determine; as `permutation`."""
  raw = np.random.Philox(np.random.SeedSequence(words)).random_raw(int(np.prod(shape)))
  return ((raw >> np.uint64(11)) * _WHOLE).reshape(shape)


def places(batch_size: int, seed: int, number: int) -> np.ndarray:
  """Where the random crops of a batch lie: float32[batch_size, 2]; see `Plan`."""
  return uniform((batch_size, 2), seed, _PLACES, number).astype(np.float32)


def chosen_rows(size: int, limit: int, labelled: int) -> tuple[np.ndarray, np.ndarray]:
  """Which of `size` training examples are in use, and which of those keep their depth.

  Both are the first so many of one permutation, which does not depend on a training seed: a
  smaller choice is part of a larger one, and 100 labelled examples of 500 are the very ones that
  a limit of 100 leaves.

  Args:
    size: number of examples of the set.
    limit: how many are used; 0 = all.
    labelled: how many of those are labelled; 0 = all.

  Returns:
    (int64[n] their indices in ascending order, bool[n] whether each is labelled).
  """
  order = permutation(size, _CHOICE)[: limit or size]
  used = np.sort(order)
  return used, np.isin(used, order[: labelled or len(order)])


class TrainingOrder:
  """The rows of the global batch of every step, without end.

  Every epoch is a new permutation; what is left over at its end (less than a batch) is dropped.

  Args:
    labelled: bool[n], which of the examples in use have a label.
    batch_size: rows of the global batch.
    seed: of the order.
    oversample_labelled: half of every batch comes from the labelled examples (which then have
      epochs of their own), the other half from the others.
  """

  def __init__(
    self, labelled: np.ndarray, batch_size: int, seed: int, oversample_labelled: bool = False
  ):
    if oversample_labelled:
      half = batch_size // 2
      self._groups = [
        (np.flatnonzero(~labelled), batch_size - half, "unlabelled"),
        (np.flatnonzero(labelled), half, "labelled"),
      ]
    else:
      self._groups = [(np.arange(len(labelled)), batch_size, "training")]
    for members, rows, name in self._groups:
      if rows < 1 or len(members) < rows:
        raise errors.UserError(
          f"a batch of {batch_size} takes {rows} of {len(members)} {name} examples; "
          "choose another config.data.batch_size"
        )
    self._batch_size = batch_size
    self._seed = seed

  def plan(self, step: int) -> Plan:
    """The batch of a step; every example is a sequence of its own."""
    size = self._batch_size
    return Plan(self.rows(step), places(size, self._seed, int(step)), np.ones(size, bool))

  def rows(self, step: int) -> np.ndarray:
    """int64[batch_size]: positions among the examples in use (labelled ones on odd rows)."""
    out = np.empty(self._batch_size, np.int64)
    for number, (members, count, _) in enumerate(self._groups):
      epoch, position = divmod(int(step), len(members) // count)
      order = self._permutation(number, epoch)
      out[number :: len(self._groups)] = members[order[position * count : (position + 1) * count]]
    return out

  def _permutation(self, number: int, epoch: int) -> np.ndarray:
    return permutation(len(self._groups[number][0]), self._seed, number, epoch)


class SequenceOrder:
  """The rows of the global batch of every step where each row is a sequence that goes on.

  Every recording is cut into sequences of `length` windows; where they begin is drawn anew in every
  epoch, so that all windows have their turn. For `length` steps each row of the batch shows the
  windows of one sequence in order, then the next ones begin. An epoch shows every sequence once;
  what is left over at its end (less than a batch) is dropped, and so are recordings that are shorter
  than a sequence.

  Args:
    recordings: numbers of examples that were recorded in a row, in the order of the examples.
    batch_size: rows of the global batch.
    seed: of the order.
    length: windows of a sequence.
  """

  def __init__(self, recordings: Sequence[int], batch_size: int, seed: int, length: int):
    self._sizes = np.asarray(recordings, np.int64)
    self._starts = np.cumsum(self._sizes) - self._sizes
    self._count = self._sizes // length  # sequences of each recording
    self._batches = int(self._count.sum()) // batch_size  # of an epoch, `length` steps each
    self._batch_size, self._seed, self._length = batch_size, seed, length
    if not self._batches:
      raise errors.UserError(
        f"a batch of {batch_size} takes so many sequences of {length} windows, and the training "
        f"recordings have {self._count.sum()}; choose another config.data.batch_size or "
        "config.data.sequence"
      )

  def plan(self, step: int) -> Plan:
    """The batch of a step; a sequence is cropped in one place from beginning to end."""
    block, window = divmod(int(step), self._length)
    epoch, position = divmod(block, self._batches)
    begins = self._begins(epoch)
    order = permutation(len(begins), self._seed, 0, epoch)
    chosen = order[position * self._batch_size : (position + 1) * self._batch_size]
    return Plan(
      begins[chosen] + window,
      places(self._batch_size, self._seed, block),
      np.full(self._batch_size, window == 0),
    )

  def _begins(self, epoch: int) -> np.ndarray:
    """int64[N]: the first window of every sequence of an epoch."""
    spare = self._sizes - self._count * self._length
    shift = np.floor(uniform(self._sizes.shape, self._seed, _PHASES, epoch) * (spare + 1))
    starts = self._starts + shift.astype(np.int64)
    numbers = np.concatenate([np.arange(count) for count in self._count])
    return np.repeat(starts, self._count) + numbers * self._length
