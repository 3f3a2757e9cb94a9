"""One example of the synthetic world: a scene seen once, for the length of a spike window.

Events are those of the `EVENT_WINDOW` before the middle of that window, where depth is taken.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from bicross_jax.ops import event_image
from bicross_jax.sim import (
  camera,
  domains,
  event_camera,
  render,
  room,
  scene,
  shapes,
  spike_camera,
  street,
)

VERSION = "1"

# The sensors that are read where none are chosen, and all.
DEFAULT = ("rgb", "rgb_right", "spike", "depth", "label", "intrinsics", "baseline")
SENSORS = (*DEFAULT, "events", "depth_before", "event_image")
COUNTED = ("events", "event_image")  # those that are made of event counts
EVENT_WINDOW = 0.05  # seconds
EVENT_SENSOR = event_camera.Sensor()  # of the left camera; the right one has a pattern of its own
_EVENT_FRAMES = 10  # intervals of the window that are rendered, at least

_PLACES = {"street": street.street, "room": room.room}


class Sample(NamedTuple):
  """What the sensors of the rig see; `rgb`, `depth` and `label` are at the window's middle.

  Attributes:
    radiance: float32[K, H, W, 3], linear light in [0, 1] (1 is full well) at K instants equally
      spaced from the window's start to its end.
    rgb, rgb_right: uint8[H, W, 3], sRGB, of the left camera and its stereo partner.
    depth: float32[H, W], metres along the optical axis, exact at the pixels' centres; 0 for sky
      and beyond render.FAR_LIMIT.
    label: uint8[H, W], EvDistill's classes, 255 = ignore.
    intrinsics: float32[3, 3], pixels, of both cameras.
    baseline: float32[], metres; the partner is to the right.
    event_light: float32[2, K, H, W], luminance that the left and the right camera see at K equally
      spaced instants of the event window; None where it is not asked for.
    depth_before: as `depth`, at the begin of the event window; None as `event_light`.
  """

  radiance: jnp.ndarray
  rgb: jnp.ndarray
  rgb_right: jnp.ndarray
  depth: jnp.ndarray
  label: jnp.ndarray
  intrinsics: jnp.ndarray
  baseline: jnp.ndarray
  event_light: jnp.ndarray | None = None
  depth_before: jnp.ndarray | None = None


def draw(key, domain: domains.Domain) -> tuple[scene.Scene, camera.Motion]:
  """The scene and the camera's motion of one key."""
  world = _PLACES[domain.place](jax.random.fold_in(key, 0), domain)
  motion = camera.draw(scene.Draws(jax.random.fold_in(key, 1), 32), domain.rig)
  return world, motion


def photograph(key, light, sensor: domains.RGBSensor):
  """An sRGB picture with shot and read noise: float32[H, W, 3] linear -> uint8[H, W, 3]."""
  signal = jnp.clip(sensor.gain * light, 0.0, 1.0)
  spread = jnp.sqrt(signal / sensor.electrons + sensor.read_noise**2)
  noisy = jnp.clip(signal + spread * jax.random.normal(key, light.shape), 0.0, 1.0)
  return jnp.round(255 * spike_camera.linear_to_srgb(noisy)).astype(jnp.uint8)


def instants(keyframes: int, steps: int):
  """Times of the keyframes, seconds from the window's middle: float32[K]."""
  half = 0.5 * steps / spike_camera.READOUT_RATE
  return jnp.linspace(-half, half, keyframes)


def bins_of(sensors: tuple[str, ...], bins: int) -> int:
  """What `sample` and `see` take as bins: 0 where no sensor asks for events."""
  return bins if {*COUNTED, "depth_before"} & set(sensors) else 0


