"""`spike_frames`: frames of a real data set with their spike streams, from any layout it comes in.

A stream takes 60 MB a frame as 0/1 arrays and 7.5 MB packed, so a packed copy is written once and
training reads that one. Where the files lie is `data.layouts`' business.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import hashlib
import json
import os

import numpy as np
import tensorflow_datasets as tfds

from bicross_jax import errors
from bicross_jax.data import layouts
from bicross_jax.data.builders import base
from bicross_jax.data.formats import image, spikes
from bicross_jax.data.layouts.frames import Frame


@dataclasses.dataclass(eq=False)
class SpikeFramesConfig(tfds.core.BuilderConfig):
  """Frames of a set; `name` follows from the set, `steps` and the files (names, sizes, times).

  Attributes:
    dataset: a key of `layouts.SETS`.
    domain: of the set.
    frames: what `layouts.find_frames` returned.
    steps: length of the streams, a multiple of 8; of longer ones the first steps are used.
  """

  name: str = ""
  dataset: str = ""
  domain: str = ""
  frames: Mapping[str, tuple[Frame, ...]] = dataclasses.field(default_factory=dict)
  steps: int = 128

  def __post_init__(self):
    if self.steps % 8 or self.steps < 8:
      raise errors.UserError(f"a spike stream has a multiple of 8 steps, not {self.steps}")
    content = [self.steps]
    for part, frames in self.frames.items():
      for frame in frames:
        stats = [os.stat(path) for path in frame[1:]]
        content.append([part, frame.key, [(s.st_size, s.st_mtime_ns) for s in stats]])
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    self.description = f"{self.dataset} {self.domain}"
    self.name = f"{self.dataset}-{self.domain}-t{self.steps}-{digest}"


class SpikeFrames(base.Builder):
  """Whole frames: RGB, packed spikes, depth. Sizes may differ from frame to frame."""

  VERSION = tfds.core.Version("1.0.0")

  def features(self):
    return {
      "key": tfds.features.Text(),
      "rgb": base.tensor((None, None, 3), np.uint8),
      "spike": base.tensor((None, None, self.builder_config.steps // 8), np.uint8),
      "depth": base.tensor((None, None), np.float32),
    }

  def sizes(self):
    return {part: len(frames) for part, frames in self.builder_config.frames.items()}

  def example_bytes(self):
    height, width = image.size(self.builder_config.frames["train"][0].rgb)
    return height * width * (3 + self.builder_config.steps // 8 + 4)

  def examples(self, part: str, start: int, stop: int) -> Iterator[dict]:
    known = layouts.SETS[self.builder_config.dataset]
    for frame in self.builder_config.frames[part][start:stop]:
      example = read_frame(frame, known, self.builder_config.steps)
      smallest = self.info.metadata.setdefault("smallest", list(example["depth"].shape))
      smallest[:] = np.minimum(smallest, example["depth"].shape).tolist()
      yield {"key": frame.key, **example}


def read_frame(frame: Frame, known: layouts.frames.DataSet, steps: int) -> dict[str, np.ndarray]:
  """Reads the files of one frame of a set.

  Returns:
    rgb uint8[H, W, 3], spike uint8[H, W, steps/8] (packed along time), depth float32[H, W] metres.

  Raises:
    errors.BadFileError: a file that cannot be read, is of another size than the image, or a
      stream that is too short.
  """
  rgb = image.read_rgb(frame.rgb)
  size = rgb.shape[:2]
  depth = known.read_depth(frame.depth, size)
  spike = spikes.read_npy(frame.spike, steps=steps, naive=known.recorded)
  for path, shape in ((frame.depth, depth.shape), (frame.spike, spike.shape[1:])):
    if shape != size:
      raise errors.BadFileError(
        path, f"its size is {shape[0]}x{shape[1]}", f"{size[0]}x{size[1]} like {frame.rgb}"
      )
  return {"rgb": rgb, "spike": spikes.pack_time(spike), "depth": depth}
