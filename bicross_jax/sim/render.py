"""Light, sky and air: from a scene and a camera to an image in linear light."""

import math

import jax
import jax.numpy as jnp

from bicross_jax.sim import camera, material, scene, shapes, surface, texture
from bicross_jax.sim.shapes import Vec

SAMPLES = 2  # rays along each side of a pixel
FAR_LIMIT = 100.0  # metres; depth beyond it counts as unknown
_FOOTPRINT = 0.75  # of a pixel; averaging the samples adds the rest of the filter
_BAND = 24  # rows rendered at a time, few enough for their planes to stay in the cache
_SHADOW_OFFSET = 0.02  # metres along the normal
_FALL = 8.0  # metres a second, of rain
# Curtains of rain: distance ahead, width of a column of drops, distance between drops, metres.
_CURTAINS = ((1.5, 0.12, 0.5), (3.0, 0.2, 0.7), (6.0, 0.35, 1.0))


def sky(world: scene.Scene, d: Vec) -> Vec:
  """Radiance of the sky along directions."""
  light = world.light
  up = jnp.clip(-d.y / shapes.length(d), 0.0, 1.0)
  height = jnp.sqrt(up)
  colour = [h + height * (z - h) for h, z in zip(light.horizon, light.zenith)]
  spread = 1 / (up * shapes.length(d) + 0.15)
  cover = texture.noise(d.x * spread, d.z * spread, 0.9, 0.02 * spread, light.seed)
  cover = light.clouds * jnp.clip(2.5 * cover + 0.2, 0, 1) * jnp.clip(6 * up, 0, 1)
  height, cover = shapes.once((height, cover), light.exposure)
  return Vec(*(c + cover * (1.08 * h - c) for c, h in zip(colour, light.horizon)))


def _lit(world: scene.Scene, hit: surface.Hit, eye: Vec, forward: Vec, shadows: bool) -> Vec:
  """Irradiance of the surfaces."""
  light = world.light
  up = -hit.normal.y
  ambient = light.ambient * (0.62 + 0.38 * up)
  if world.hall is None:
    foot = jnp.clip(hit.half.y - hit.local.y, 0.0, 0.8) / 0.8
    ambient = ambient * jnp.where(hit.ground, 1.0, 0.6 + 0.4 * foot)
  else:  # light comes back from all walls
    ambient = light.ambient * (0.85 + 0.15 * up)
  tint = [0.35 * z + 0.65 * h for z, h in zip(light.zenith, light.horizon)]
  scale = 1 / jnp.maximum(sum(tint) / 3, 1e-6)
  ambient = shapes.once(ambient, light.exposure)
  total = Vec(*(ambient * (0.5 + 0.5 * c * scale) for c in tint))

  towards = Vec(*(p - x for p, x in zip(light.position, hit.point)))
  squared = shapes.dot(towards, towards)
  cosine = jnp.maximum(shapes.dot(hit.normal, towards) * jax.lax.rsqrt(squared), 0.0)
  direct = light.strength * cosine / (1 + light.near * (squared - 0.5))
  if shadows:
    lifted = hit.point + hit.normal * _SHADOW_OFFSET
    direct = jnp.where(shapes.blocked(world.solids, lifted, towards), 0.0, direct)
  direct = shapes.once(direct, light.exposure)
  total = Vec(*(e + direct * c for e, c in zip(total, light.colour)))

  if light.headlights:
    for x, y, z, power in light.lamps:
      way = Vec(x - hit.point.x, y - hit.point.y, z - hit.point.z)
      squared = shapes.dot(way, way)
      cosine = jnp.maximum(shapes.dot(hit.normal, way) * jax.lax.rsqrt(squared), 0.0)
      total = Vec(*(e + power * cosine / (squared + 0.5) * c for e, c in zip(total, light.colour)))
    bumper = Vec(eye.x, 0.35 * eye.y, eye.z)
    way = Vec(bumper.x - hit.point.x, bumper.y - hit.point.y, bumper.z - hit.point.z)
    squared = shapes.dot(way, way)
    inverse = jax.lax.rsqrt(squared)
    cosine = jnp.maximum(shapes.dot(hit.normal, way) * inverse, 0.0)
    ahead = -(way.x * forward.x + way.z * forward.z) * inverse
    spot = jnp.clip((ahead - 0.72) / 0.25, 0, 1) * jnp.clip(1.15 - 6 * way.y * inverse, 0.12, 1.0)
    beam = light.headlights * spot * cosine / (squared + 40.0)
    total = Vec(*(e + beam * c for e, c in zip(total, (1.0, 0.97, 0.9))))
  return total


def _seen(world, origin: Vec, d: Vec, steps, eye: Vec, forward: Vec, shadows: bool, inside=()):
  """Radiance along rays through air, and what they hit: (Vec, Hit)."""
  hit = surface.hit(world, origin, d, *steps, inside)
  albedo, emitted = material.appearance(world, hit)
  light = _lit(world, hit, eye, forward, shadows)
  colour = Vec(*(a * e + g for a, e, g in zip(albedo, light, emitted)))
  if world.hall is not None:
    return colour, hit
  clear = jnp.exp(-world.light.extinction * hit.t * shapes.length(d))
  clear = shapes.once(clear, world.light.exposure)
  behind = sky(world, d)
  colour = Vec(
    *(
      jnp.where(hit.sky, s, h + clear * (c - h))
      for c, s, h in zip(colour, behind, world.light.horizon)
    )
  )
  return colour, hit


