"""How the squares are stored."""

import dataclasses
import math

import numpy as np
import tensorflow_datasets as tfds

from bicross_jax.data.builders import base
from tests.systems import toy_data


@dataclasses.dataclass(eq=False)
class SquaresConfig(tfds.core.BuilderConfig):
  """A domain, the size of frames, and sizes of the parts; `name` follows from them."""

  name: str = ""
  domain: str = "plain"
  frame: tuple[int, int] = (20, 40)
  train: int = 8
  validation: int = 4
  test: int = 4

  def __post_init__(self):
    h, w = self.frame
    self.description = f"{self.domain} {h}x{w}"
    sizes = f"n{self.train}.{self.validation}.{self.test}"
    self.name = f"{self.domain}-{h}x{w}-{sizes}-{toy_data.DIGEST}"


class Squares(base.Builder):
  """Windows of recordings, in order."""

  VERSION = tfds.core.Version("1.0.0")

  def features(self):
    one = toy_data.example("plain", self.builder_config.frame, "train", 0)
    maps = {name: base.tensor(np.shape(x), x.dtype) for name, x in one.items()}
    return {"key": tfds.features.Text(), **maps}

  def sizes(self):
    return {part: getattr(self.builder_config, part) for part in ("train", "validation", "test")}

  def recordings(self, part):
    size, each = self.sizes()[part], toy_data.WINDOWS
    return [min(each, size - start) for start in range(0, size, each)]

  def example_bytes(self):
    return 16 * math.prod(self.builder_config.frame)

  def examples(self, part, start, stop):
    c = self.builder_config
    for i in range(start, stop):
      recording, window = divmod(i, toy_data.WINDOWS)
      key = f"{c.domain}/{part}/{recording:03d}/{window}"
      yield {"key": key, **toy_data.example(c.domain, c.frame, part, i)}
