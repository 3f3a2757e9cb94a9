"""Albedo, glow and class of what was hit.

Shares of coverage are computed `once` before colours are mixed with them, not for each of the
three channels again.
"""

import jax.numpy as jnp

from bicross_jax.sim import scene, shapes, texture
from bicross_jax.sim.shapes import Vec
from bicross_jax.sim.surface import Hit

_PAVING, _GRASS = (0.2, 0.19, 0.175), (0.075, 0.135, 0.035)  # albedo
_WARM = (1.0, 0.68, 0.36)
_LENS_FRONT, _LENS_REAR = (0.7, 0.7, 0.65), (0.5, 0.02, 0.02)  # albedo
_BEAM_FRONT, _BEAM_REAR = (2.5, 2.4, 2.0), (0.5, 0.02, 0.01)  # radiance at night


def _mix(a: Vec, b, share) -> Vec:
  """a where share is 0, the colour b where it is 1."""
  return Vec(*(x + share * (y - x) for x, y in zip(a, b)))


def appearance(world: scene.Scene, hit: Hit):
  """Albedo and emitted radiance of the surfaces: (Vec, Vec) of float32[...], linear RGB."""
  look = hit.look
  wide = jnp.maximum(hit.footprint_u, hit.footprint_v)
  rough = texture.noise(hit.u, hit.v, look.noise[0], wide, look.seed)
  rough = shapes.once(rough, world.light.exposure)
  albedo = Vec(*look.colour)

  width, height, line, shift = look.joints
  joint, tone = texture.joints(
    hit.u, hit.v, hit.footprint_u, hit.footprint_v, width, height, jnp.maximum(line, 1e-3), shift
  )
  joint, tone = shapes.once((joint, tone), world.light.exposure)
  upright = (hit.side != 1) | hit.ground
  jointed = (line > 0) & upright
  albedo = albedo * jnp.where(jointed, 1 + 0.22 * tone, 1.0)
  grey = (albedo.x + albedo.y + albedo.z) * 0.45
  albedo = _mix(albedo, (grey, grey, grey), jnp.where(jointed, 0.7 * joint, 0.0))
  if world.road is not None:
    ground = _street_ground(world, hit, rough)
    albedo = Vec(*(jnp.where(hit.ground, g, a) for g, a in zip(ground, albedo)))
  albedo = albedo * jnp.maximum(1 + look.noise[1] * rough, 0.15)

  albedo = shapes.once(albedo, world.light.exposure)
  albedo, glow = _windows(world, hit, albedo)
  albedo, lights = _car(world, hit, albedo)
  bulb = look.emission
  emitted = Vec(
    *(
      bulb * c + glow * warm + light * (1 if world.light.headlights else 0)
      for c, warm, light in zip(look.colour, _WARM, lights)
    )
  )
  return albedo, emitted


def _street_ground(world, hit, rough) -> Vec:
  """Asphalt with its marks, kerbs, slabs and grass."""
  road = world.road
  z, across, along = hit.point.z, hit.footprint_u, hit.footprint_v
  s = hit.point.x + road.lane / 2 - road.curve * z * z
  a = jnp.abs(s)
  carriage = texture.band(a, -1.0, road.half, across)
  kerb = texture.band(a, road.half, road.half + 0.18, across)
  walk = texture.band(a, road.half + 0.18, road.half + road.sidewalk, across)
  joint, tone = texture.joints(s, z, across, along, 0.75, 0.75, 0.035, 0.0)
  slabs = 0.27 * (1 + 0.2 * tone) * (1 - 0.45 * joint)
  asphalt = 0.1
  dashes = texture.pulse(z / road.dash, 0.0, 0.5, along / road.dash)
  marks = jnp.maximum(
    dashes * texture.band(s, -0.07, 0.07, across),
    texture.band(a, road.lane - 0.22, road.lane - 0.08, across),
  )
  zebra = (
    texture.band(z, road.zebra, road.zebra + 3.0, along)
    * texture.pulse(s, 0.0, 0.5, across)
    * carriage
  )
  crossing = texture.band(z, road.zebra - 1.0, road.zebra + 4.0, along)
  marks = jnp.maximum(marks * carriage * (1 - crossing), zebra) * (0.88 + 0.3 * rough)
  wild = 1 - carriage - kerb - walk
  verge = [p + road.grass * (g - p) for p, g in zip(_PAVING, _GRASS)]
  grain = 1 + 0.8 * road.grass * rough
  base = carriage * (asphalt + marks * 0.5) + kerb * 0.36 + walk * slabs
  base, wild, grain = shapes.once((base, wild, grain), world.light.exposure)
  return Vec(*(base * tint + wild * grain * v for tint, v in zip((1.0, 1.0, 0.99), verge)))


