"""From built data sets to NumPy batches: what training and evaluation read.

    data = pipeline.open(config.data)
    batches = data.batches(recipe.batch_spec(), seed=config.seed)
    batches.train(start_step), batches.evaluation("validation")

Examples lie in files with random access, so the order is a list of indices computed from
(seed, step): a run started at any step reads what an uninterrupted one would have read,
nothing is skipped over, and memory stays bounded however large the set is.
"""

from collections.abc import Callable, Iterator, Mapping
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from bicross_jax import errors
from bicross_jax.data import layouts, pipeline_order, pipeline_records
from bicross_jax.data.builders import spike_frames, spike_world, storage

import tensorflow as tf  # isort: skip  (after the builders, which keep it quiet)

Spec = Mapping[str, jax.ShapeDtypeStruct]
Batch = dict[str, np.ndarray]
Truth = dict[str, Any]


def open(  # pylint: disable=redefined-builtin
  config: ml_collections.ConfigDict, section: str = "data"
) -> "Data":
  """Opens a data set, building it first where it is not there yet.

  Args:
    config: a section of a config: `name` ("spike_world" or a key of `layouts.SETS`), `domain`,
      `data_dir`, `height`, `width`, `steps`, `batch_size` (of the global batch); the training
      examples in use, `limit` (how many, 0 = all) and `labelled` (how many of them keep their
      depth, 0 = all; the others have depth 0 throughout; `pipeline_order.chosen_rows` draws
      both); `oversample_labelled` (half of each batch is labelled). For spike_world the sizes
      `train`, `validation`, `test`; `data_dir` is where the set is kept. For real sets
      `allow_missing` says whether frames that lack files are left out, and `parts` what the
      domain "listed" of kitti takes; `data_dir` is the folder that holds the set's tree, and
      height and width are of the crop.
    section: the section's name, for errors.

  Raises:
    errors.UserError: a name, size or folder that does not work.
  """
  if config.name == "spike_world":
    builder = _spike_world(config)
  elif config.name in layouts.SETS:
    builder = _spike_frames(config, section)
  else:
    names = sorted(("spike_world", *layouts.SETS))
    raise errors.UserError(f"unknown data set {config.name!r}: choose from {', '.join(names)}")
  return Data(builder, config, section)


def _spike_world(config):
  parameters = {
    name: config[name]
    for name in ("domain", "height", "width", "steps", "train", "validation", "test")
  }
  return storage.prepare(
    spike_world.SpikeWorld,
    spike_world.SpikeWorldConfig(**parameters),
    storage.root(config.data_dir),
  )


def _spike_frames(config, section):
  frames = layouts.find_frames(
    config.name,
    config.data_dir,
    config.domain,
    config.get("parts"),
    allow_missing=config.get("allow_missing", False),
    section=section,
  )
  builder = storage.prepare(
    spike_frames.SpikeFrames,
    spike_frames.SpikeFramesConfig(
      dataset=config.name, domain=config.domain, frames=frames, steps=config.steps
    ),
    storage.root(),
  )
  height, width = builder.info.metadata["smallest"]
  if config.height > height or config.width > width:
    raise errors.UserError(
      f"the crop of {config.height}x{config.width} is larger than the smallest frame of "
      f"{config.name}, {height}x{width}; lower config.{section}.height and "
      f"config.{section}.width"
    )
  return builder


