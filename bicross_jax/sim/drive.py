"""A camera that drives through scenes: consecutive frames with spikes and depth."""

from collections.abc import Iterator
import functools

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.sim import camera, domains, scene, shapes, world
from bicross_jax.sim.shapes import Vec

SPEED = 4.0  # metres a second along a street: no car in the same lane is slower
LENGTH = 8.0  # seconds in one scene; streets may end after 42 m
_LOOK = 0.35  # radians to either side in a room
_PERIOD = 6.0  # seconds from side to side and back


def frames(
  key,
  domain: domains.Domain,
  count: int,
  *,
  height: int,
  width: int,
  steps: int = 128,
  fps: float = 10.0,
  sensors: tuple[str, ...] = world.DEFAULT,
  bins: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
  """Frames of a drive along a street, or of a slow look around in a room.

  The camera follows its lane at `SPEED` while cars and people keep to their own ways; nothing
  stops for anything. After `LENGTH` seconds the next scene begins. Each frame's spikes are those
  of the `steps` steps around it, as in an example of the world.

  Args:
    key: of the scenes and of all noise.
    domain: one of `domains.DOMAINS`.
    count: number of frames.
    height, width: of the pictures.
    steps: of each spike stream.
    fps: frames a second.
    sensors: of `world.SENSORS`.
    bins: of event counts.

  Yields:
    {sensor: array}, as `world.sense` gives them.
  """
  render = _renderer(domain.name, height, width, steps, sensors, bins)
  each = _frames_of_a_scene(fps)
  for i in range(count):
    yield jax.device_get(render(jax.random.fold_in(key, i // each), i % each, i % each / fps))


def begins(number: int, fps: float) -> bool:
  """Whether a new scene begins with a frame of a drive."""
  return number % _frames_of_a_scene(fps) == 0


def _frames_of_a_scene(fps: float) -> int:
  return max(1, round(LENGTH * fps))


def along(start: scene.Scene, motion: camera.Motion, time) -> camera.Motion:
  """The camera of a scene `time` seconds after it was where `motion` has it."""
  if start.road is None:
    angle = 2 * jnp.pi * time / _PERIOD
    yaw, rate = _LOOK * jnp.sin(angle), _LOOK * jnp.cos(angle) * 2 * jnp.pi / _PERIOD
    return motion._replace(
      angles=motion.angles.at[0].add(yaw),
      velocity=Vec(*[jnp.zeros(())] * 3),
      rates=jnp.zeros(3).at[0].set(rate),
    )
  z, curve = SPEED * time, start.road.curve
  return motion._replace(
    position=Vec(curve * z * z, motion.position.y, z),
    angles=motion.angles.at[0].set(jnp.arctan(2 * curve * z)),
    velocity=Vec(2 * curve * z * SPEED, jnp.zeros(()), jnp.float32(SPEED)),
    rates=jnp.zeros(3),
  )


def frame(
  key,
  domain: domains.Domain,
  number,
  time,
  *,
  height: int,
  width: int,
  steps: int = 128,
  keyframes: int = 3,
  sensors: tuple[str, ...] = world.DEFAULT,
  bins: int = 1,
) -> dict[str, jnp.ndarray]:
  """One frame of a drive through one scene; to be jitted with all but key, number and time static.

  Args:
    key: of the scene and of all noise in it.
    domain: one of `domains.DOMAINS`.
    number: int32[], of the frame in its scene; its noise follows from it.
    time: float32[], seconds since the scene began.
    height, width: of the pictures.
    steps: of the spike stream.
    keyframes: as in `world.sample`.
    sensors: of `world.SENSORS`.
    bins: of event counts.

  Returns:
    {sensor: array}, as `world.sense` gives them.
  """
  start, motion = world.draw(key, domain)
  now = start._replace(solids=shapes.moved(start.solids, time))
  motion = along(start, motion, time)
  look, sensor = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, 3), number))
  seen = world.see(
    look,
    now,
    motion,
    domain,
    height=height,
    width=width,
    keyframes=keyframes,
    steps=steps,
    bins=world.bins_of(sensors, bins),
    rain_start=(motion.position.z, time),
  )
  return world.sense(sensor, seen, domain, steps=steps, sensors=sensors, bins=bins)


@functools.lru_cache(maxsize=2)
def _renderer(name: str, height: int, width: int, steps: int, sensors: tuple[str, ...], bins: int):
  """The jitted (key, number, time) -> a frame's arrays."""

  def one(key, number, time):
    return frame(
      key,
      domains.DOMAINS[name],
      number,
      time,
      height=height,
      width=width,
      steps=steps,
      sensors=sensors,
      bins=bins,
    )

  return jax.jit(one)
