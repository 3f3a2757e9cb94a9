"""Draws a furnished room: cupboards, a table, stools, a sofa, plants, pictures, people."""

import jax.numpy as jnp

from bicross_jax.sim import domains, scene, street
from bicross_jax.sim.scene import group, look

_BEHIND = 1.2  # metres from the camera to the wall behind it
_CELLAR = 1.0
_WOOD = ((0.35, 0.20, 0.10), (0.22, 0.12, 0.06), (0.55, 0.40, 0.24), (0.65, 0.63, 0.58))


def room(key, domain: domains.Domain) -> scene.Scene:
  """A room of a domain, seen from x = z = 0 in the direction +z.

  Things along the left wall, the right wall and the far wall, and things in the middle, each
  keep to slots of their own.
  """
  draws, town = scene.Draws(key), domain.town
  left, right = -draws(1.8, 3.4), draws(1.8, 3.4)
  far, high = draws(5.0, 9.5), draws(2.4, 3.1)
  # The hall reaches below the floor, which is the ground plane.
  hall = scene.Hall(
    jnp.stack([(left + right) / 2, (_CELLAR - high) / 2, (far - _BEHIND) / 2]),
    jnp.stack([(right - left) / 2, (_CELLAR + high) / 2, (far + _BEHIND) / 2]),
  )
  tiles = draws.chance(0.5, (1,))
  floor = look(
    1,
    jnp.where(tiles[:, None], jnp.array([[0.42, 0.40, 0.37]]), draws.choice(_WOOD[:3], 1)),
    scene.FLAT,
    noise=(2.0, 0.15),
    seed=draws(0.0, 9e3, (1,)),
    joints=jnp.where(
      tiles[:, None], jnp.array([[0.4, 0.4, 0.012, 0.0]]), jnp.array([[1.2, 0.14, 0.006, 0.37]])
    ),
  )
  paper = draws.chance(0.4, (1,))
  walls = look(
    1,
    draws.choice(town.wall_colours, 1),
    scene.CONSTRUCTION,
    noise=(0.8, 0.14),
    seed=draws(0.0, 9e3, (1,)),
    joints=jnp.where(paper[:, None], jnp.array([[0.5, 3.5, 0.03, 0.0]]), jnp.zeros((1, 4)) + 0.0)
    .at[:, :2]
    .max(0.5),
  )
  middle, sofa = _middle(draws, left, right, far)
  groups = [
    *_along_walls(draws, left, right, far),
    *middle,
    *_extras(draws, town, left, right, far, high, sofa),
  ]
  solids, surfaces = scene.assemble(groups, floor, walls)
  light = domain.light
  lamp = jnp.stack([draws(0.6 * left, 0.6 * right), 0.35 - high, draws(0.25, 0.7) * far])
  lighting = scene.Lighting(
    position=lamp,
    strength=4 * draws(*light.sun),
    near=1.0,
    colour=jnp.array(light.sun_colour),
    zenith=jnp.array(light.zenith),
    horizon=jnp.array(light.horizon),
    ambient=draws(*light.ambient),
    clouds=draws(*light.clouds),
    lamps=jnp.zeros((1, 4)),
    headlights=0.0,
    lit_windows=0.0,
    exposure=draws(*light.exposure),
    saturation=domain.weather.saturation * town.saturation,
    extinction=jnp.zeros(()),
    seed=jnp.floor(draws(0.0, 9e3)),
  )
  return scene.Scene(solids, surfaces, None, hall, lighting)


def _wood(draws, n, **options):
  return look(
    n,
    draws.choice(_WOOD, n) * draws(0.8, 1.1, (n,))[:, None],
    scene.IGNORE,
    seed=draws(0.0, 9e3, (n,)),
    **options,
  )


