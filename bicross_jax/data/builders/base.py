"""What all builders share: examples in a fixed order, hashed, in shards of bounded size."""

from collections.abc import Iterator
import functools
import hashlib
import sys

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from bicross_jax import fields

SHARD_BYTES = 512 << 20  # TFDS holds the examples of one shard in memory while it writes them


class Builder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """A TFDS builder whose example i of a part is always the same one.

  Subclasses say `features`, `sizes`, `example_bytes` and `examples`. The part's examples are
  written in order (nothing is shuffled: the pipeline does that by index). The set's metadata hold a
  SHA-256 of their content, "sha256" by part, and the sizes of its frames, "smallest" and "largest":
  [height, width] of the maps (`bicross_jax.fields`), which all have one size in an example.
  """

  url_infos = None  # nothing is downloaded
  shard_bytes = SHARD_BYTES

  def features(self) -> dict[str, tfds.features.FeatureConnector]:
    """The feature of every field."""
    raise NotImplementedError

  def sizes(self) -> dict[str, int]:
    """Number of examples by part."""
    raise NotImplementedError

  def recordings(self, part: str) -> list[int]:
    """Numbers of examples of a part that were recorded in a row, in order.

    Here every example is a recording of its own.
    """
    return [1] * self.sizes()[part]

  def example_bytes(self) -> int:
    """About how many bytes an example has, uncompressed."""
    raise NotImplementedError

  def examples(self, part: str, start: int, stop: int) -> Iterator[dict[str, np.ndarray]]:
    """Examples start..stop-1 of a part."""
    raise NotImplementedError

  def required_bytes(self) -> int:
    """Disk space that is enough for the whole set."""
    return sum(self.sizes().values()) * self.example_bytes()

  def _log_download_bytes(self) -> None:
    """Prints nothing: there is a progress bar."""

  def _log_download_done(self) -> None:
    """Prints nothing."""

  def _info(self) -> tfds.core.DatasetInfo:
    return _Info(
      builder=self,
      features=tfds.features.FeaturesDict(self.features()),
      metadata=tfds.core.MetadataDict(sha256={}),
      disable_shuffling=True,
    )

  def _shard_iterators_per_split(self, dl_manager):
    del dl_manager  # nothing is downloaded
    sizes = self.sizes()
    progress = tqdm.tqdm(
      total=sum(sizes.values()),
      desc=f"building {self.name} {self.builder_config.description}",
      unit="ex",
      mininterval=0.5 if sys.stderr.isatty() else 15,
    )
    step = max(1, self.shard_bytes // self.example_bytes())
    digests = {part: hashlib.sha256() for part in sizes}

    def shard(part, start, stop):
      for i, example in enumerate(self.examples(part, start, stop), start):
        for name in sorted(example):
          digests[part].update(_content(example[name]))
        self._note_size(example)
        progress.update()
        yield i, example
      self.info.metadata["sha256"][part] = digests[part].hexdigest()
      if progress.n == progress.total:
        progress.close()

    return {
      part: [
        functools.partial(shard, part, start, min(start + step, size))
        for start in range(0, size, step)
      ]
      for part, size in sizes.items()
    }

  def _note_size(self, example):
    shape = next(list(np.shape(example[name])[:2]) for name in example if is_map(name))
    for name, extreme in (("smallest", np.minimum), ("largest", np.maximum)):
      known = self.info.metadata.setdefault(name, shape)
      self.info.metadata[name] = extreme(known, shape).tolist()


class _Info(tfds.core.DatasetInfo):
  """What is known of a set that lies nowhere but here."""

  def initialize_from_bucket(self) -> None:
    """Asks no server; TFDS's own also leaves a temporary folder behind at each call."""


def is_map(name: str) -> bool:
  """Whether a feature of a builder is a map of `bicross_jax.fields`."""
  return name in fields.FIELDS and fields.FIELDS[name].kind == "map"


def _content(value) -> bytes:
  return value.encode() if isinstance(value, str) else np.ascontiguousarray(value).tobytes()


def tensor(shape: tuple[int | None, ...], dtype) -> tfds.features.Tensor:
  """A feature stored as the array's plain bytes."""
  return tfds.features.Tensor(shape=shape, dtype=np.dtype(dtype).type, encoding="bytes")
