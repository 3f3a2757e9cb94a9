"""`frames`: a part of a data set of files, from any layout it comes in.

Files as they are published are slow to read (a spike stream takes 60 MB a frame as 0/1 arrays and
7.5 MB packed), so a packed copy is written once and training reads that one. Where the files lie is
the business of `data.layouts`.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import functools
import hashlib
import json
import os

import numpy as np
import tensorflow_datasets as tfds

from bicross_jax import errors
from bicross_jax.data.builders import base
from bicross_jax.data.layouts.frames import Frame, FrameSet
from bicross_jax.data.layouts.readers import Asked


@dataclasses.dataclass(eq=False)
class FramesConfig(tfds.core.BuilderConfig):
  """A part of a set; `name` follows from the set, `steps`, the fields and the files.

  Of the files names, sizes and times count.

  Attributes:
    dataset: the set.
    domain: of the set.
    part: of the set.
    found: what `FrameSet.recordings` returned.
    fields: whose files are read.
    steps: length of spike streams, a multiple of 8; of longer ones the first steps are used.
  """

  name: str = ""
  dataset: FrameSet | None = None
  domain: str = ""
  part: str = ""
  found: Sequence[tuple[Frame, ...]] = ()
  fields: tuple[str, ...] = ()
  steps: int = 128

  def __post_init__(self):
    content = [self.steps, self.fields, [len(frames) for frames in self.found]]
    for frame in (frame for frames in self.found for frame in frames):
      stats = [os.stat(frame.files[name]) for name in self.fields]
      content.append([frame.key, [(s.st_size, s.st_mtime_ns) for s in stats]])
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    self.description = f"{self.dataset.name} {self.domain} {self.part}"
    self.name = f"{self.dataset.name}-{self.domain}-{self.part}-t{self.steps}-{digest}"


class Frames(base.Builder):
  """Whole frames with the fields of their set. Sizes may differ from frame to frame."""

  VERSION = tfds.core.Version("1.0.0")

  def features(self):
    c = self.builder_config
    stored = {name: c.dataset.readers[name].stored(c.steps) for name in c.fields}
    return {
      "key": tfds.features.Text(),
      **{name: base.tensor(*how) for name, how in stored.items()},
    }

  def sizes(self):
    return {self.builder_config.part: sum(self.recordings(self.builder_config.part))}

  def recordings(self, part):
    del part  # there is one
    return [len(frames) for frames in self.builder_config.found]

  @functools.cached_property
  def _frames(self) -> list[Frame]:
    return [frame for frames in self.builder_config.found for frame in frames]

  def _read(self, frame):
    c = self.builder_config
    return read_frame(frame, c.dataset, c.fields, c.steps)

  def example_bytes(self):
    return sum(x.nbytes for x in self._read(self._frames[0]).values())

  def examples(self, part: str, start: int, stop: int) -> Iterator[dict]:
    for frame in self._frames[start:stop]:
      yield {"key": frame.key, **self._read(frame)}


def read_frame(
  frame: Frame, known: FrameSet, fields: Sequence[str], steps: int
) -> dict[str, np.ndarray]:
  """Reads the files of one frame of a set.

  Args:
    frame: which.
    known: the set.
    fields: of the set, in its order.
    steps: of spike streams.

  Returns:
    {field: array}, as the set's readers give it.

  Raises:
    errors.BadFileError: a file that cannot be read, or whose map is of another size than that of
      the first.
  """
  out: dict[str, np.ndarray] = {}
  first, size = "", None
  for name in fields:
    reader, path = known.readers[name], frame.files[name]
    out[name] = reader.read(Asked(path, size, steps, frame.side))
    if reader.stored(steps).shape[:2] != (None, None):
      continue
    shape = out[name].shape[:2]
    first, size = first or path, size or shape
    if shape != size:
      raise errors.BadFileError(
        path, f"its size is {shape[0]}x{shape[1]}", f"{size[0]}x{size[1]} like {first}"
      )
  return out
