"""From built data sets to NumPy batches: what training and evaluation read.

Examples lie in files with random access, so that the order is a list of indices computed from
(seed, step): a run started at any step reads what an uninterrupted one would have read,
nothing is skipped over, and memory stays bounded however large the set is.
"""

import atexit
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from bicross_jax import errors
from bicross_jax.data import builders  # before TensorFlow: it keeps that one quiet
from bicross_jax.data import pipeline_order
from bicross_jax.data.builders import kitti
from bicross_jax.data.builders import spike_world
from bicross_jax.data.builders import storage

import tensorflow as tf  # isort: skip
import tensorflow_datasets as tfds  # isort: skip

Spec = Mapping[str, jax.ShapeDtypeStruct]
Truth = dict[str, Any]
TRAIN = "train"
_PIXELS = frozenset({"rgb", "rgb_right", "spike", "depth", "label"})  # fields cut to the view
_THREADS = min(16, max(2, (os.cpu_count() or 2) // 2))


def open(  # pylint: disable=redefined-builtin
    config: ml_collections.ConfigDict,
    batch_spec: Spec,
    *,
    seed: int,
    batch_size: int,
    process_index: int | None = None,
    process_count: int | None = None,
) -> "Data":
  """Opens a data set, building it first where it is not there yet.

  Args:
    config: the `data` section: `name` ("spike_world" or "kitti"), `data_dir`, `height`, `width`,
      `steps`; the training examples in use, `limit` (the first so many, 0 = all) and `labelled`
      (how many of them keep their depth, 0 = all; the others have depth 0 throughout);
      `oversample_labelled` (half of each batch is labelled). For spike_world `domain` and
      the sizes `train`, `validation`, `test`; `data_dir` is where the set is kept. For kitti
      `domain` is the split ("eigen", "eigen_benchmark", "listed" with `parts`), `allow_missing`
      says whether frames that lack files are left out; `data_dir` is the folder that holds
      `input`, and height and width are of the crop (bottom, centred).
    batch_spec: shape and dtype of every field of one example that batches shall hold.
    seed: of the training order.
    batch_size: rows of the global batch.
    process_index, process_count: which share of it is ours; JAX's own by default.

  Raises:
    errors.UserError: a name, size or folder that does not work.
    ValueError: a field or shape in `batch_spec` that the set does not have.
  """
  index = jax.process_index() if process_index is None else process_index
  count = jax.process_count() if process_count is None else process_count
  if batch_size < 1 or batch_size % count:
    raise errors.UserError(
        f"config.data.batch_size={batch_size} cannot be shared by {count} processes")
  if config.name not in _SETS:
    raise errors.UserError(
        f"unknown data set {config.name!r}: choose from {', '.join(sorted(_SETS))}")
  builder = _SETS[config.name](config)
  size = builder.info.splits[TRAIN].num_examples
  if config.limit < 0:
    raise errors.UserError(f"config.data.limit={config.limit} is negative")
  limit = min(config.limit or size, size)
  if not 0 <= config.labelled <= limit:
    raise errors.UserError(
        f"config.data.labelled={config.labelled}, but {limit} training examples are in use")
  labelled = pipeline_order.labelled_rows(size, limit, config.labelled)[:limit]
  oversample = config.get("oversample_labelled", False)
  order = pipeline_order.TrainingOrder(labelled, batch_size, seed, oversample)
  share = (index * batch_size // count, (index + 1) * batch_size // count)
  return Data(builder, batch_spec, (config.height, config.width), labelled, order, share)


def _spike_world(config):
  parameters = {name: config[name] for name in (
      "domain", "height", "width", "steps", "train", "validation", "test")}
  return storage.prepare(
      spike_world.SpikeWorld,
      spike_world.SpikeWorldConfig(**parameters),
      storage.root(config.data_dir))


def _kitti(config):
  frames = kitti.find_frames(
      config.data_dir, config.domain, config.get("parts"), config.get("allow_missing", False))
  builder = storage.prepare(
      kitti.SpikeKitti, kitti.KittiConfig(frames=frames, steps=config.steps), storage.root())
  height, width = builder.info.metadata["smallest"]
  if config.height > height or config.width > width:
    raise errors.UserError(
        f"the crop of {config.height}x{config.width} is larger than the smallest frame of kitti, "
        f"{height}x{width}; lower config.data.height and config.data.width")
  return builder


_SETS: dict[str, Callable] = {"spike_world": _spike_world, "kitti": _kitti}


class Data:
  """An opened data set; `open` makes it.

  Attributes:
    batch_spec: shape and dtype of one example, by field.
    sizes: number of examples in use, by part ("train", "validation", "test").
    folder: where the built set lies.
  """

  def __init__(
      self,
      builder: tfds.core.DatasetBuilder,
      batch_spec: Spec,
      view: tuple[int, int],
      labelled: np.ndarray,
      order: pipeline_order.TrainingOrder,
      share: tuple[int, int],
  ):
    """Args as `open` works them out.

    Args:
      builder: a prepared builder.
      batch_spec: what batches hold.
      view: height and width of what the network sees of a frame.
      labelled: bool[n], which of the n training examples in use keep their depth.
      order: the rows of every global batch.
      share: the first and last (exclusive) row of the global batch that are this host's.
    """
    self.batch_spec = dict(batch_spec)
    self.sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    self.sizes[TRAIN] = len(labelled)
    self.folder = pathlib.Path(builder.data_dir)
    self._builder = builder
    self._view = view
    self._labelled = labelled
    self._order = order
    self._share = share
    self._host_rows = share[1] - share[0]
    raw = tfds.core.decode.DeserializeMethod.RAW_BYTES
    with storage.quiet():
      self._sources = {  # serialised examples by index
          part: builder.as_data_source(part, deserialize_method=raw) for part in self.sizes}
    self._check_spec()

  def train(self, start_step: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """This host's share of the training batches from a step on, without end.

    Yields:
      {field: array [rows of this host, ...]} with the fields of `batch_spec`; depth is 0
      throughout in unlabelled examples. The arrays are read-only.
    """
    first, last = self._share

    def rows(step):
      return self._order.rows(step)[first:last]

    steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    indices = steps.flat_map(lambda step: tf.data.Dataset.from_tensor_slices(
        tf.ensure_shape(tf.numpy_function(rows, [step], tf.int64), [last - first])))
    labelled = tf.constant(self._labelled)

    def example(index):
      fields = self._read(TRAIN, index)
      fields["depth"] = tf.where(labelled[index], fields["depth"], 0.0)
      return {name: fields[name] for name in self.batch_spec}

    batches = _parallel(indices, example).batch(last - first, drop_remainder=True)
    return _run(batches.prefetch(2))

  def evaluation(self, part: str) -> Iterator[tuple[dict[str, np.ndarray], list[Truth]]]:
    """All examples of a part in their fixed order, the same on every host.

    Yields:
      (batch, truths). The batch has the fields of `batch_spec` and `mask` (bool[b]); the last
      one is padded with zeros, `mask` is False there. `truths` has a dict for each real row:
      `key`, `depth` (float32[H', W'], the whole frame, metres, 0 unknown) and `crop` (int32[4]:
      top, left, height, width of the batch's view in that frame).
    """
    def example(index):
      fields = self._read(part, index)
      truth = {"key": fields["key"], "depth": fields["whole_depth"], "crop": fields["crop"]}
      return {name: fields[name] for name in self.batch_spec}, truth

    indices = tf.data.Dataset.range(self._size(part))
    examples = _run(_parallel(indices, example).prefetch(self._host_rows))
    rows, truths = [], []
    for fields, truth in examples:
      rows.append(fields)
      truths.append({**truth, "key": truth["key"].decode()})
      if len(rows) == self._host_rows:
        yield self._batch(rows), truths
        rows, truths = [], []
    if rows:
      yield self._batch(rows), truths

  def depths(self, part: str = TRAIN) -> Iterator[np.ndarray]:
    """Depth maps of the view, float32[height, width]; of the training part the labelled ones."""
    labelled = self._labelled if part == TRAIN else np.ones(self._size(part), bool)
    indices = tf.data.Dataset.from_tensor_slices(np.flatnonzero(labelled))
    return _run(_parallel(indices, lambda index: self._read(part, index)["depth"]).prefetch(8))

  def _check_spec(self) -> None:
    """Refuses a `batch_spec` whose fields, shapes or dtypes are not those of the set."""
    examples = tf.data.Dataset.range(1).map(functools.partial(self._read, TRAIN))
    found = {name: spec for name, spec in examples.element_spec.items()
             if name not in ("key", "whole_depth")}
    for name, spec in self.batch_spec.items():
      if name not in found:
        raise ValueError(f"{self._builder.name} has no field {name!r}, only {', '.join(found)}")
      have = (tuple(found[name].shape), found[name].dtype.as_numpy_dtype)
      if have != (tuple(spec.shape), np.dtype(spec.dtype)):
        raise ValueError(
            f"field {name!r} is {np.dtype(have[1]).name}{list(have[0])} in {self._builder.name}, "
            f"{np.dtype(spec.dtype).name}{list(spec.shape)} in the batch's specification")

  def _size(self, part: str) -> int:
    if part not in self.sizes:
      raise errors.UserError(f"no part {part!r}: choose from {', '.join(self.sizes)}")
    return self.sizes[part]

  def _batch(self, rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Stacks rows and pads them with zeros to this host's batch size."""
    batch = {}
    for name in self.batch_spec:
      first = rows[0][name]
      batch[name] = np.zeros((self._host_rows, *np.shape(first)), first.dtype)
      batch[name][:len(rows)] = [row[name] for row in rows]
    batch["mask"] = np.arange(self._host_rows) < len(rows)
    return batch

  def _read(self, part: str, index: tf.Tensor) -> dict[str, tf.Tensor]:
    """One example: the view's fields, `frame`, `crop`, `mask`, `key` and `whole_depth`."""
    source = self._sources[part]
    record = tf.numpy_function(lambda i: source[int(i)], [index], tf.string)
    with storage.quiet():
      fields = self._builder.info.features.deserialize_example(tf.ensure_shape(record, []))
    height, width = self._view
    frame = tf.shape(fields["depth"])
    top, left = frame[0] - height, (frame[1] - width) // 2  # bottom, centred
    fields["whole_depth"] = fields["depth"]
    for name in _PIXELS & fields.keys():
      view = fields[name][top:top + height, left:left + width]
      fields[name] = tf.ensure_shape(view, [height, width, *view.shape[2:]])
    fields["frame"] = frame
    fields["crop"] = tf.stack([top, left, height, width])
    fields["mask"] = tf.constant(True)
    return fields

def _parallel(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
  return dataset.map(function, num_parallel_calls=_THREADS, deterministic=True)


def _run(dataset: tf.data.Dataset) -> Iterator:
  """Iterates in NumPy arrays, on threads of its own so that JAX keeps the other cores.

  Those threads call Python to read examples, which must have ended when the interpreter
  shuts down: an iteration that is still going on then is closed first.
  """
  options = tf.data.Options()
  options.threading.private_threadpool_size = _THREADS
  options.threading.max_intra_op_parallelism = 1
  running = [dataset.with_options(options).as_numpy_iterator()]  # the only reference
  atexit.register(running.clear)
  try:
    while running:
      try:
        item = next(running[0])
      except StopIteration:
        return
      yield item
  finally:
    atexit.unregister(running.clear)
    running.clear()
