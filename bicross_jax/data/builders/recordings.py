"""`recordings`: a part of a data set of event cameras, from its recordings.

Published recordings are one long list of events, which takes minutes to cut into windows. Counts of
the events of each window are written once, beside the depth at its end, and training reads those.
"""

import collections
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os

import numpy as np
import tensorflow_datasets as tfds

from bicross_jax.data.builders import base
from bicross_jax.data.layouts.event_sets import EventSet
from bicross_jax.data.layouts.recordings import Opened, Settings, Take
from bicross_jax.ops import event_image

_THREADS = min(8, (os.cpu_count() or 2) + 1)  # they mostly wait for files and processes
AHEAD = 2 * _THREADS  # examples that are being made, or wait to be written
_MOST = 255  # events of a cell


@dataclasses.dataclass(eq=False)
class RecordingsConfig(tfds.core.BuilderConfig):
  """A part of a set; `name` follows from the set, the settings, the frames and the files.

  Of the files names, sizes and times count. Parts of two domains that are the same are one.

  Attributes:
    dataset: the set.
    part: of the set.
    takes: what `EventSet.takes` returned.
    settings: how examples are made.
  """

  name: str = ""
  dataset: EventSet | None = None
  part: str = ""
  takes: Sequence[Take] = ()
  settings: Settings | None = None

  def __post_init__(self):
    content = [list(self.settings)]
    for take in self.takes:
      own = [path for frame in take.frames for path in take.recording.frame_files(frame)]
      stats = [os.stat(path) for path in (*take.recording.files(self.settings), *own)]
      span = take.span if self.settings.binning == "legacy" else None
      content.append([take.recording.name, take.frames, span])
      if take.recording.variant:
        content.append(take.recording.variant)
      content.append([(s.st_size, s.st_mtime_ns) for s in stats])
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    s = self.settings
    self.description = f"{self.dataset.name} {self.part}"
    self.name = f"{self.dataset.name}-{self.part}-{s.binning}-b{s.bins}-c{s.cameras}-{digest}"


class Recordings(base.Builder):
  """Windows of events with the depth at their end and at their beginning.

  Counts above 255 are stored as 255. The metadata say how many there were ("saturated"), and how many
  windows have no event at all in one of the cameras ("empty").
  """

  VERSION = tfds.core.Version("1.0.0")
  shard_bytes = 64 << 20  # a build is to take less than a gigabyte of memory
  _held: tuple[Take, Opened, contextlib.ExitStack] | None = None  # the recording that is open

  def features(self):
    c = self.builder_config
    stored = c.dataset.stored(c.settings)
    return {
      "key": tfds.features.Text(),
      **{name: base.tensor(*how) for name, how in stored.items()},
    }

  def sizes(self):
    return {self.builder_config.part: sum(self.recordings(self.builder_config.part))}

  def recordings(self, part):
    del part  # there is one
    return self._runs

  @functools.cached_property
  def _runs(self) -> list[int]:
    c = self.builder_config
    return [length for take in c.takes for length in c.dataset.runs(take)]

  def example_bytes(self):
    maps = [f for name, f in self.features().items() if base.is_map(name)]
    return sum(math.prod(f.shape) * np.dtype(f.np_dtype).itemsize for f in maps)

  def examples(self, part: str, start: int, stop: int) -> Iterator[dict]:
    c, begin = self.builder_config, 0
    for take in c.takes:
      frames = take.frames[max(start - begin, 0) : max(stop - begin, 0)]
      begin += len(take.frames)
      if frames:
        with self._opened(take, frames[-1] == take.frames[-1]) as opened:
          for frame, example in _in_order(opened, c.settings, frames, c.dataset.before(take)):
            self._store_counts(example)
            yield {"key": f"{take.recording.name}/{frame:06d}", **example}
    if stop == sum(self.recordings(part)):
      self._tell()

  @contextlib.contextmanager
  def _opened(self, take: Take, last: bool) -> Iterator[Opened]:
    """An open recording, which stays open for the next shard unless this is its last one."""
    if self._held is None or self._held[0] is not take:
      stack, settings = contextlib.ExitStack(), self.builder_config.settings
      opened = stack.enter_context(take.recording.open(settings, take.frames, take.span))
      self._held = take, opened, stack
    _, opened, stack = self._held
    try:
      yield opened
    except BaseException:
      last = True
      raise
    finally:
      if last:
        self._held = None
        stack.close()

  def _store_counts(self, example: dict[str, np.ndarray]) -> None:
    """Makes of the counts of an example what is stored, and keeps in mind what is odd about them."""
    if "events" not in example:
      return
    counts, told = example.pop("events"), self.info.metadata
    fields = self.builder_config.settings.fields
    seen = counts.any((0, 1, 2)).reshape(-1, 2).any(1)  # by camera
    told["empty"] = told.get("empty", 0) + int(not seen.all())
    if "event_image" in fields:
      example["event_image"] = event_image.encode(counts[..., :2].sum(2))
    if "events" in fields:
      example["events"] = np.minimum(counts, _MOST).astype(np.uint8)
      told["saturated"] = told.get("saturated", 0) + int((counts > _MOST).sum())

  def _tell(self) -> None:
    told, name = self.info.metadata, self.builder_config.description
    if told.get("empty"):
      print(f"{name}: {told['empty']} windows have no event of a camera", flush=True)
    if told.get("saturated"):
      print(f"{name}: {told['saturated']} counts above {_MOST} are stored as that", flush=True)


def _in_order(
  opened: Opened, settings: Settings, frames: Sequence[int], before: Mapping[int, int]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
  """(frame, its fields, with counts for event images, too) in order; threads make some examples ahead, and each depth map once."""
  maps: dict[int, futures.Future] = {}
  pending: collections.deque = collections.deque()

  with futures.ThreadPoolExecutor(_THREADS) as pool:

    def depth(frame):
      if frame not in maps:
        maps[frame] = pool.submit(opened.depth, frame)
      return maps[frame]

    def begin(frame):
      found = {}
      if "depth_before" in settings.fields and frame in before:
        found["depth_before"] = depth(before[frame])
      if "depth" in settings.fields:
        found["depth"] = depth(frame)
      for name in {"label", "rgb"} & set(settings.fields):
        found[name] = pool.submit(getattr(opened, name), frame)
      if {"events", "event_image"} & set(settings.fields):
        found["events"] = pool.submit(opened.counts, frame)
      return found

    for i, frame in enumerate(frames):
      pending.extend(begin(ahead) for ahead in frames[i + len(pending) : i + AHEAD])
      example = {name: future.result() for name, future in pending.popleft().items()}
      for old in [number for number in maps if number < frame]:
        del maps[old]
      if "depth_before" in settings.fields and frame not in before:
        example["depth_before"] = np.zeros(opened.size, np.float32)
      yield frame, example | {n: x for n, x in opened.constants.items() if n in settings.fields}