def event_frames(bins: int) -> int:
  """How many frames of the event window are rendered, so that each bin has whole intervals."""
  return -(-_EVENT_FRAMES // bins) * bins + 1


def sample(
  key,
  domain: domains.Domain,
  *,
  height: int,
  width: int,
  keyframes: int = 3,
  steps: int = 128,
  bins: int = 0,
) -> Sample:
  """Draws a scene and renders it.

  A function of the key alone; jit it with everything else static, map it over keys (on a CPU one
  after the other, which keeps to the caches). Three keyframes are enough: their interpolation
  errs by some 4e-4 of full well on average, a thirtieth of what one spike in 128 steps stands for.

  Args:
    key: PRNG key of the example.
    domain: one of `domains.DOMAINS`, static.
    height, width: of the images.
    keyframes: K, odd, so that the window's middle is one of them.
    steps: of the spike stream, which fixes the window's length.
    bins: of event counts; 0: no events are asked for.
  """
  world, motion = draw(key, domain)
  size = dict(height=height, width=width)
  return see(key, world, motion, domain, keyframes=keyframes, steps=steps, bins=bins, **size)


def see(
  key,
  world: scene.Scene,
  motion: camera.Motion,
  domain: domains.Domain,
  *,
  height: int,
  width: int,
  keyframes: int = 3,
  steps: int = 128,
  bins: int = 0,
  rain_start=(0.0, 0.0),
) -> Sample:
  """Renders a scene as `sample` does; of the key only the noise of the pictures is drawn.

  Args:
    key: PRNG key.
    world: the scene at the window's middle.
    motion: the camera at that moment and how it moves.
    domain: what the scene was drawn from, static.
    height, width, keyframes, steps, bins: as in `sample`.
    rain_start: as in `render.view`.
  """
  if keyframes < 1 or keyframes % 2 == 0:
    raise ValueError(f"the number of keyframes is odd, not {keyframes}")
  size = dict(height=height, width=width)
  matrix = camera.intrinsics(domain.rig, height, width)
  baseline = jnp.float32(domain.rig.baseline)

  def look(args):
    time, shift = args
    pose = camera.beside(camera.pose(motion, time), shift)
    return render.view(
      world,
      pose,
      matrix,
      time=time,
      wetness=domain.weather.wetness,
      rain=domain.weather.rain,
      rain_start=rain_start,
      **size,
    )

  times = instants(keyframes, steps) if keyframes > 1 else jnp.zeros(1)
  times = jnp.concatenate([times, jnp.zeros(1)])
  shifts = jnp.zeros(keyframes + 1).at[-1].set(baseline)
  images = jax.lax.map(look, (times, shifts))
  depth, label = render.depth_and_label(world, camera.pose(motion, 0.0), matrix, **size)
  event_light = depth_before = None
  if bins:
    frames = event_frames(bins)
    moments = jnp.linspace(-EVENT_WINDOW, 0.0, frames)
    shifts = jnp.repeat(jnp.array([0.0, baseline]), frames)
    light = lambda args: spike_camera.luminance(look(args))
    event_light = jax.lax.map(light, (jnp.tile(moments, 2), shifts))  # compiled once for both
    event_light = event_light.reshape(2, frames, height, width)
    before = world._replace(solids=shapes.moved(world.solids, -EVENT_WINDOW))
    depth_before, _ = render.depth_and_label(
      before, camera.pose(motion, -EVENT_WINDOW), matrix, **size
    )
  left, right = jax.random.split(jax.random.fold_in(key, 2))
  return Sample(
    radiance=jnp.clip(images[:-1], 0.0, 1.0),
    rgb=photograph(left, images[keyframes // 2], domain.rgb),
    rgb_right=photograph(right, images[-1], domain.rgb),
    depth=depth,
    label=label,
    intrinsics=matrix,
    baseline=baseline,
    event_light=event_light,
    depth_before=depth_before,
  )


def sense(
  key,
  seen: Sample,
  domain: domains.Domain,
  *,
  steps: int,
  sensors: tuple[str, ...] = DEFAULT,
  bins: int = 1,
) -> dict[str, jnp.ndarray]:
  """What some sensors say of a sample, as fields of a batch.

  Args:
    key: of the noise of spike and event cameras.
    seen: the sample.
    domain: what it was drawn from, static.
    steps: of the spike stream.
    sensors: of `SENSORS`.
    bins: of event counts.

  Returns:
    {sensor: array}: the arrays of the sample of that name, `spike` uint8[H, W, steps/8], `events`
    uint8[H, W, bins, 4]: L_ON, L_OFF, R_ON, R_OFF, `event_image` uint8[H, W, 2] of the left camera's.
  """

  def counted(side):
    """Counts of the left (0) or the right (1) event camera."""
    keys = jax.random.split(jax.random.fold_in(key, 4))
    sensor = EVENT_SENSOR._replace(pattern_seed=EVENT_SENSOR.pattern_seed + side)
    return event_camera.counts(keys[side], seen.event_light[side], EVENT_WINDOW, bins, sensor)

  left = counted(0) if set(COUNTED) & set(sensors) else None

  def one(name):
    if name == "events":
      return jnp.concatenate([left, counted(1)], axis=-1)
    if name == "event_image":
      return event_image.encode(left.sum(2))
    if name != "spike":
      return getattr(seen, name)
    light = spike_camera.luminance(seen.radiance)
    return spike_camera.simulate(key, light, steps=steps, sensor=domain.sensor)

  return {name: one(name) for name in sensors}
