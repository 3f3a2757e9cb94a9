"""`world`: the synthetic world seen by colour, spike and event cameras."""

import collections
from collections.abc import Callable, Iterator
from concurrent import futures
import dataclasses
import functools
import hashlib
import json
import math
import zlib

import jax
import numpy as np
import tensorflow_datasets as tfds

from bicross_jax.data import depth_hints
from bicross_jax.data import world as fields
from bicross_jax.data.builders import base
from bicross_jax.data.dataset import PARTS
from bicross_jax.sim import domains, drive, world

AHEAD = 4  # examples that are being rendered, or wait to be written
_RENDERERS = 2  # threads: some of the work of a scene fills one core only
# Fields of the config, as they were before they were there.
_LATER = {"sensors": world.DEFAULT, "windows": 1, "bins": 1, "baseline": 0.0}


@dataclasses.dataclass(eq=False)
class WorldConfig(tfds.core.BuilderConfig):
  """One domain of the world at one size; `name` follows from the other fields.

  The name holds a hash of the world's version, the domain's parameters and every field here, so
  that a change of any of them is another data set on disk.

  Attributes:
    domain: a name in `sim.domains.DOMAINS`.
    height, width: of the images, in pixels.
    steps: length of a spike stream, a multiple of 8.
    train, validation, test: number of examples.
    keyframes: rendered instants that the stream's light is interpolated from.
    seed: of the scenes.
    sensors: of `data.world.SENSORS`, in that order.
    windows: examples in a row that see one scene, `data.world.rate` a second; 1: every example is
      a scene of its own.
    bins: of event counts.
    baseline: metres between the cameras; 0: those of the domain's rig.
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
  sensors: tuple[str, ...] = world.DEFAULT
  windows: int = 1
  bins: int = 1
  baseline: float = 0.0

  def __post_init__(self):
    content = {
      f.name: getattr(self, f.name)
      for f in dataclasses.fields(WorldConfig)
      if f.name in WorldConfig.__annotations__ and f.name not in ("name", *_LATER)
    }
    for name, plain in _LATER.items():  # sets that were built before there was a choice stay
      if getattr(self, name) != plain:
        content[name] = getattr(self, name)
    parameters = repr(fields.domain_of(self.domain, self.baseline))
    content = [world.VERSION, parameters, sorted(content.items())]
    if world.bins_of(self.sensors, self.bins):
      content.append([world.EVENT_WINDOW, repr(world.EVENT_SENSOR), world.event_frames(self.bins)])
    if fields.HINT in self.sensors:
      content.append([depth_hints.matchers(self.width), repr(depth_hints.Settings())])
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]
    self.description = f"{self.domain} {self.height}x{self.width}"
    self.name = (
      f"{self.domain}-{self.height}x{self.width}-t{self.steps}-k{self.keyframes}"
      f"-n{self.train}.{self.validation}.{self.test}-s{self.seed}-{digest}"
    )


class World(base.Builder):
  """Scenes of one domain: RGB (left and right), spikes, depth, labels, calibration, depth hints.

  Example i of a part is a function of (seed, domain, part, i) alone.
  """

  VERSION = tfds.core.Version("1.0.0")
  BUILDER_CONFIGS = [WorldConfig(domain=name) for name in domains.DOMAINS]

  def features(self):
    c = self.builder_config
    every = fields.stored(c.height, c.width, c.steps, c.bins)
    return {"key": tfds.features.Text(), **{name: base.tensor(*every[name]) for name in c.sensors}}

  def sizes(self):
    return {part: getattr(self.builder_config, part) for part in PARTS}

  def example_bytes(self):
    maps = [f for name, f in self.features().items() if base.is_map(name)]
    return sum(math.prod(f.shape) * np.dtype(f.np_dtype).itemsize for f in maps)

  def recordings(self, part):
    size, each = self.sizes()[part], self.builder_config.windows
    return [min(each, size - start) for start in range(0, size, each)]

  def examples(self, part: str, start: int, stop: int) -> Iterator[dict]:
    config = self.builder_config
    domain = fields.domain_of(config.domain, config.baseline)
    render = _renderer(
      domain,
      config.height,
      config.width,
      config.steps,
      config.keyframes,
      fields.rendered(config.sensors),
      config.windows,
      config.bins,
    )
    key = jax.random.key(config.seed)
    for word in (config.domain, part):
      key = jax.random.fold_in(key, zlib.crc32(word.encode()))

    def draw(i):
      return fields.completed(jax.device_get(render(key, i)), domain, config.sensors)

    with futures.ThreadPoolExecutor(_RENDERERS) as pool:
      pending = collections.deque()
      for i in range(start, stop):
        for ahead in range(i + len(pending), min(i + AHEAD, stop)):
          pending.append(pool.submit(draw, ahead))
        yield {"key": self._key(part, i), **pending.popleft().result()}

  def _key(self, part, i):
    scene, window = divmod(i, self.builder_config.windows)
    name = f"{self.builder_config.domain}/{part}/{scene:06d}"
    return name if self.builder_config.windows == 1 else f"{name}/{window:03d}"


@functools.lru_cache(maxsize=4)
def _renderer(
  domain: domains.Domain,
  height: int,
  width: int,
  steps: int,
  keyframes: int,
  sensors: tuple[str, ...],
  windows: int,
  bins: int,
) -> Callable[[jax.Array, int], dict[str, jax.Array]]:
  """The compiled (key, index) -> dict of the example's arrays; threads may share it.

  One at a time: on a CPU a batch of scenes takes half as long again, as it leaves the caches.
  """
  size = dict(height=height, width=width, keyframes=keyframes, steps=steps)

  def alone(key, index):
    scene, sensor = jax.random.split(jax.random.fold_in(key, index))
    seen = world.sample(scene, domain, bins=world.bins_of(sensors, bins), **size)
    return world.sense(sensor, seen, domain, steps=steps, sensors=sensors, bins=bins)

  def in_sequence(key, index):
    scene, window = index // windows, index % windows
    key = jax.random.fold_in(key, scene)
    time = window / fields.rate(sensors)
    return drive.frame(key, domain, window, time, sensors=sensors, bins=bins, **size)

  one = jax.jit(alone if windows == 1 else in_sequence)
  return one.lower(jax.random.key(0), 0).compile(_compiler_options())


def _compiler_options() -> dict[str, bool | int]:
  """Options of XLA: on CPUs wide vectors, and minima that need not look for NaN; the same pixels."""
  if jax.default_backend() != "cpu" or jax.config.read("jax_disable_most_optimizations"):
    return {}
  return {"xla_cpu_prefer_vector_width": 512, "xla_cpu_enable_fast_min_max": True}
