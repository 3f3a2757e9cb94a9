"""Draws a street: houses, cars, trees, lamps, signs, people along a curved road.

Everything stands in lanes across the street (carriageway, parking strip, kerb, sidewalk, house
front) and in slots along it, so that nothing stands in another thing and no tree on the road.
"""

import jax.numpy as jnp

from bicross_jax.sim import domains, scene
from bicross_jax.sim.scene import group, look

_PARKING = 2.2  # metres
_FAR_AWAY = 1e4
_LAMPS = 6
_CAR_COLOURS = (
  (0.75, 0.75, 0.74),
  (0.04, 0.04, 0.05),
  (0.32, 0.33, 0.35),
  (0.45, 0.03, 0.03),
  (0.03, 0.08, 0.30),
  (0.12, 0.12, 0.13),
  (0.55, 0.53, 0.48),
  (0.05, 0.18, 0.12),
)
_SIGN_COLOURS = ((0.55, 0.04, 0.03), (0.03, 0.12, 0.5), (0.6, 0.45, 0.03), (0.7, 0.7, 0.7))
_SKIN = ((0.50, 0.30, 0.20), (0.25, 0.13, 0.08), (0.60, 0.40, 0.30))


def street(key, domain: domains.Domain) -> scene.Scene:
  """A street of a domain, seen from its right lane at z = 0 in the direction +z.

  The camera's place across the street is x = 0: the centre line lies at x = -lane / 2.
  """
  draws, town = scene.Draws(key), domain.town
  parking = jnp.where(draws.chance(town.parking), _PARKING, 0.0)
  lane = draws(*town.lane)
  road = scene.Road(
    curve=draws(-0.0035, 0.0035) * draws(0.0, 1.0),
    lane=lane,
    half=lane + parking,
    sidewalk=draws(*town.sidewalk),
    grass=jnp.where(draws.chance(0.5), 1.0, 0.0),
    zebra=jnp.where(draws.chance(0.3), draws(6.0, 25.0), _FAR_AWAY),
    dash=draws(5.0, 9.0),
  )

  def place(s, z):
    """x and yaw at s metres right of the centre line, z metres ahead."""
    return s + road.curve * z * z - lane / 2, jnp.arctan(2 * road.curve * z)

  end = jnp.where(draws.chance(town.closed_end), draws(42.0, 95.0), _FAR_AWAY)
  slots, lamps = _furniture(draws, town, road, place, domain)
  groups = [
    *_houses(draws, town, road, place, end),
    *slots,
    *_bins_and_bushes(draws, road, place),
    *_traffic(draws, town, road, place, parking > 0, end),
  ]
  ground = look(1, (0.10, 0.10, 0.105), scene.FLAT, noise=(0.4, 0.35), seed=draws(0.0, 9e3, (1,)))
  nothing = look(1, (0.0, 0.0, 0.0), scene.CONSTRUCTION)
  solids, surfaces = scene.assemble(groups, ground, nothing)
  return scene.Scene(solids, surfaces, road, None, _lighting(draws, domain, lamps))


