"""Examples of a built set by index, as tf.data reads them."""

from collections.abc import Callable
import os
import weakref

from bicross_jax.data.builders import storage  # before TensorFlow: the package keeps that quiet

import tensorflow as tf  # isort: skip
import tensorflow_datasets as tfds  # isort: skip

THREADS = min(16, max(2, (os.cpu_count() or 2) // 2))
_PIXELS = frozenset({"rgb", "rgb_right", "spike", "depth", "label"})  # fields cut to the view


class Records:
  """The examples of a prepared builder, cut to what the network sees of a frame.

  Args:
    builder: a prepared builder whose files have random access.
    view: height and width of the view: the bottom of the frame, horizontally centred.

  Attributes:
    sizes: number of examples by part.
  """

  def __init__(self, builder: tfds.core.DatasetBuilder, view: tuple[int, int]):
    self.sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    self._features = builder.info.features
    self._view = view
    raw = tfds.core.decode.DeserializeMethod.RAW_BYTES
    with storage.quiet():
      self._sources = {  # serialised examples by index
        part: builder.as_data_source(part, deserialize_method=raw) for part in self.sizes
      }

  def read(self, part: str, index: tf.Tensor) -> dict[str, tf.Tensor]:
    """One example, inside a tf.data map: the fields of the view, `frame`, `crop`, `mask`.

    Two more are for the host: `key` (the example's name) and `whole_depth` (of the frame).
    """
    source = self._sources[part]
    record = tf.numpy_function(lambda i: source[int(i)], [index], tf.string)
    with storage.quiet():
      fields = self._features.deserialize_example(tf.ensure_shape(record, []))
    height, width = self._view
    frame = tf.shape(fields["depth"])
    top, left = frame[0] - height, (frame[1] - width) // 2
    fields["whole_depth"] = fields["depth"]
    for name in _PIXELS & fields.keys():
      view = fields[name][top : top + height, left : left + width]
      fields[name] = tf.ensure_shape(view, [height, width, *view.shape[2:]])
    fields["frame"] = frame
    fields["crop"] = tf.stack([top, left, height, width])
    fields["mask"] = tf.constant(True)
    return fields

  def fields(self) -> dict[str, tf.TensorSpec]:
    """Shape and dtype of every field that a batch may hold."""
    one = tf.data.Dataset.range(1).map(lambda index: self.read(next(iter(self.sizes)), index))
    return {
      name: spec for name, spec in one.element_spec.items() if name not in ("key", "whole_depth")
    }


def parallel(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
  """Maps in several threads, in order."""
  return dataset.map(function, num_parallel_calls=THREADS, deterministic=True)


class Run:
  """Iterates a dataset in NumPy arrays, on threads of its own: JAX keeps the other cores.

  Those threads call Python to read examples, so they must have ended when the interpreter shuts
  down: an iteration that still goes on then is closed first.
  """

  def __init__(self, dataset: tf.data.Dataset):
    options = tf.data.Options()
    options.threading.private_threadpool_size = THREADS
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = (
      False  # nothing to tune, and its thread can hold up the end for a minute
    )
    self._running = [dataset.with_options(options).as_numpy_iterator()]  # the only reference
    weakref.finalize(self, self._running.clear)  # when collected, at the latest at exit

  def __iter__(self):
    return self

  def __next__(self):
    return next(self._running[0])
