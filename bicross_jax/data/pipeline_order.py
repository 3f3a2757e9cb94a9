"""Which examples make up the batch of a training step: pure functions of seed and step."""

import numpy as np

from bicross_jax import errors

_CHOICE = 0x6C6162  # of the examples in use and of the labelled ones, for every training seed


def permutation(size: int, *words: int) -> np.ndarray:
  """A pseudo-random permutation of 0..size-1, int64, that `words` determine.

  Made from the raw output of a counter-based generator, whose stream NumPy keeps for ever.
  """
  raw = np.random.Philox(np.random.SeedSequence(words)).random_raw(size)
  return np.argsort(raw, kind="stable")


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