def _along_walls(draws, left, right, far):
  """Cupboards and shelves at the side walls and the far wall, and pictures above the low ones."""
  n = 4  # left near, left far, right near, right far
  side = jnp.array([-1.0, -1.0, 1.0, 1.0])
  wall = jnp.where(side < 0, left, right)
  z = jnp.array([0.28, 0.68, 0.28, 0.68]) * far + draws(-0.04, 0.04, (n,)) * far
  deep = draws(0.18, 0.3, (n,))
  long = draws(0.35, 0.1 * far, (n,))
  height = draws(0.7, 2.1, (n,))
  doors = dict(joints=(0.55, 0.42, 0.02, 0.0), noise=(2.5, 0.25))
  cupboards = group(
    "boxes",
    wall - side * deep,
    z,
    0.0,
    deep,
    height / 2,
    long,
    _wood(draws, n, **doors),
    present=draws.chance(0.65, (n,)),
  )
  m = 2
  x = jnp.stack([0.35 * left, 0.35 * right]) + draws(-0.1, 0.1, (m,))
  tall = draws(0.6, 2.1, (m,))
  wide = draws(0.3, 0.45, (m,))
  back = group(
    "boxes",
    x,
    far - 0.25,
    0.0,
    wide,
    tall / 2,
    0.25,
    _wood(draws, m, **doors),
    present=draws.chance(0.7, (m,)),
  )
  colours = scene.hue(draws(shape=(4,)), 0.55, draws(0.25, 0.6, (4,)))
  pictures = group(
    "boxes",
    jnp.stack([left + 0.015, left + 0.015, right - 0.015, right - 0.015]),
    jnp.array([0.18, 0.5, 0.18, 0.5]) * far + draws(-0.1, 0.1, (4,)),
    draws(1.3, 1.5, (4,)),
    0.015,
    draws(0.15, 0.3, (4,)),
    draws(0.15, 0.35, (4,)),
    look(4, colours, scene.IGNORE, noise=(5.0, 0.9), seed=draws(0.0, 9e3, (4,))),
    present=draws.chance(0.6, (4,)),
  )
  return [cupboards, back, pictures]


def _middle(draws, left, right, far):
  """A table with two stools and a box on it, a sofa across; and whether there is a sofa."""
  first = draws.chance(0.5)  # whether the table stands before the sofa
  z_table = jnp.where(first, 0.33, 0.62) * far + draws(-0.2, 0.3)
  z_sofa = jnp.where(first, 0.72, 0.36) * far + draws(-0.2, 0.2)
  middle, room_half = (left + right) / 2, (right - left) / 2
  x = middle + draws(-0.15, 0.15) * room_half
  one = (1,)
  top = _wood(draws, 1, noise=(3.0, 0.3))
  table_here = draws.chance(0.75, one)
  height = draws(0.68, 0.78, one)
  wide, long = draws(0.3, 0.45, one), draws(0.35, 0.6, one)
  table = group(
    "boxes",
    x[None],
    z_table[None],
    height - 0.05,
    wide,
    0.025,
    long,
    top,
    present=table_here,
    yaw=draws(-0.5, 0.5, one),
  )
  leg = group(
    "cylinders",
    x[None],
    z_table[None],
    0.0,
    0.06,
    (height - 0.05) / 2,
    0.06,
    top,
    present=table_here,
  )
  foot = group("cylinders", x[None], z_table[None], 0.0, 0.26, 0.02, 0.26, top, present=table_here)
  side = jnp.array([-1.0, 1.0])
  stools = group(
    "cylinders",
    x + side * (wide + 0.3),
    z_table + draws(-0.2, 0.2, (2,)),
    0.0,
    0.17,
    draws(0.21, 0.25, (2,)),
    0.17,
    _wood(draws, 2, noise=(4.0, 0.2)),
    present=draws.chance(0.6, (2,)) & table_here,
  )
  cloth = look(
    2,
    jnp.tile(scene.hue(draws(shape=one), 0.5, 0.35), (2, 1)),
    scene.IGNORE,
    noise=(4.0, 0.4),
    seed=draws(0.0, 9e3, (2,)),
  )
  sofa_here = draws.chance(0.6)
  sofa_x = middle + draws(-0.15, 0.15) * room_half
  turned = jnp.where(draws.chance(0.5), 1.0, -1.0)  # the back is behind or before the seat
  sofa = group(
    "boxes",
    jnp.stack([sofa_x, sofa_x]),
    jnp.stack([z_sofa, z_sofa + turned * 0.42]),
    0.0,
    0.75,
    jnp.array([0.21, 0.42]),
    jnp.array([0.34, 0.08]),
    cloth,
    present=sofa_here,
  )
  size = draws(0.08, 0.16, one)
  crate = group(
    "boxes",
    x[None],
    z_table[None],
    height,
    size,
    0.8 * size,
    size,
    _wood(draws, 1, joints=(1.0, 0.1, 0.01, 0.0), noise=(6.0, 0.35)),
    yaw=draws(-0.7, 0.7, one),
    present=draws.chance(0.4, one) & table_here,
  )
  return [table, leg, foot, stools, sofa, crate], sofa_here


