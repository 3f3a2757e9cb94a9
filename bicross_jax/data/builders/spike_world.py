"""`spike_world`: the synthetic world seen by a colour stereo pair and a spike camera."""

import collections
from collections.abc import Iterator
import dataclasses
import functools
import hashlib
import json
import zlib

import jax
import numpy as np
import tensorflow_datasets as tfds

from bicross_jax import errors
from bicross_jax.data.builders import base
from bicross_jax.sim import domains, spike_camera, world

AHEAD = 4  # examples that are being rendered while one is written
PARTS = ("train", "validation", "test")


@dataclasses.dataclass(eq=False)
class SpikeWorldConfig(tfds.core.BuilderConfig):
  """One domain of the world at one size; `name` follows from the other fields.

  The name holds a hash of the world's version, the domain's parameters and every field here, so
  that a change of any of them is another data set on disk.

  Attributes:
    domain: a name in `sim.domains.DOMAINS`.
    height, width: of the images, in pixels.
    steps: length of a spike stream, a multiple of 8.
    train, validation, test: number of examples; each is a scene of its own.
    keyframes: rendered instants that the stream's light is interpolated from.
    seed: of the scenes.
  """

  name: str = ""
  domain: str = "clear"
  height: int = 96
  width: int = 160
  steps: int = 128
  train: int = 500
  validation: int = 100
  test: int = 100
  keyframes: int = 3
  seed: int = 0

  def __post_init__(self):
    if self.domain not in domains.DOMAINS:
      raise errors.UserError(
        f"unknown domain {self.domain!r} of spike_world: choose from "
        f"{', '.join(sorted(domains.DOMAINS))}"
      )
    if self.steps % 8 or self.steps < 8:
      raise errors.UserError(f"a spike stream has a multiple of 8 steps, not {self.steps}")
    for part in PARTS:
      if getattr(self, part) < 1:
        raise errors.UserError(f"spike_world needs at least 1 example to {part}")
    fields = {
      f.name: getattr(self, f.name)
      for f in dataclasses.fields(SpikeWorldConfig)
      if f.name in SpikeWorldConfig.__annotations__ and f.name != "name"
    }
    content = [world.VERSION, repr(domains.DOMAINS[self.domain]), sorted(fields.items())]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]
    self.description = f"{self.domain} {self.height}x{self.width}"
    self.name = (
      f"{self.domain}-{self.height}x{self.width}-t{self.steps}-k{self.keyframes}"
      f"-n{self.train}.{self.validation}.{self.test}-s{self.seed}-{digest}"
    )


class SpikeWorld(base.Builder):
  """Scenes of one domain: RGB (left and right), spikes, depth, labels, calibration.

  Example i of a part is a function of (seed, domain, part, i) alone.
  """

  VERSION = tfds.core.Version("1.0.0")
  BUILDER_CONFIGS = [SpikeWorldConfig(domain=name) for name in domains.DOMAINS]

  def features(self):
    h, w, steps = self.builder_config.height, self.builder_config.width, self.builder_config.steps
    return {
      "key": tfds.features.Text(),
      "rgb": base.tensor((h, w, 3), np.uint8),
      "rgb_right": base.tensor((h, w, 3), np.uint8),
      "spike": base.tensor((h, w, steps // 8), np.uint8),
      "depth": base.tensor((h, w), np.float32),
      "label": base.tensor((h, w), np.uint8),
      "intrinsics": base.tensor((3, 3), np.float32),
      "baseline": base.tensor((), np.float32),
    }

  def sizes(self):
    return {part: getattr(self.builder_config, part) for part in PARTS}

  def example_bytes(self):
    c = self.builder_config
    return c.height * c.width * (3 + 3 + c.steps // 8 + 4 + 1)

  def examples(self, part: str, start: int, stop: int) -> Iterator[dict]:
    config = self.builder_config
    render = _renderer(config.domain, config.height, config.width, config.steps, config.keyframes)
    key = jax.random.key(config.seed)
    for word in (config.domain, part):
      key = jax.random.fold_in(key, zlib.crc32(word.encode()))
    pending = collections.deque(render(key, i) for i in range(start, min(start + AHEAD, stop)))
    for i in range(start, stop):
      if i + AHEAD < stop:
        pending.append(render(key, i + AHEAD))
      yield {"key": f"{config.domain}/{part}/{i:06d}", **jax.device_get(pending.popleft())}


@functools.lru_cache(maxsize=4)
def _renderer(domain: str, height: int, width: int, steps: int, keyframes: int):
  """The jitted (key, index) -> dict of the example's arrays.

  One at a time: on a CPU a batch of scenes takes half as long again, as it leaves the caches.
  """
  parameters = domains.DOMAINS[domain]

  def example(key, index):
    scene, sensor = jax.random.split(jax.random.fold_in(key, index))
    sample = world.sample(
      scene, parameters, height=height, width=width, keyframes=keyframes, steps=steps
    )
    light = spike_camera.luminance(sample.radiance)
    return {
      "rgb": sample.rgb,
      "rgb_right": sample.rgb_right,
      "spike": spike_camera.simulate(sensor, light, steps=steps, sensor=parameters.sensor),
      "depth": sample.depth,
      "label": sample.label,
      "intrinsics": sample.intrinsics,
      "baseline": sample.baseline,
    }

  return jax.jit(example)
