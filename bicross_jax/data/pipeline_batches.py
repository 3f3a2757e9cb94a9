"""Batches of an opened data set for training and evaluation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from bicross_jax import errors, fields
from bicross_jax.data import pipeline_records

import tensorflow as tf  # isort: skip  (after pipeline_records, which keeps it quiet)

Spec = Mapping[str, jax.ShapeDtypeStruct]
Batch = dict[str, np.ndarray]
Truth = dict[str, Any]
Own = Mapping[str, fields.Field]
NONE: Own = {}


class Batches:
  """Training and evaluation batches of a set; `Data.batches` makes it.

  Attributes:
    batch_spec: shape and dtype of one example, by field.
    sizes: number of examples in use, by part.
    sequence: how many windows of a recording are trained on in a row; 0: single examples.
  """

  def __init__(self, data, batch_spec: Spec, seed: int, share: slice, own: Own):
    self.batch_spec = dict(batch_spec)
    self.sizes = data.sizes
    self.sequence = data.config.get("sequence", 0)
    self._data, self._seed, self._own = data, seed, own
    self._share = share  # the rows of the global batch that are this host's
    self._rows = share.stop - share.start

  def train(self, start_step: int = 0) -> Iterator[Batch]:
    """This host's share of the training batches from a step on, without end.

    With `sequence` the rows of a batch are sequences that the next batch goes on with, and `reset`
    is True where one begins; without, `reset` is True everywhere.

    Yields:
      {field: array [rows of this host, ...]} with the fields of `batch_spec` (and `reset` with
      `sequence`); labels are unknown throughout in unlabelled examples. The arrays are read-only.

    Raises:
      errors.UserError: there are fewer examples or sequences than rows in the global batch.
    """
    records, order = self._data.records("train"), self._data.order(self._seed)
    chosen = self._data.chosen
    used, labelled = tf.constant(chosen[0]), tf.constant(chosen[1])
    names = self._names()
    kinds = {name: fields.get(name, self._own) for name in names}

    def plan(step):
      rows, places, reset = order.plan(step)
      return rows[self._share], places[self._share], reset[self._share]

    def rows_of(step):
      rows, places, reset = tf.numpy_function(plan, [step], [tf.int64, tf.float32, tf.bool])
      return tf.data.Dataset.from_tensor_slices(
        (
          tf.ensure_shape(rows, [self._rows]),
          tf.ensure_shape(places, [self._rows, 2]),
          tf.ensure_shape(reset, [self._rows]),
        )
      )

    def example(position, place, reset):
      found, _ = records.read(used[position], names, place=place, own=self._own)
      for name, field in kinds.items():
        if field.truth:
          unknown = tf.cast(field.unknown, found[name].dtype)
          found[name] = tf.where(labelled[position], found[name], unknown)
      return {**found, "reset": reset} if "reset" in names else found

    steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    batches = pipeline_records.parallel(
      steps.flat_map(tf.autograph.experimental.do_not_convert(rows_of)), example
    )
    batches = batches.batch(self._rows, drop_remainder=True)
    return pipeline_records.Examples(batches.prefetch(2), records)

  def evaluation(
    self, part: str, truth: Sequence[str] = ("depth",)
  ) -> Iterator[tuple[Batch, list[Truth]]]:
    """All examples of a part in their fixed order, the same on every host.

    With `sequence` a batch is one row, so that the next batch goes on where it ended, and `reset`
    is True where a recording begins.

    Args:
      part: "train", "validation" or "test".
      truth: fields that are kept whole.

    Returns:
      An iterator of (batch, truths). The batch has the fields of `batch_spec` and `mask` (and
      `reset` with `sequence`); the last one is padded with what is unknown, `mask` is False
      there. `truths` has a dict for each real row: `key`, `frame` (int32[2]: height and width),
      `crop` (int32[4]: top, left, height, width of the batch's view in that frame) and the fields
      of `truth`, of the whole frame.

    Raises:
      errors.UserError: no such part, or a field that the set does not have.
    """
    records = self._data.records(part)
    self._data.stored(truth, self._own)
    return self._evaluation(records, tuple(truth))

  def drive(
    self, count: int, fps: float = 10.0, truth: Sequence[str] = ("depth",)
  ) -> Iterator[tuple[Batch, list[Truth]]]:
    """Consecutive frames of a made recording, as `evaluation` yields them, a frame a batch.

    Args:
      count: how many frames.
      fps: frames a second.
      truth: as in `evaluation`.

    Raises:
      errors.UserError: a set that makes none (`Data.drives`), or a field that it does not have.
    """
    if not self._data.drives:
      raise errors.UserError(f"{self._data.dataset.name} makes no drive, only its recordings")
    self._data.stored(truth, self._own)
    return self._drive(count, fps, tuple(truth))

  def _names(self):
    """The fields of a batch, but for `mask`."""
    return (*self.batch_spec, *({"reset"} - set(self.batch_spec) if self.sequence else ()))

  def _evaluation(self, records, truth):
    names, size = self._names(), 1 if self.sequence else self._rows
    ends = np.cumsum(records.recordings)
    begins = np.zeros(records.size, bool)
    begins[np.concatenate([[0], ends[:-1]])] = True
    indices = tf.data.Dataset.range(records.size)
    examples = pipeline_records.parallel(
      indices, lambda index: records.read(index, names, truth, own=self._own)
    )
    rows, truths = [], []
    running = pipeline_records.Examples(examples.prefetch(self._rows), records)
    for number, (row, whole) in enumerate(running):
      if self.sequence:
        row["reset"] = begins[number]
      rows.append(row)
      truths.append({**whole, "key": whole["key"].decode()})
      if len(rows) == size or number == records.size - 1:
        yield self._padded(rows, size), truths
        rows, truths = [], []

  def _drive(self, count, fps, truth):
    config = self._data.config
    size = np.array([config.height, config.width], np.int32)
    box = np.array([0, 0, *size], np.int32)
    for frame in self._data.dataset.drive(config, count, fps):
      frame |= {"frame": size, "crop": box, "mask": np.True_}
      row = {name: frame[name] for name in {**dict.fromkeys(self._names()), "reset": None}}
      yield (
        self._padded([row], 1),
        [{name: frame[name] for name in ("key", "frame", "crop", *truth)}],
      )

  def _padded(self, rows: list[Batch], size: int) -> Batch:
    """Stacks rows and pads them with what is unknown to a batch of `size`."""
    batch = {}
    for name, first in rows[0].items():
      first = np.asarray(first)
      unknown = fields.get(name, self._own).unknown
      batch[name] = np.full((size, *first.shape), unknown, first.dtype)
      batch[name][: len(rows)] = [row[name] for row in rows]
    batch["mask"] = np.arange(size) < len(rows)
    return batch