def _extras(draws, town, left, right, far, high, sofa):
  """Plants in pots, a ball or a column at the walls, a hanging lamp, somebody standing."""
  side = draws.sign()  # of the first plant; the ball or the column is opposite
  wall = jnp.where(side < 0, left, right)
  opposite = jnp.where(side < 0, right, left)
  corner = jnp.stack([wall - 0.35 * side, opposite + 0.35 * side])
  z = jnp.stack([0.48 * far, far - 0.4])
  here = draws.chance(0.5, (2,))
  height = draws(0.28, 0.45, (2,))
  pots = group(
    "cylinders",
    corner,
    z,
    0.0,
    0.15,
    height / 2,
    0.15,
    look(2, (0.45, 0.2, 0.1), scene.IGNORE, noise=(4.0, 0.15)),
    present=here,
  )
  size = draws(0.2, 0.3, (2,))
  plants = group(
    "spheroids",
    corner,
    z,
    height - 0.05,
    size,
    draws(0.25, 0.5, (2,)),
    size,
    look(2, (0.07, 0.17, 0.05), scene.NATURE, noise=(8.0, 1.5), seed=draws(0.0, 9e3, (2,))),
    present=here,
  )
  round_ = draws.chance(0.3, (1,))
  radius = draws(0.1, 0.2, (1,))
  ball = group(
    "spheroids",
    (opposite + 0.35 * side)[None],
    (0.48 * far)[None],
    0.0,
    radius,
    radius,
    radius,
    look(1, scene.hue(draws(shape=(1,)), 0.8, 0.6), scene.IGNORE, noise=(6.0, 0.2)),
    present=draws.chance(0.7, (1,)) & ~round_,
  )
  column = group(
    "cylinders",
    (opposite + 0.2 * side)[None],
    (0.48 * far)[None],
    0.0,
    draws(0.12, 0.2, (1,)),
    high / 2,
    0.2,
    look(1, (0.6, 0.58, 0.54), scene.CONSTRUCTION, noise=(1.5, 0.15)),
    present=round_,
  )
  middle = (left + right) / 2
  shade = group(
    "frusta",
    middle[None],
    0.5 * far[None],
    high - 0.62,
    0.2,
    0.12,
    0.2,
    look(1, (0.6, 0.5, 0.35), scene.OBJECT, emission=0.4),
    taper=0.12,
    present=draws.chance(0.4, (1,)),
  )
  tall = draws(1.5, 1.85, (1,))
  standing = street.people(
    draws,
    middle + draws(-0.5, 0.5, (1,)) * 0.5 * (right - left),
    draws(0.8, 0.85, (1,)) * far,
    tall,
    dict(present=draws.chance(town.people, (1,)) & ~sofa),
  )
  return [pots, plants, ball, column, shade, *standing]
