"""From built data sets to NumPy batches: what training and evaluation read.

    data = pipeline.open(config.data)
    batches = data.batches(recipe.batch_spec(), seed=config.seed, own_fields=recipe.fields)
    batches.train(start_step), batches.evaluation("validation", truth=task.truth)

Examples lie in files with random access, so the order is a list of indices computed from
(seed, step): a run started at any step reads what an uninterrupted one would have read,
nothing is skipped over, and memory stays bounded however large the set is. What a field is, and
what cutting does to it, stands in `bicross_jax.fields`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import functools
import pathlib

import jax
import ml_collections
import numpy as np

from bicross_jax import errors, fields
from bicross_jax.data import pipeline_order, pipeline_records, sets
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.pipeline_batches import NONE, Batch, Batches, Own, Spec
from bicross_jax.data.pipeline_records import View

import tensorflow as tf  # isort: skip  (after pipeline_records, which keeps it quiet)


def open(  # pylint: disable=redefined-builtin
  config: ml_collections.ConfigDict, section: str = "data", parts: Sequence[str] = ()
) -> "Data":
  """Opens a data set.

  Args:
    config: a section of a config. `name` (a key of `data.sets.SETS`) and `domain`; `data_dir`, where
      the set's files lie (of the world: where it is kept); `steps` of a spike stream; `sensors`, the
      fields that are used (none: the set's choice). `height` and `width` of what is cut out of
      each frame, and `crop`, where: "bottom" (centred), "random" (in training; otherwise in the
      middle), "none" (frames have that size), "resize" or "bicubic" (frames are resized to it whole:
      `pipeline_records.View`). `batch_size` of the global batch; `sequence`, how many windows of a recording
      are trained on in a row (0: single examples). The training
      examples in use, `limit` (how many, 0 = all) and `labelled` (how many of them keep their
      labels, 0 = all; the others are unknown throughout; `pipeline_order.chosen_rows` draws both);
      `oversample_labelled` (half of each batch is labelled). Sizes `train`, `validation`, `test`
      of the world; of sets of files `allow_missing` (frames that lack files are left out) and
      `parts` (what the domain "listed" of kitti takes).
    section: the section's name, for errors.
    parts: those that are built now where they are not there; others are when they are first used.

  Raises:
    errors.UserError: a name, size or folder that does not work.
  """
  data = Data(sets.check(config, section), config, section)
  for part in parts:
    data.records(part)
  return data


class Sizes(Mapping[str, int]):
  """Number of examples in use by part; a part that is not there yet is built when asked for."""

  def __init__(self, size: Callable[[str], int]):
    self._size = size

  def __getitem__(self, part: str) -> int:
    return self._size(_known(part))

  def __iter__(self) -> Iterator[str]:
    return iter(PARTS)

  def __len__(self) -> int:
    return len(PARTS)


class Data:
  """An opened data set; `open` makes it.

  Attributes:
    sizes: number of examples in use, by part ("train", "validation", "test").
    drives: whether `Batches.drive` makes frames.
    dataset, config: the set, and the section that chooses from it.
  """

  def __init__(self, dataset: sets.DataSet, config: ml_collections.ConfigDict, section: str):
    self.dataset, self.config, self._section = dataset, config, section
    self._view = View(config.height, config.width, config.get("crop", "bottom"))
    self._check_section()
    self._records: dict[str, pipeline_records.Records] = {}
    self.sizes = Sizes(self._size)
    self.drives = dataset.drives

  @property
  def folder(self) -> pathlib.Path:
    """Where the parts that were used lie, built; the training part is built if none was."""
    if not self._records:
      self.records("train")
    return next(iter(self._records.values())).folder

  @property
  def labelled(self) -> np.ndarray:
    """bool[sizes["train"]], which training examples keep their labels."""
    return self.chosen[1]

  def records(self, part: str) -> pipeline_records.Records:
    """The examples of a part, which is built where it is not there yet.

    Raises:
      errors.UserError: no such part, or files that are missing or damaged.
    """
    if _known(part) not in self._records:
      builder = self.dataset.build(self.config, self._section, part)
      self._check_frames(builder.info.metadata)
      records = pipeline_records.Records(builder, part, self._view)
      if part == "train":
        self._check_labelled(records.size)
      self._records[part] = records
    return self._records[part]

  def truths(self, part: str, names: Sequence[str], own_fields: Own = NONE) -> Iterator[Batch]:
    """Some fields of every example of a part that has labels, in order.

    Args:
      part: of the training part the labelled examples in use are meant.
      names: fields of the set.
      own_fields: the recipe's own.

    Returns:
      An iterator of {field: array of the view}.

    Raises:
      errors.UserError: no such part or field.
    """
    records = self.records(part)
    self.stored(names, own_fields)
    used, labelled = self.chosen if part == "train" else (np.arange(records.size), slice(None))
    indices = tf.data.Dataset.from_tensor_slices(used[labelled])
    found = pipeline_records.parallel(
      indices, lambda index: records.read(index, names, own=own_fields)[0]
    )
    return pipeline_records.Examples(found.prefetch(8), records)

  def batches(
    self,
    batch_spec: Spec,
    *,
    seed: int,
    process_index: int | None = None,
    process_count: int | None = None,
    own_fields: Own = NONE,
  ) -> Batches:
    """Batches of this set.

    Args:
      batch_spec: shape and dtype of every field of one example that batches shall hold.
      seed: of the training order.
      process_index, process_count: which share of the global batch is ours; JAX's own by
        default.
      own_fields: those of the recipe, besides `fields.FIELDS`.

    Raises:
      errors.UserError: a batch size that does not suit the number of processes, or a field, shape
        or dtype in `batch_spec` that the set does not have.
    """
    index = jax.process_index() if process_index is None else process_index
    count = jax.process_count() if process_count is None else process_count
    size = self.config.batch_size
    if size < 1 or size % count:
      raise errors.UserError(
        f"config.{self._section}.batch_size={size} cannot be shared by {count} process(es)"
      )
    self._check_spec(batch_spec, own_fields)
    share = slice(index * size // count, (index + 1) * size // count)
    return Batches(self, batch_spec, seed, share, own_fields)

  @functools.cached_property
  def chosen(self) -> tuple[np.ndarray, np.ndarray]:
    """(int64[n] indices of the training examples in use, bool[n] which keep their labels)."""
    size, config = self.records("train").size, self.config
    return pipeline_order.chosen_rows(size, min(config.limit or size, size), config.labelled)

  def _size(self, part):
    return len(self.chosen[0]) if part == "train" else self.records(part).size

  def order(self, seed: int) -> pipeline_order.TrainingOrder | pipeline_order.SequenceOrder:
    """Which examples make up the training batch of a step."""
    config = self.config
    oversample = config.get("oversample_labelled", False)
    if not config.get("sequence", 0):
      return pipeline_order.TrainingOrder(self.labelled, config.batch_size, seed, oversample)
    recordings = self.records("train").recordings
    return pipeline_order.SequenceOrder(recordings, config.batch_size, seed, config.sequence)

  def _check_section(self):
    config, name = self.config, f"config.{self._section}"
    for field, least in (("height", 1), ("width", 1), ("limit", 0), ("labelled", 0)):
      if config[field] < least:
        raise errors.UserError(f"{name}.{field}={config[field]} is less than {least}")
    if self._view.crop not in pipeline_records.CROPS:
      raise errors.UserError(
        f"{name}.crop={self._view.crop!r}: choose from {', '.join(pipeline_records.CROPS)}"
      )
    if config.get("sequence", 0) < 0:
      raise errors.UserError(f"{name}.sequence={config.sequence} is negative")
    if config.get("sequence", 0) and (config.limit or config.get("oversample_labelled", False)):
      raise errors.UserError(
        f"{name}.limit and {name}.oversample_labelled choose single examples, and with "
        f"{name}.sequence whole recordings are used"
      )

  def _check_labelled(self, size):
    """Whether of so many training examples as many as asked for can be labelled."""
    used = min(self.config.limit or size, size)
    if self.config.labelled > used:
      raise errors.UserError(
        f"config.{self._section}.labelled={self.config.labelled}, but {used} training examples are "
        "in use"
      )

  def _check_frames(self, metadata):
    """Whether every frame of a built set holds the view."""
    size, field = (self._view.height, self._view.width), f"config.{self._section}"
    smallest, largest = (tuple(metadata[name]) for name in ("smallest", "largest"))
    if self._view.crop == "none" and not size == smallest == largest:
      raise errors.UserError(
        f"{field}.crop='none' needs frames of {size[0]}x{size[1]}; those of {self.dataset.name} have "
        f"{smallest[0]}x{smallest[1]} to {largest[0]}x{largest[1]}"
      )
    if self._view.crop not in pipeline_records.RESIZES and (
      size[0] > smallest[0] or size[1] > smallest[1]
    ):
      raise errors.UserError(
        f"the crop of {size[0]}x{size[1]} is larger than the smallest frame of {self.dataset.name}, "
        f"{smallest[0]}x{smallest[1]}; lower {field}.height and {field}.width"
      )

  def stored(
    self, names: Iterable[str], own_fields: Own = NONE
  ) -> dict[str, tuple[tuple[int | None, ...], str]]:
    """(shape, dtype) of some fields of the view.

    Raises:
      errors.UserError: a field that the set does not have.
    """
    size = (self._view.height, self._view.width)
    known = {"frame": ((2,), "int32"), "crop": ((4,), "int32")}
    known |= {"mask": ((), "bool"), "reset": ((), "bool")}
    for name, (shape, dtype) in self.dataset.fields(self.config).items():
      if name in names and fields.get(name, own_fields).kind == "map":
        shape = (*size, *shape[2:])
      known[name] = (shape, dtype)
    for name in names:
      if name not in known:
        raise errors.UserError(
          f"{self.dataset.name} has no field {name!r} (config.{self._section}), only "
          f"{', '.join(known)}"
        )
    return {name: known[name] for name in names}

  def _check_spec(self, batch_spec, own):
    for name, (shape, dtype) in self.stored(batch_spec, own).items():
      spec = batch_spec[name]
      if (shape, np.dtype(dtype)) != (tuple(spec.shape), np.dtype(spec.dtype)):
        raise errors.UserError(
          f"field {name!r} is {dtype}{list(shape)} in {self.dataset.name} (config.{self._section}), "
          f"{np.dtype(spec.dtype).name}{list(spec.shape)} in the batch's specification"
        )


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


def _known(part: str) -> str:
  if part not in PARTS:
    raise errors.UserError(f"no part {part!r}: choose from {', '.join(PARTS)}")
  return part
