"""What all builders share: examples in a fixed order, hashed, in shards of bounded size."""

from collections.abc import Iterator
import functools
import hashlib
import sys

import numpy as np
import tensorflow_datasets as tfds
import tqdm

SHARD_BYTES = 512 << 20  # TFDS holds the examples of one shard in memory while it writes them


class Builder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """A TFDS builder whose example i of a part is always the same one.

  Subclasses say `features`, `sizes`, `example_bytes` and `examples`. The part's examples are
  written in order (nothing is shuffled: the pipeline does that by index), and a SHA-256 of their
  content is kept in the set's metadata under "sha256".
  """

  url_infos = None  # nothing is downloaded

  def features(self) -> dict[str, tfds.features.FeatureConnector]:
    """The feature of every field."""
    raise NotImplementedError

  def sizes(self) -> dict[str, int]:
    """Number of examples by part."""
    raise NotImplementedError

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
    return tfds.core.DatasetInfo(
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
    step = max(1, SHARD_BYTES // self.example_bytes())
    digests = {part: hashlib.sha256() for part in sizes}

    def shard(part, start, stop):
      for i, example in enumerate(self.examples(part, start, stop), start):
        for name in sorted(example):
          digests[part].update(_content(example[name]))
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


def _content(value) -> bytes:
  return value.encode() if isinstance(value, str) else np.ascontiguousarray(value).tobytes()


def tensor(shape: tuple[int | None, ...], dtype) -> tfds.features.Tensor:
  """A feature stored as the array's plain bytes."""
  return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