class Data:
  """An opened data set; `open` makes it.

  Attributes:
    sizes: number of examples in use, by part ("train", "validation", "test").
    folder: where the built set lies.
    labelled: bool[sizes["train"]], which training examples keep their depth.
  """

  def __init__(self, builder, config: ml_collections.ConfigDict, section: str = "data"):
    self.folder = pathlib.Path(builder.data_dir)
    self._name = builder.name
    self._config = config
    self._records = pipeline_records.Records(builder, (config.height, config.width))
    size = self._records.sizes["train"]
    if config.limit < 0:
      raise errors.UserError(f"config.{section}.limit={config.limit} is negative")
    limit = min(config.limit or size, size)
    if not 0 <= config.labelled <= limit:
      raise errors.UserError(
        f"config.{section}.labelled={config.labelled}, but {limit} training examples are in use"
      )
    self._used, self.labelled = pipeline_order.chosen_rows(size, limit, config.labelled)
    self.sizes = {**self._records.sizes, "train": limit}

  def depths(self, part: str = "train") -> Iterator[np.ndarray]:
    """Depth maps of the view, float32[height, width]; of the training part the labelled ones."""
    _check_part(part, self.sizes)
    chosen = self._used[self.labelled] if part == "train" else np.arange(self.sizes[part])
    indices = tf.data.Dataset.from_tensor_slices(chosen)
    depths = pipeline_records.parallel(
      indices, lambda index: self._records.read(part, index)["depth"]
    )
    return pipeline_records.Run(depths.prefetch(8))

  def batches(
    self,
    batch_spec: Spec,
    *,
    seed: int,
    process_index: int | None = None,
    process_count: int | None = None,
  ) -> "Batches":
    """Batches of this set.

    Args:
      batch_spec: shape and dtype of every field of one example that batches shall hold.
      seed: of the training order.
      process_index, process_count: which share of the global batch is ours; JAX's own by
        default.

    Raises:
      errors.UserError: a batch size that does not suit the number of processes.
      ValueError: a field, shape or dtype in `batch_spec` that the set does not have.
    """
    index = jax.process_index() if process_index is None else process_index
    count = jax.process_count() if process_count is None else process_count
    size = self._config.batch_size
    if size < 1 or size % count:
      raise errors.UserError(
        f"config.data.batch_size={size} cannot be shared by {count} process(es)"
      )
    self._check(batch_spec)
    share = slice(index * size // count, (index + 1) * size // count)

    def order():
      return pipeline_order.TrainingOrder(
        self.labelled, size, seed, self._config.get("oversample_labelled", False)
      )

    return Batches(self._records, self.sizes, self._used, self.labelled, batch_spec, order, share)

  def _check(self, batch_spec: Spec) -> None:
    found = self._records.fields()
    for name, spec in batch_spec.items():
      if name not in found:
        raise ValueError(f"{self._name} has no field {name!r}, only {', '.join(found)}")
      shape, dtype = tuple(found[name].shape), np.dtype(found[name].dtype.as_numpy_dtype)
      if (shape, dtype) != (tuple(spec.shape), np.dtype(spec.dtype)):
        raise ValueError(
          f"field {name!r} is {dtype.name}{list(shape)} in {self._name}, "
          f"{np.dtype(spec.dtype).name}{list(spec.shape)} in the batch's specification"
        )


class Batches:
  """Training and evaluation batches of a set; `Data.batches` makes it.

  Attributes:
    batch_spec: shape and dtype of one example, by field.
    sizes: number of examples in use, by part.
  """

  def __init__(
    self,
    records: pipeline_records.Records,
    sizes: Mapping[str, int],
    used: np.ndarray,
    labelled: np.ndarray,
    batch_spec: Spec,
    order: Callable[[], pipeline_order.TrainingOrder],
    share: slice,
  ):
    self.batch_spec = dict(batch_spec)
    self.sizes = dict(sizes)
    self._records = records
    self._used, self._labelled = used, labelled
    self._order = order
    self._share = share  # the rows of the global batch that are this host's
    self._rows = share.stop - share.start

  def train(self, start_step: int = 0) -> Iterator[Batch]:
    """This host's share of the training batches from a step on, without end.

    Yields:
      {field: array [rows of this host, ...]} with the fields of `batch_spec`; depth is 0
      throughout in unlabelled examples. The arrays are read-only.

    Raises:
      errors.UserError: there are fewer examples than rows in the global batch.
    """
    order = self._order()
    used, labelled = tf.constant(self._used), tf.constant(self._labelled)

    def rows(step):
      return order.rows(step)[self._share]

    def example(position):
      fields = self._records.read("train", used[position])
      fields["depth"] = tf.where(labelled[position], fields["depth"], 0.0)
      return {name: fields[name] for name in self.batch_spec}

    steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    positions = steps.flat_map(
      lambda step: tf.data.Dataset.from_tensor_slices(
        tf.ensure_shape(tf.numpy_function(rows, [step], tf.int64), [self._rows])
      )
    )
    batches = pipeline_records.parallel(positions, example).batch(self._rows, drop_remainder=True)
    return pipeline_records.Run(batches.prefetch(2))

  def evaluation(self, part: str) -> Iterator[tuple[Batch, list[Truth]]]:
    """All examples of a part in their fixed order, the same on every host.

    Returns an iterator of (batch, truths). The batch has the fields of `batch_spec` and `mask`
    (bool[b]); the last one is padded with zeros, `mask` is False there. `truths` has a dict for
    each real row: `key`, `depth` (float32[H', W'], the whole frame, metres, 0 unknown) and
    `crop` (int32[4]: top, left, height, width of the batch's view in that frame).
    """
    _check_part(part, self.sizes)
    return self._evaluation(part)

  def _evaluation(self, part):
    def example(index):
      fields = self._records.read(part, index)
      truth = {"key": fields["key"], "depth": fields["whole_depth"], "crop": fields["crop"]}
      return {name: fields[name] for name in self.batch_spec}, truth

    indices = tf.data.Dataset.range(self.sizes[part])
    examples = pipeline_records.parallel(indices, example).prefetch(self._rows)
    rows, truths = [], []
    for fields, truth in pipeline_records.Run(examples):
      rows.append(fields)
      truths.append({**truth, "key": truth["key"].decode()})
      if len(rows) == self._rows:
        yield self._padded(rows), truths
        rows, truths = [], []
    if rows:
      yield self._padded(rows), truths

  def _padded(self, rows: list[Batch]) -> Batch:
    """Stacks rows and pads them with zeros to this host's batch size."""
    batch = {}
    for name in self.batch_spec:
      first = rows[0][name]
      batch[name] = np.zeros((self._rows, *np.shape(first)), first.dtype)
      batch[name][: len(rows)] = [row[name] for row in rows]
    batch["mask"] = np.arange(self._rows) < len(rows)
    return batch


class Streams:
  """Training batches of several sets side by side: a source and a target.

  Attributes:
    streams: {name: Batches}.
  """

  def __init__(self, streams: Mapping[str, Batches]):
    self.streams = dict(streams)

  def train(self, start_step: int = 0) -> Iterator[dict[str, Batch]]:
    """{name: that stream's batch} from a step on, without end; see `Batches.train`."""
    running = {name: batches.train(start_step) for name, batches in self.streams.items()}
    while True:
      yield {name: next(batches) for name, batches in running.items()}


def _check_part(part: str, sizes: Mapping[str, int]) -> None:
  if part not in sizes:
    raise errors.UserError(f"no part {part!r}: choose from {', '.join(sizes)}")