def _houses(draws, town, road, place, end):
  """Two rows of houses with gaps, hedges or walls behind the gaps, and the street's far end."""
  rows, n = 2, 4
  side = jnp.repeat(jnp.array([-1.0, 1.0]), n)
  lengths = draws(*town.house, (rows, n))
  gaps = jnp.where(draws.chance(town.gap, (rows, n)), draws(2.5, 9.0, (rows, n)), 0.0)
  start = draws(-12.0, 0.0, (rows,))[:, None]
  z = (start + jnp.cumsum(lengths + gaps, 1) - gaps - lengths / 2).reshape(-1)
  length = lengths.reshape(-1)
  setback = (draws(*town.setback, (rows,))[:, None] + draws(0.0, 0.6, (rows, n))).reshape(-1)
  depth = 5.0
  front = road.half + road.sidewalk + setback
  x, yaw = place(side * (front + depth), z)
  storey = draws(*town.storey, (rows * n,))
  storeys = jnp.floor(draws(*town.storeys, (rows * n,)))
  height = storey * storeys + draws(0.3, 1.0, (rows * n,))
  open_side = draws.chance(town.open_side, (rows,))
  open_side = open_side & ~jnp.flip(open_side)  # never both
  houses = group(
    "boxes",
    x,
    z,
    0.0,
    depth,
    height / 2,
    length / 2,
    _facade(draws, town, rows * n, storey),
    yaw=yaw,
    present=~jnp.repeat(open_side, n, total_repeat_length=rows * n),
  )

  hedge_z = jnp.tile(jnp.array([16.0, 52.0]), rows)
  hedge_side = jnp.repeat(jnp.array([-1.0, 1.0]), 2)
  behind = jnp.repeat(jnp.where(open_side, 0.6, 11.5), 2, total_repeat_length=4)
  hedge_height = jnp.repeat(draws(0.9, 1.8, (rows,)), 2, total_repeat_length=4)
  hedge_height = hedge_height + jnp.where(behind > 1, 1.5, 0.0)
  reach = road.half + road.sidewalk + behind + draws(0.3, 0.8)
  x, yaw = place(hedge_side * reach, hedge_z)
  wall = jnp.repeat(draws.chance(0.4, (rows,)), 2, total_repeat_length=4)
  seeds = draws(0.0, 9e3, (4,))
  green = look(4, (0.07, 0.13, 0.03), scene.NATURE, noise=(2.0, 1.4), seed=seeds)
  stone = look(
    4,
    (0.36, 0.33, 0.29),
    scene.CONSTRUCTION,
    noise=(0.6, 0.3),
    joints=(0.5, 0.25, 0.03, 0.5),
    seed=seeds,
  )
  surface = scene.Look(
    *(jnp.where(wall.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(stone, green))
  )
  hedges = group("boxes", x, hedge_z, 0.0, 0.4, hedge_height / 2, 18.3, surface, yaw=yaw)

  x, _ = place(draws(-4.0, 4.0, (1,)), jnp.minimum(end, 100.0))
  storey = draws(*town.storey, (1,))
  height = storey * jnp.floor(draws(*town.storeys, (1,))) + 0.6
  closing = group(
    "boxes",
    x,
    end + 6.0,
    0.0,
    32.0,
    height / 2,
    6.0,
    _facade(draws, town, 1, storey),
    present=end < _FAR_AWAY,
  )
  return [houses, hedges, closing]


def _facade(draws, town, n, storey):
  """Walls of brick or plaster with windows and, on the ground floor, doors."""
  brick = draws.chance(town.brick, (n,))
  colours = draws.choice(town.wall_colours, n) * draws(0.7, 1.15, (n,))[:, None]
  none = jnp.zeros(n)
  course = draws(0.18, 0.32, (n,))
  joint = jnp.where(brick, 0.14 * course, none)
  return look(
    n,
    colours,
    scene.CONSTRUCTION,
    noise=jnp.stack([draws(0.25, 0.7, (n,)), draws(0.12, 0.35, (n,))], 1),
    joints=jnp.stack([2.5 * course, course, joint, none + 0.5], 1),
    windows=jnp.stack([draws(1.9, 3.6, (n,)), storey, draws(0.35, 0.6, (n,))], 1),
    seed=draws(0.0, 9e3, (n,)),
  )


def _furniture(draws, town, road, place, domain):
  """Trees, lamps and signs just outside the kerb: three slots on each side."""
  sides, n = 2, 3
  side = jnp.repeat(jnp.array([-1.0, 1.0]), n)
  z = jnp.concatenate([draws.spread(5.0, 48.0, n) for _ in range(sides)])
  s = side * (road.half + 0.7)
  x, _ = place(s, z)
  kind = draws(shape=(sides * n,))
  free = jnp.abs(z - road.zebra - 1.5) > 3.0  # the crossing stays clear
  tree = (kind < town.trees) & free
  lamp = (kind >= town.trees) & (kind < town.trees + 0.35) & free
  slot = jnp.tile(jnp.arange(n), sides)
  sign = (kind >= town.trees + 0.35) & (slot < 2) & free
  seeds = draws(0.0, 9e3, (sides * n,))

  tall = draws(*town.tree_height, (sides * n,))
  trunk = 0.42 * tall
  pole = jnp.where(lamp, draws(4.8, 7.0, (sides * n,)), 2.7)
  height = jnp.where(tree, trunk + 0.6, pole)
  radius = jnp.where(tree, 0.03 * tall, 0.065)
  bark, metal = jnp.array([[0.11, 0.075, 0.05]]), jnp.array([[0.16, 0.17, 0.17]])
  stems = group(
    "cylinders",
    x,
    z,
    0.0,
    radius,
    height / 2,
    radius,
    look(
      sides * n,
      jnp.where(tree[:, None], bark, metal),
      scene.OBJECT,
      seed=seeds,
      noise=jnp.where(tree[:, None], jnp.array([[6.0, 0.5]]), jnp.array([[2.0, 0.1]])),
    )._replace(label=jnp.where(tree, float(scene.NATURE), float(scene.OBJECT))),
    present=tree | lamp | sign,
  )

  crown = jnp.minimum(draws(0.22, 0.32, (sides * n,)) * tall, road.sidewalk + 0.4)
  green = scene.hue(draws(0.20, 0.33, (sides * n,)), 0.75, draws(0.12, 0.22, (sides * n,)))
  leaves = look(sides * n, green, scene.NATURE, noise=(2.0, 1.6), seed=seeds)
  bulb = look(
    sides * n, (0.8, 0.75, 0.6), scene.OBJECT, emission=2.5 if domain.light.lamps else 0.0
  )
  tops = scene.Look(
    *(jnp.where(tree.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(leaves, bulb))
  )
  heads = group(
    "spheroids",
    x - jnp.where(tree, 0.0, 0.25 * side),
    z,
    jnp.where(tree, trunk, pole - 0.1),
    jnp.where(tree, crown, 0.26),
    jnp.where(tree, 0.29 * tall, 0.11),
    jnp.where(tree, crown, 0.26),
    tops,
    present=tree | lamp,
  )
  second = group(
    "spheroids",
    x + crown * draws(-0.45, 0.45, (sides * n,)),
    z + crown * draws(-0.5, 0.5, (sides * n,)),
    trunk * draws(0.85, 1.1, (sides * n,)),
    0.75 * crown,
    0.2 * tall,
    0.75 * crown,
    leaves._replace(seed=seeds + 31),
    present=tree,
  )
  boards = [i for i in range(sides * n) if i % n < 2]
  pick = jnp.array(boards)
  plates = group(
    "boxes",
    x[pick],
    z[pick] - 0.1,
    2.1,
    draws(0.28, 0.4, (len(boards),)),
    draws(0.25, 0.35, (len(boards),)),
    0.02,
    look(
      len(boards),
      draws.choice(_SIGN_COLOURS, len(boards)),
      scene.OBJECT,
      noise=(3.0, 0.15),
      seed=seeds[pick],
    ),
    present=sign[pick],
  )
  lamps = jnp.stack([x - 0.3 * side, -(pole - 0.2), z, jnp.where(lamp, domain.light.lamps, 0.0)], 1)
  return [stems, heads, second, plates], lamps


def _bins_and_bushes(draws, road, place):
  side, z = draws.sign((2,)), draws.spread(6.0, 30.0, 2)
  x, _ = place(side * (road.half + 0.35), z)
  bins = group(
    "cylinders",
    x,
    z,
    0.0,
    0.26,
    0.45,
    0.26,
    look(2, scene.hue(draws(0.2, 0.7, (2,)), 0.6, 0.12), scene.IGNORE, noise=(4.0, 0.2)),
    present=draws.chance(0.4, (2,)),
  )
  side, z = draws.sign((2,)), draws.spread(7.0, 40.0, 2)
  size = draws(0.5, 0.8, (2,))
  x, _ = place(side * (road.half + road.sidewalk + size), z)
  bushes = group(
    "spheroids",
    x,
    z,
    -0.15,
    size,
    0.8 * size,
    size,
    look(2, (0.09, 0.15, 0.04), scene.NATURE, noise=(3.0, 1.5), seed=draws(0.0, 9e3, (2,))),
    present=draws.chance(0.5, (2,)),
  )
  return [bins, bushes]


def _traffic(draws, town, road, place, parking, end):
  """Cars ahead, oncoming and parked, and people on the sidewalks or crossing."""
  n_people = 3
  z_people = draws.spread(4.0, 32.0, n_people)
  walk = draws.sign((n_people,)) * (
    road.half + draws(1.25, 1.0 * road.sidewalk - 0.35, (n_people,))
  )
  crosses = jnp.arange(n_people) == jnp.where(draws.chance(0.3), 1, n_people)
  s_people = jnp.where(crosses, draws(-0.9, 0.9, (n_people,)) * road.lane, walk)
  behind = jnp.where(crosses, z_people, 0.0).max()

  # own lane, oncoming, parked right twice, parked left
  n = 5
  s = jnp.stack(
    [0.5 * road.lane, -0.5 * road.lane, road.half - 1.1, road.half - 1.1, 1.1 - road.half]
  )
  u = draws(shape=(n,))
  near = jnp.array([7.0, 8.0, 5.0, 17.0, 6.0])
  far = jnp.array([55.0, 60.0, 11.0, 45.0, 35.0])
  z = near * (far / near) ** u
  driving = jnp.arange(n) < 2
  z = jnp.minimum(jnp.where(driving, jnp.maximum(z, behind + 5.0), z), end - 8.0)
  x, yaw = place(s + draws(-0.15, 0.15, (n,)), z)
  oncoming = (jnp.arange(n) == 1) | ((jnp.arange(n) == 4) & draws.chance(0.7))
  speed = jnp.where(driving, draws(4.0, 14.0, (n,)) * jnp.where(oncoming, -1.0, 1.0), 0.0)
  present = draws.chance(town.cars, (n,)) & (driving | parking)

  van = draws.chance(town.vans, (n,))
  length = jnp.where(van, draws(4.8, 5.8, (n,)), draws(3.8, 4.7, (n,)))
  width = jnp.where(van, 0.97, 0.88)
  waist = jnp.where(van, 1.1, draws(0.8, 0.92, (n,)))
  roof = jnp.where(van, draws(1.1, 1.4, (n,)), draws(0.5, 0.62, (n,)))
  cabin = jnp.where(van, 0.5, 0.36) * length
  shift = jnp.where(van, 0.0, -0.06) * length * jnp.where(oncoming, -1.0, 1.0)
  colours = draws.choice(_CAR_COLOURS, n)
  yaw = yaw + jnp.where(oncoming, jnp.pi, 0.0)
  move = dict(
    velocity_x=speed * jnp.sin(yaw) * jnp.where(oncoming, -1.0, 1.0),
    velocity_z=speed,
    yaw=yaw,
    present=present,
  )
  bodies = group(
    "boxes",
    x,
    z,
    0.02,
    width,
    waist / 2,
    length / 2,
    look(n, colours, scene.VEHICLE, part=scene.CAR_BODY, noise=(0.8, 0.08)),
    **move,
  )
  cabins = group(
    "frusta",
    x,
    z + shift,
    waist,
    0.95 * width,
    roof / 2,
    cabin,
    look(n, colours, scene.VEHICLE, part=scene.CAR_CABIN, noise=(0.8, 0.08)),
    taper=jnp.where(van, 0.25, 0.55),
    **move,
  )

  x, _ = place(s_people, z_people)
  pace = jnp.where(crosses, 0.0, draws(-1.4, 1.4, (n_people,)))
  tall = draws(1.45, 1.9, (n_people,))
  here = draws.chance(town.people, (n_people,)) | crosses
  walking = dict(velocity_z=pace, present=here)
  return [bodies, cabins, *people(draws, x, z_people, tall, walking)]


def people(draws, x, z, tall, move):
  """Standing or walking people: two legs, a trunk, a head. `move`: options of `group`."""
  n = tall.shape[0]
  trousers = look(
    n,
    scene.hue(draws(shape=(n,)), draws(0.0, 0.6, (n,)), draws(0.03, 0.2, (n,))),
    scene.HUMAN,
    noise=(5.0, 0.2),
  )
  shirt = look(
    n,
    scene.hue(draws(shape=(n,)), draws(0.2, 0.9, (n,)), draws(0.1, 0.7, (n,))),
    scene.HUMAN,
    noise=(5.0, 0.25),
  )
  skin = look(n, draws.choice(_SKIN, n), scene.HUMAN, noise=(5.0, 0.1))
  stride = draws(-0.14, 0.14, (n,))
  legs = [
    group(
      "cylinders",
      x + 0.09 * side,
      z + side * stride,
      0.0,
      0.085,
      0.24 * tall,
      0.085,
      trousers,
      **move,
    )
    for side in (-1, 1)
  ]
  trunk = group("spheroids", x, z, 0.42 * tall, 0.21, 0.215 * tall, 0.21, shirt, **move)
  head = group("spheroids", x, z, 0.855 * tall, 0.1, 0.0725 * tall, 0.1, skin, **move)
  return [*legs, trunk, head]


def _lighting(draws, domain, lamps):
  light = domain.light
  elevation = jnp.deg2rad(draws(*light.sun_elevation))
  azimuth = draws(0.0, 2 * jnp.pi)
  sun = 1e4 * jnp.stack(
    [
      jnp.cos(elevation) * jnp.sin(azimuth),
      -jnp.sin(elevation),
      jnp.cos(elevation) * jnp.cos(azimuth),
    ]
  )
  strength, near = draws(*light.sun), 0.0
  if light.lamps:  # the nearest lamp casts the shadows; the moon joins the sky
    distance = jnp.where(lamps[:, 3] > 0, lamps[:, 2], _FAR_AWAY)
    nearest = jnp.argmin(distance)
    sun, strength, near = lamps[nearest, :3], lamps[nearest, 3], 1.0
    chosen = jnp.arange(_LAMPS) == nearest
    lamps = lamps.at[:, 3].set(jnp.where(chosen, 0.0, lamps[:, 3]))
  return scene.Lighting(
    position=sun,
    strength=strength,
    near=near,
    colour=jnp.array([1.0, 0.78, 0.48] if light.lamps else light.sun_colour),
    zenith=jnp.array(light.zenith),
    horizon=jnp.array(light.horizon),
    ambient=draws(*light.ambient),
    clouds=draws(*light.clouds),
    lamps=lamps,
    headlights=light.headlights,
    lit_windows=light.lit_windows,
    exposure=draws(*light.exposure),
    saturation=domain.weather.saturation * domain.town.saturation,
    extinction=draws(*domain.weather.extinction),
    seed=jnp.floor(draws(0.0, 9e3)),
  )
