"""Examples of a built set by index, as tf.data reads them, cut to what a network sees."""

from collections.abc import Callable, Mapping, Sequence
import os
import pathlib
from typing import NamedTuple
import weakref

import numpy as np

from bicross_jax import errors, fields
from bicross_jax.data.builders import (
  base,
  storage,
)  # before TensorFlow: the package keeps that quiet
from bicross_jax.data.formats import image

import tensorflow as tf  # isort: skip
import tensorflow_datasets as tfds  # isort: skip

THREADS = min(16, max(2, (os.cpu_count() or 2) // 2))
_KEPT = 1 << 29  # bytes of examples that a part keeps in memory, as reading takes a core's time
RESIZES = ("resize", "bicubic")  # crops that are the whole frame, resized
CROPS = ("bottom", "random", "none", *RESIZES)
MADE = ("frame", "crop", "mask", "reset")  # fields that no set stores: the pipeline makes them


class View(NamedTuple):
  """What is cut out of a frame, or made of it.

  Attributes:
    height, width: pixels.
    crop: "bottom" (of the frame, horizontally centred), "random", "none" (the whole frame, which has that
      size), "resize" or "bicubic" (the whole frame, resized). With "resize" smooth maps (`fields.Field`) are
      resized by Lanczos, and row i of H of others is row floor(i h / H). With "bicubic" both are what
      Pillow's BICUBIC and NEAREST make of 8-bit pictures, to the bit: row floor((i + 0.5) h / H).
  """

  height: int
  width: int
  crop: str


class Records:
  """The examples of one part of a prepared builder.

  Args:
    builder: a prepared builder (`builders.base.Builder`) whose files have random access.
    part: of it.
    view: what is cut out of every frame.

  Attributes:
    size: number of examples.
    folder: where the built set lies.
    recordings: numbers of examples that were recorded in a row.
  """

  def __init__(self, builder: tfds.core.DatasetBuilder, part: str, view: View):
    self.folder = pathlib.Path(builder.data_dir)
    self.recordings = builder.recordings(part)
    self._features, self._view = builder.info.features, view
    split = builder.info.splits[part]
    self.size = split.num_examples
    self._problems: list[errors.UserError] = []
    self._room = _KEPT  # bytes
    self._kept: dict[tuple[str, ...], dict[int, list[np.ndarray]]] = {}  # names -> index -> fields
    self._files = [
      str(file) for file, n in zip(split.filepaths, split.shard_lengths) for _ in range(n)
    ]
    with storage.quiet():
      self._source = builder.as_data_source(  # serialised examples by index
        part, deserialize_method=tfds.core.decode.DeserializeMethod.RAW_BYTES
      )

  def read(
    self,
    index: tf.Tensor,
    names: Sequence[str],
    whole: Sequence[str] = (),
    place: tf.Tensor | None = None,
    own: Mapping[str, fields.Field] | None = None,
  ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """One example, inside a tf.data map.

    Args:
      index: of the example.
      names: fields of the view.
      whole: fields of the frame.
      place: float32[2] in [0, 1), where a random crop lies; None: in the middle.
      own: the recipe's own fields.

    Returns:
      ({name: that field, cut to the view}, {name: that field as it is stored} with "key" (the
      example's name), "frame" and "crop").
    """
    stored = [name for name in dict.fromkeys((*names, *whole)) if name not in MADE]
    sized = next(iter([*fields.maps(stored, own), *self._maps()]))  # it tells the frame's size
    found = self._found(index, list(dict.fromkeys(("key", *stored, sized))))
    frame = tf.shape(found[sized])[:2]
    box = self._box(frame, place)
    found.update(frame=frame, crop=box, mask=tf.constant(True), reset=tf.constant(True))
    view = {name: self._cut(fields.get(name, own), found[name], box) for name in names}
    return view, {name: found[name] for name in ("key", "frame", "crop", *whole)}

  def _found(self, index, names):
    """{name: tensor} of an example as it is stored; read once, and kept where there is room."""
    wanted = tfds.decode.PartialDecoding(dict.fromkeys(names, True))
    with storage.quiet():
      features = wanted.extract_features(self._features)
    decode = tf.function(lambda record: list(map(features.deserialize_example(record).get, names)))
    kept = self._kept.setdefault(tuple(names), {})

    def find(index):
      index = int(index)
      if index in kept:
        return kept[index]
      try:
        found = [x.numpy() for x in decode(tf.constant(self._source[index]))]
      except (RuntimeError, ValueError, OSError, IndexError, tf.errors.OpError) as error:
        self._problems.append(storage.damaged(self._files[index], str(error)))
        # What is raised in here TensorFlow logs itself, with a traceback.
        return [x.numpy() for x in decode(tf.constant(self._zeros()))]
      size = sum(x.nbytes for x in found if isinstance(x, np.ndarray))
      if size <= self._room and index not in kept:  # which another thread may have read
        self._room -= size
        kept[index] = found
      return found

    specs = {name: features.get_tensor_info()[name] for name in names}
    found = tf.numpy_function(find, [index], [spec.tf_dtype for spec in specs.values()])
    return {
      name: tf.ensure_shape(x, spec.shape)
      for (name, spec), x in zip(specs.items(), found, strict=True)
    }

  def _zeros(self) -> bytes:
    """A serialised example of zeros, of the size of the view."""
    size = (self._view.height, self._view.width)
    example = {
      name: np.zeros(
        [s or side for s, side in zip(f.shape, (*size, 1, 1), strict=False)], f.np_dtype
      )
      for name, f in self._features.items()
      if name != "key"
    }
    return self._features.serialize_example({"key": "", **example})

  def check(self) -> None:
    """Raises errors.UserError, where an example was damaged."""
    if self._problems:
      raise self._problems[0]

  def _maps(self):
    """Names of the maps that are stored, the smallest first."""
    maps = {name: f for name, f in self._features.items() if base.is_map(name)}
    return sorted(maps, key=lambda n: (len(maps[n].shape), np.dtype(maps[n].np_dtype).itemsize))

  def _box(self, frame, place):
    height, width, crop = self._view
    if crop in RESIZES:
      return tf.stack([0, 0, frame[0], frame[1]])
    if crop == "bottom":
      top, left = frame[0] - height, (frame[1] - width) // 2
    elif place is None or crop == "none":
      top, left = (frame[0] - height) // 2, (frame[1] - width) // 2
    else:
      room = tf.cast(frame - [height, width] + 1, tf.float32)
      corner = tf.minimum(tf.cast(place * room, tf.int32), frame - [height, width])
      top, left = corner[0], corner[1]
    return tf.stack([top, left, height, width])

  def _cut(self, field, x, box):
    height, width = self._view.height, self._view.width
    if self._view.crop in RESIZES:
      return _resized(field, x, box[2:], self._view)
    if field.kind == "map":
      x = fields.cut(field, x, (box[0], box[1], height, width))
      return tf.ensure_shape(x, [height, width, *x.shape[2:]])
    if field.kind == "intrinsics":
      return fields.cut(field, x, (*tf.unstack(tf.cast(box[:2], x.dtype)), height, width))
    return x


def _resized(field, x, frame, view):
  """A field of one example after its maps are resized from `frame`, height and width, to the view."""
  size, pillow = (view.height, view.width), view.crop == "bicubic"
  if field.kind == "map" and field.smooth and pillow:
    resized = tf.numpy_function(lambda x: image.resize(x, size, "bicubic"), [x], x.dtype)
    return tf.ensure_shape(resized, [*size, *x.shape[2:]])
  if field.kind == "map":
    flat = tf.reshape(x, [*tf.unstack(frame), -1])  # a last axis is needed
    if field.smooth:  # of bytes
      flat = tf.image.resize(tf.cast(flat, tf.float32), size, "lanczos3", antialias=True)
      flat = tf.cast(tf.clip_by_value(tf.round(flat), 0, 255), x.dtype)
    else:
      rows, columns = (
        (2 * tf.range(n) + 1) * frame[i] // (2 * n) if pillow else tf.range(n) * frame[i] // n
        for i, n in enumerate(size)
      )
      flat = tf.gather(tf.gather(flat, rows, axis=0), columns, axis=1)
    return tf.reshape(flat, [*size, *x.shape[2:]])
  if field.kind == "intrinsics":
    scale = tf.cast(tf.stack(size), x.dtype) / tf.cast(frame, x.dtype)
    return fields.resize(field, x, scale[0], scale[1])
  return x


def parallel(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
  """Maps in several threads, in order; of Python's control flow nothing depends on a tensor."""
  function = tf.autograph.experimental.do_not_convert(function)  # which takes a second each time
  return dataset.map(function, num_parallel_calls=THREADS, deterministic=True)


class Examples:
  """Iterates a dataset in NumPy arrays, on threads of its own: JAX keeps the other cores.

  Those threads call Python to read examples, so they must have ended when the interpreter shuts
  down: an iteration that still goes on then is closed first.

  Args:
    dataset: what is iterated over.
    records: what it reads from, which knows what was wrong when that fails.
  """

  def __init__(self, dataset: tf.data.Dataset, records: Records):
    options = tf.data.Options()
    options.threading.private_threadpool_size = THREADS
    options.threading.max_intra_op_parallelism = 1
    # Nothing is to be tuned, and the tuner's thread can hold up the end for a minute.
    options.autotune.enabled = False
    self._running = [dataset.with_options(options).as_numpy_iterator()]  # the only reference
    self._records = records
    weakref.finalize(self, self._running.clear)  # when collected, at the latest at exit

  def __iter__(self):
    return self

  def __next__(self):
    try:
      found = next(self._running[0])
    except tf.errors.OpError as error:
      self._records.check()
      raise storage.damaged(self._records.folder, str(error)) from error
    self._records.check()
    return found