def _windows(world, hit, albedo):
  """Windows in a wall, and doors in its ground floor; also (radiance of those with light on)."""
  column, storey, share = hit.look.windows
  elevation = hit.half.y - hit.local.y
  x, y = hit.u / column + 0.5 * (share > 0), elevation / storey
  fx, fy = hit.footprint_u / column, hit.footprint_v / storey
  i, j = jnp.floor(x), jnp.floor(y)
  cell = texture.random(i, j, hit.look.seed)
  door = (j == 0) & (texture.random(i, j, hit.look.seed + 3) < 0.4)
  left, right = 0.5 - share / 2, 0.5 + share / 2
  across = texture.pulse(x, left, right, fx)
  bottom = jnp.where(door, 0.0, 0.3)
  up = texture.pulse(y, bottom, 0.82, fy)
  frame = texture.pulse(x, left - 0.04, right + 0.04, fx) * texture.pulse(
    y, jnp.maximum(bottom - 0.05, 0.0), 0.86, fy
  )
  wall = (share > 0) & (hit.side != 1)
  # No window is cut by the edge of its wall.
  span = jnp.where(hit.side == 0, hit.half.z, hit.half.x)
  middle = (i + 0.5 - 0.5) * column
  whole = jnp.abs(middle) + 0.5 * share * column < span - 0.2
  whole = whole & ((j + 0.9) * storey < 2 * hit.half.y)
  here = jnp.where(wall & whole, 1.0, 0.0)
  visible = jnp.clip(1.5 - 2 * jnp.maximum(fx, fy), 0, 1)
  cell = 0.5 + visible * (cell - 0.5)
  pane = here * across * up
  wood = jnp.where(door, 1.0, 0.0) * visible
  dark = 0.03 + 0.16 * cell * cell
  lit = world.light.lit_windows
  glow = (
    0.35 * pane * (visible * jnp.clip((lit - cell) * 50, 0, 1) + (1 - visible) * lit)
    if lit
    else 0.0 * pane
  )
  pane, frame, wood, dark, glow = shapes.once(
    (pane, here * frame * 0.8, wood, dark, glow), world.light.exposure
  )
  albedo = _mix(albedo, (0.6, 0.58, 0.54), frame)
  albedo = _mix(albedo, (dark + wood * 0.08, dark * 1.1 + wood * 0.02, dark * 1.25), pane)
  return albedo, glow


def _car(world, hit, albedo):
  """Wheels, skirts, lamps and panes of a car; also the radiance of its lamps."""
  body = hit.look.part == scene.CAR_BODY
  cabin = hit.look.part == scene.CAR_CABIN
  q, half = hit.local, hit.half
  width = jnp.maximum(hit.footprint_u, hit.footprint_v)
  elevation = half.y - q.y
  flank, end = hit.side == 0, hit.side == 2

  wheel = jnp.sqrt((jnp.abs(q.z) - 0.62 * half.z) ** 2 + (elevation - 0.3) ** 2)
  tyre = jnp.where(body & flank, texture.step(0.34 - wheel, width), 0.0)
  rim = jnp.where(body & flank, texture.step(0.18 - wheel, width), 0.0)
  skirt = jnp.where(body & (hit.side != 1), texture.step(0.2 - elevation, width), 0.0)
  row = texture.band(elevation, 0.55, 0.72, hit.footprint_v)
  lamp = jnp.where(body & end, row * texture.step(jnp.abs(q.x) - 0.62 * half.x, width), 0.0)
  front = jnp.where(q.z > 0, 1.0, 0.0)
  plate = jnp.where(
    body & end,
    texture.band(elevation, 0.35, 0.47, hit.footprint_v) * texture.step(0.26 - jnp.abs(q.x), width),
    0.0,
  )

  rise = elevation / (2 * half.y)
  pane = texture.band(rise, 0.12, 0.82, hit.footprint_v / (2 * half.y))
  lean = 0.5 * rise * half.z
  pillar = texture.step(jnp.abs(jnp.abs(q.z) - 0.12 * half.z) - 0.05, width) * texture.step(
    half.z - 0.12 - lean - jnp.abs(q.z), width
  )
  post = texture.step(half.x * (0.9 - 0.1 * rise) - jnp.abs(q.x), width)
  glass = jnp.where(cabin & (hit.side != 1), pane * jnp.where(flank, pillar, post), 0.0)

  black, rim, lamp, front, plate, glass = shapes.once(
    (jnp.maximum(tyre, skirt), rim, lamp, front, plate, glass), world.light.exposure
  )
  albedo = _mix(albedo, (0.03, 0.03, 0.03), black)
  albedo = _mix(albedo, (0.3, 0.3, 0.3), rim)
  albedo = _mix(albedo, [r + front * (f - r) for f, r in zip(_LENS_FRONT, _LENS_REAR)], lamp)
  albedo = _mix(albedo, (0.6, 0.6, 0.55), plate)
  albedo = _mix(albedo, (0.035, 0.045, 0.055), glass)
  return albedo, [lamp * (r + front * (f - r)) for f, r in zip(_BEAM_FRONT, _BEAM_REAR)]


def label(world: scene.Scene, hit: Hit):
  """Class of what was hit: uint8[...]."""
  value = hit.look.label
  if world.road is not None:
    road, z = world.road, hit.point.z
    s = hit.point.x + road.lane / 2 - road.curve * z * z
    beyond = (jnp.abs(s) > road.half + road.sidewalk) & (road.grass > 0)
    value = jnp.where(hit.ground, jnp.where(beyond, scene.NATURE, scene.FLAT), value)
  return jnp.where(hit.sky, scene.CONSTRUCTION, value).astype(jnp.uint8)