def _wet(world, eye: camera.Pose, d: Vec, steps, wetness: float) -> Vec:
  """What wet ground mirrors towards the camera, already weighted: Vec of float32[H, W]."""
  reach = jnp.where(d.y > 1e-4, -eye.position.y / jnp.maximum(d.y, 1e-4), 1.0)
  point = eye.position + d * jnp.minimum(reach, 1e3)
  mirrored, _ = _seen(
    world,
    point._replace(y=jnp.full_like(d.y, -1e-3)),
    d._replace(y=-jnp.abs(d.y)),
    steps,
    eye.position,
    eye.forward,
    shadows=False,
  )
  cosine = jnp.abs(d.y) / shapes.length(d)
  puddles = texture.noise(point.x, point.z, 0.35, reach * reach * 0.004, world.light.seed)
  share = wetness * (0.04 + 0.6 * (1 - cosine) ** 5) * jnp.clip(0.7 + 1.2 * puddles, 0.15, 1.0)
  return Vec(*(share * c for c in mirrored))


def _rain(world, pose: camera.Pose, d: Vec, t, time, opacity: float, start):
  """Cover of falling rain before the surfaces: float32[...].

  Drops fall in three upright planes across the street (`_CURTAINS`), so that a stereo partner sees
  them displaced as their distance says; a streak is as long as a drop falls in an exposure.
  """
  cover = 0.0
  for layer, (distance, width, reach) in enumerate(_CURTAINS):
    s = (distance + start[0] - pose.position.z) / d.z
    x, y = pose.position.x + s * d.x, pose.position.y + s * d.y - _FALL * (time + start[1])
    i = jnp.floor(x / width)
    y = y + 7.3 * texture.random(i, i, world.light.seed + layer)
    j = jnp.floor(y / reach)
    centre = 0.2 + 0.6 * texture.random(i, j, world.light.seed + 11 + layer)
    length_ = 0.15 + 0.2 * texture.random(i, j, world.light.seed + 23 + layer)
    across = jnp.abs(x / width - i - centre) * width
    along = y / reach - j
    thick = jnp.maximum(0.004, 0.005 * distance)
    drop = jnp.clip(1 - across / thick, 0, 1) * jnp.clip(
      4 * (1 - jnp.abs(along - 0.5) / length_), 0, 1
    )
    drop = drop * jnp.where((s > 0) & (s < t), 1.0, 0.0)
    cover = cover + opacity * drop
  return jnp.minimum(cover, 1.0)


def view(
  world: scene.Scene,
  pose: camera.Pose,
  matrix,
  *,
  height: int,
  width: int,
  time=0.0,
  wetness: float = 0.0,
  rain: float = 0.0,
  rain_start=(0.0, 0.0),
):
  """Renders an image.

  Args:
    world: the scene at its middle instant.
    pose: the camera.
    matrix: float32[3, 3] intrinsics.
    height, width: of the image.
    time: seconds after the middle, where the solids and the rain are then.
    wetness, rain: of the weather; 0 switches either off.
    rain_start: metres along z from which the rain's planes are counted, and seconds that it has
      been falling at the middle.

  Returns:
    float32[height, width, 3], linear light, 1 at full well, not clipped.
  """
  world = world._replace(solids=shapes.moved(world.solids, time))
  steps = (pose.right * (_FOOTPRINT / matrix[0, 0]), pose.down * (_FOOTPRINT / matrix[1, 1]))

  def band(top):
    """Some rows of the image: float32[_BAND, width, 3]."""
    shifted = matrix.at[1, 2].add(-top)
    d = camera.rays(pose, shifted, rows, width, SAMPLES)
    inside = camera.sides(pose, shifted, rows, width)
    colour, hit = _seen(
      world, pose.position, d, steps, pose.position, pose.forward, shadows=True, inside=inside
    )
    if wetness:
      centre = camera.rays(pose, shifted, rows, width, 1)
      mirror = _wet(world, pose, centre, steps, wetness)
      dim = jnp.where(hit.ground, 1 - 0.45 * wetness, 1.0)
      ground = jnp.where(hit.ground, jnp.exp(-world.light.extinction * hit.t), 0.0)
      colour = Vec(*(dim * c + ground * _enlarge(m) for c, m in zip(colour, mirror)))
    if rain:
      cover = _rain(world, pose, d, hit.t, time, rain, rain_start)
      colour = Vec(*(c + cover * (1.1 * h - c) for c, h in zip(colour, world.light.horizon)))
    return jnp.stack([_average(c) for c in colour], -1)

  rows = math.gcd(height, _BAND)
  tops = jnp.arange(0, height, rows, dtype=jnp.float32)
  image = jax.lax.map(band, tops).reshape(height, width, 3)
  grey = jnp.mean(image, -1, keepdims=True)
  return world.light.exposure * jnp.maximum(grey + world.light.saturation * (image - grey), 0.0)


def depth_and_label(world: scene.Scene, pose: camera.Pose, matrix, *, height: int, width: int):
  """What the rays of the pixels' centres meet.

  Returns:
    (depth float32[H, W], exact z-depth in metres, 0 for sky and beyond FAR_LIMIT;
    label uint8[H, W], class).
  """
  d = camera.rays(pose, matrix, height, width, 1)
  steps = (pose.right * (1 / matrix[0, 0]), pose.down * (1 / matrix[1, 1]))
  inside = camera.sides(pose, matrix, height, width)
  hit = surface.hit(world, pose.position, d, *steps, inside)
  return jnp.where(hit.t <= FAR_LIMIT, hit.t, 0.0), material.label(world, hit)


def _average(x):
  """Mean over the samples of each pixel: [H * S, W * S] -> [H, W]."""
  h, w = x.shape
  return x.reshape(h // SAMPLES, SAMPLES, w // SAMPLES, SAMPLES).mean((1, 3))


def _enlarge(x):
  """Each pixel for all its samples: [H, W] -> [H * S, W * S]."""
  return jnp.repeat(jnp.repeat(x, SAMPLES, 0), SAMPLES, 1)
