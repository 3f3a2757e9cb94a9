"""What a ray meets: the point, its normal, its texture coordinates and the pixel's footprint."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp

from bicross_jax.sim import scene, shapes
from bicross_jax.sim.shapes import Vec

_BOX, _FRUSTUM, _CYLINDER, _SPHEROID, _GROUND, _HALL = range(6)
_GRAZING = 0.01  # the footprint grows no further below this cosine


class Hit(NamedTuple):
  """The first surface along each ray; every leaf is float32[...] unless noted.

  Attributes:
    t: ray parameter (z-depth for camera rays), shapes.FAR for the sky.
    ground, sky, hall: bool[...], which of the special surfaces it is, if any.
    point: Vec, world axes.
    normal: Vec, world axes, unit, towards the ray's origin.
    local: Vec, the point in the solid's axes, from its centre.
    half: Vec, the solid's half extents.
    side: the local axis (0, 1, 2) nearest to the normal.
    u, v: texture coordinates on that face, metres; v is downwards on upright faces.
    footprint_u, footprint_v: extent of a pixel along them, metres.
    look: scene.Look without its axis N, vectors as tuples of planes.
  """

  t: jnp.ndarray
  ground: jnp.ndarray
  sky: jnp.ndarray
  hall: jnp.ndarray
  point: Vec
  normal: Vec
  local: Vec
  half: Vec
  side: jnp.ndarray
  u: jnp.ndarray
  v: jnp.ndarray
  footprint_u: jnp.ndarray
  footprint_v: jnp.ndarray
  look: scene.Look


def table(world: scene.Scene):
  """A column per surface (centre 3, half 3, turn 2, taper, kind, look 16): float32[26, N + 2]."""
  columns = []
  for kind, s in enumerate(world.solids):
    n = s.taper.shape[0]
    columns.append(
      jnp.concatenate(
        [s.centre, s.half, s.turn, s.taper[:, None], jnp.full((n, 1), float(kind))], 1
      )
    )
  ground = [0.0] * 3 + [1.0] * 3 + [1.0, 0.0, 0.0, float(_GROUND)]
  columns.append(jnp.array([ground]))
  if world.hall is None:
    columns.append(jnp.array([ground]))
  else:
    columns.append(
      jnp.concatenate(
        [world.hall.centre, world.hall.half, jnp.array([1.0, 0.0, 0.0, float(_HALL)])]
      )[None]
    )
  look = [x if x.ndim == 2 else x[:, None] for x in world.look]
  return jnp.concatenate([jnp.concatenate(columns), *look], 1).T


def intersect(world: scene.Scene, origin: Vec, d: Vec, inside: Sequence[Vec] = ()):
  """First crossing of anything: (t float32[...], id int32[...]); the sky has t = shapes.FAR.

  Ids: the N solids, then N the ground, N + 1 the hall's walls and ceiling, or the sky.
  """
  n = sum(shapes.counts(world.solids))
  t, which = shapes.nearest(world.solids, origin, d, inside)
  down = -origin.y / jnp.where(d.y > 1e-6, d.y, 1.0)
  down = jnp.where((d.y > 1e-6) & (down > 0), down, shapes.FAR)
  if world.hall is None:
    which = jnp.where(jnp.minimum(t, down) >= shapes.FAR, n + 1, which)
  else:
    start = Vec(*(o - c for o, c in zip(origin, world.hall.centre)))
    walls = shapes.leave_box(start, d, Vec(*world.hall.half))
    which = jnp.where(walls < t, n + 1, which)
    t = jnp.minimum(t, walls)
  return jnp.minimum(t, down), jnp.where(down < t, n, which)


def hit(
  world: scene.Scene, origin: Vec, d: Vec, step_u: Vec, step_v: Vec, inside: Sequence[Vec] = ()
) -> Hit:
  """Traces rays.

  Args:
    world: the scene.
    origin: Vec of scalars or float32[...].
    d: Vec of float32[...].
    step_u, step_v: Vecs of scalars, change of d from a pixel to the next along the image's axes.
    inside: as in `shapes.nearest`.
  """
  n = sum(shapes.counts(world.solids))
  t, which = intersect(world, origin, d, inside)
  # One gather per row: planes that lie whole in memory, which a gather of columns would not give.
  rows = shapes.once(
    [row.at[which].get(mode="promise_in_bounds") for row in table(world)], world.light.exposure
  )
  centre, half = Vec(*rows[0:3]), Vec(*rows[3:6])
  cos, sin, taper, kind = rows[6:10]
  look = scene.Look(
    tuple(rows[10:13]), tuple(rows[13:15]), tuple(rows[15:19]), tuple(rows[19:22]), *rows[22:26]
  )

  ground, sky = which == n, t >= shapes.FAR
  reach = jnp.where(sky, 1.0, t)
  point = origin + d * reach
  scalar = world.light.exposure
  point, q, way = shapes.once(
    (point, shapes.to_local(point - centre, cos, sin), shapes.to_local(d, cos, sin)), scalar
  )
  normal, side = _normal(kind, q, half, taper)
  normal, side = shapes.once((normal, side), scalar)
  facing = shapes.dot(normal, way)
  low = _GRAZING * shapes.length(way)
  facing = jnp.where(facing < 0, jnp.minimum(facing, -low), jnp.maximum(facing, low))
  footprint_u, footprint_v = 0.0, 0.0
  for step in (step_u, step_v):
    step = shapes.to_local(step, cos, sin)
    shift = (step - way * (shapes.dot(normal, step) / facing)) * reach
    along_u = jnp.where(side == 0, shift.z, shift.x)
    along_v = jnp.where(side == 1, shift.z, shift.y)
    footprint_u = footprint_u + jnp.abs(along_u)
    footprint_v = footprint_v + jnp.abs(along_v)
  footprint_u, footprint_v = shapes.once((footprint_u, footprint_v), scalar)
  return Hit(
    t,
    ground,
    sky,
    kind == _HALL,
    point,
    shapes.to_world(normal, cos, sin),
    q,
    half,
    side,
    jnp.where(side == 0, q.z, q.x),
    jnp.where(side == 1, q.z, q.y),
    footprint_u,
    footprint_v,
    look,
  )


def _normal(kind, q: Vec, half: Vec, taper):
  """Outward unit normal at a surface point in local axes (inward for the hall), and its face."""
  slope = taper / (2 * half.y)
  lean = slope * (half.y - q.y)
  round_ = (kind == _CYLINDER) | (kind == _SPHEROID)
  ax = jnp.abs(q.x) / (half.x - shapes.TAPER_WIDTH * lean)
  az = jnp.abs(q.z) / (half.z - lean)
  ay = jnp.abs(q.y) / half.y
  radial = jnp.sqrt(q.x * q.x + q.z * q.z) / half.x
  cap = jnp.where(kind == _CYLINDER, ay > radial, (ay >= ax) & (ay >= az))
  cap = cap | (kind == _GROUND)
  side = jnp.where(cap, 1.0, jnp.where(ax > az, 0.0, 2.0))

  sx, sy, sz = jnp.sign(q.x), jnp.where(kind == _GROUND, -1.0, jnp.sign(q.y)), jnp.sign(q.z)
  flat = Vec(
    jnp.where(side == 0, sx, 0.0),
    jnp.where(side == 1, sy, -slope * jnp.where(side == 0, shapes.TAPER_WIDTH, 1.0)),
    jnp.where(side == 2, sz, 0.0),
  )
  squash = jnp.where(kind == _CYLINDER, 0.0, (half.x / half.y) ** 2)
  curved = Vec(q.x, q.y * squash, q.z)
  bent = round_ & ~((kind == _CYLINDER) & cap)
  normal = shapes.unit(Vec(*(jnp.where(bent, c, f) for c, f in zip(curved, flat))))
  return normal * jnp.where(kind == _HALL, -1.0, 1.0), side
