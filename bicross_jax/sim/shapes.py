"""Solids and where rays meet them.

World axes: x right, y down, z forward, metres; the ground is the plane y = 0. A solid turns about
the vertical only. Rays are held as three planes (`Vec`), so that every step is elementwise over
pixels; a loop goes over the solids of one kind that may be met. (One kernel with all solids unrolled
into it is not vectorised by XLA's CPU compiler: it is twenty times slower.)
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

FAR = 1e9  # ray parameter of "nothing was hit"
ABSENT = 1e4  # metres below the ground, where solids lie that are not there
_TINY = 1e-9


class Vec(NamedTuple):
  """Three components, each float32[...] of one shape (or a scalar)."""

  x: jnp.ndarray
  y: jnp.ndarray
  z: jnp.ndarray

  def __add__(self, other):
    return Vec(self.x + other.x, self.y + other.y, self.z + other.z)

  def __sub__(self, other):
    return Vec(self.x - other.x, self.y - other.y, self.z - other.z)

  def __mul__(self, scale):
    return Vec(self.x * scale, self.y * scale, self.z * scale)


def dot(a: Vec, b: Vec):
  return a.x * b.x + a.y * b.y + a.z * b.z


def length(a: Vec):
  return jnp.sqrt(dot(a, a))


def unit(a: Vec) -> Vec:
  return a * (1 / jnp.maximum(length(a), _TINY))


def once(tree, scalar):
  """The same planes, computed once and kept in memory for several readers.

  XLA fuses cheap elementwise chains into each of their readers, that is, computes them again for
  every one, through optimization barriers too (they are gone before it fuses). It does not do so
  with divisions, so the planes are divided by a 1 that it cannot foresee.

  Args:
    tree: float32[...] planes.
    scalar: any number known at run time only.
  """
  one = jnp.where(jnp.isnan(scalar), 2.0, 1.0)
  return jax.tree.map(lambda x: x / one, tree)


class Shapes(NamedTuple):
  """N solids of one kind. An absent one lies far below the ground, where no ray comes.

  Attributes:
    centre: float32[N, 3].
    half: float32[N, 3], half extents along the solid's own axes. Cylinders and spheroids are
      round about the vertical: their first entry is the radius, the third equals it.
    turn: float32[N, 2], cosine and sine of the yaw, which turns the solid's z axis towards +x.
    taper: float32[N], by how much the half length (third entry) is smaller at the top of a
      frustum than at its bottom; its half width shrinks by a third of that. 0 elsewhere.
    velocity: float32[N, 3], metres a second.
  """

  centre: jnp.ndarray
  half: jnp.ndarray
  turn: jnp.ndarray
  taper: jnp.ndarray
  velocity: jnp.ndarray


class Solids(NamedTuple):
  """All solids of a scene by kind; ids count through boxes, frusta, cylinders, spheroids."""

  boxes: Shapes
  frusta: Shapes
  cylinders: Shapes
  spheroids: Shapes


def moved(solids: Solids, time) -> Solids:
  """The solids `time` seconds later."""
  return Solids(*(s._replace(centre=s.centre + time * s.velocity) for s in solids))


def counts(solids: Solids) -> tuple[int, ...]:
  """How many solids of each kind there are."""
  return tuple(s.taper.shape[0] for s in solids)


TAPER_WIDTH = 1 / 3  # a frustum's taper in width over that in length


def to_local(v: Vec, cos, sin) -> Vec:
  """A world direction in the axes of a solid of yaw (cos, sin)."""
  return Vec(cos * v.x - sin * v.z, v.y, sin * v.x + cos * v.z)


def to_world(v: Vec, cos, sin) -> Vec:
  """The inverse of `to_local`."""
  return Vec(cos * v.x + sin * v.z, v.y, cos * v.z - sin * v.x)


def _inverse(d):
  return 1 / jnp.where(jnp.abs(d) < _TINY, _TINY, d)


def hit_box(o: Vec, d: Vec, half: Vec):
  """First crossing of an origin-centred box: ray parameter float32[...], FAR for a miss."""
  ix, iy, iz = _inverse(d.x), _inverse(d.y), _inverse(d.z)
  rx, ry, rz = jnp.abs(ix) * half.x, jnp.abs(iy) * half.y, jnp.abs(iz) * half.z
  mx, my, mz = -o.x * ix, -o.y * iy, -o.z * iz
  enter = jnp.maximum(jnp.maximum(mx - rx, my - ry), mz - rz)
  leave = jnp.minimum(jnp.minimum(mx + rx, my + ry), mz + rz)
  return jnp.where((enter < leave) & (enter > 0), enter, FAR)


def leave_box(o: Vec, d: Vec, half: Vec):
  """Where a ray that starts inside an origin-centred box leaves it."""
  ix, iy, iz = _inverse(d.x), _inverse(d.y), _inverse(d.z)
  return jnp.minimum(
    jnp.minimum(jnp.abs(ix) * half.x - o.x * ix, jnp.abs(iy) * half.y - o.y * iy),
    jnp.abs(iz) * half.z - o.z * iz,
  )


def hit_frustum(o: Vec, d: Vec, half: Vec, taper):
  """First crossing of an origin-centred box whose sides lean inwards towards the top (-y)."""
  enter, leave = -FAR, FAR
  for along, start, size, amount in (
    (d.z, o.z, half.z, taper),
    (d.x, o.x, half.x, taper * TAPER_WIDTH),
  ):
    slope = amount / (2 * half.y)
    room = size - slope * (half.y - o.y)  # half extent at the ray's start
    for sign in (1, -1):
      rate = _inverse(sign * along - slope * d.y)
      t = (room - sign * start) * rate
      enter = jnp.where(rate < 0, jnp.maximum(enter, t), enter)
      leave = jnp.where(rate > 0, jnp.minimum(leave, t), leave)
  iy = _inverse(d.y)
  ry, my = jnp.abs(iy) * half.y, -o.y * iy
  enter, leave = jnp.maximum(enter, my - ry), jnp.minimum(leave, my + ry)
  return jnp.where((enter < leave) & (enter > 0), enter, FAR)


def hit_cylinder(o: Vec, d: Vec, radius, half_height):
  """First crossing of an origin-centred upright cylinder with caps."""
  a = jnp.maximum(d.x * d.x + d.z * d.z, _TINY)
  closest = -(o.x * d.x + o.z * d.z) / a
  nx, nz = o.x + closest * d.x, o.z + closest * d.z
  room = radius * radius - (nx * nx + nz * nz)
  reach = jnp.sqrt(jnp.maximum(room, 0) / a)
  iy = _inverse(d.y)
  ry, my = jnp.abs(iy) * half_height, -o.y * iy
  enter = jnp.maximum(closest - reach, my - ry)
  leave = jnp.minimum(closest + reach, my + ry)
  return jnp.where((room > 0) & (enter < leave) & (enter > 0), enter, FAR)


def hit_spheroid(o: Vec, d: Vec, radius, half_height):
  """First crossing of an origin-centred spheroid that is round about the vertical."""
  squash = radius / half_height
  o, d = Vec(o.x, o.y * squash, o.z), Vec(d.x, d.y * squash, d.z)
  a = dot(d, d)
  closest = -dot(o, d) / a
  room = radius * radius - dot(o + d * closest, o + d * closest)
  enter = closest - jnp.sqrt(jnp.maximum(room, 0) / a)
  return jnp.where((room > 0) & (enter > 0), enter, FAR)


def _hit(kind: str, shape: Shapes, o: Vec, d: Vec):
  """Ray parameter float32[...] where rays meet one solid (`shape` without its axis N)."""
  start = Vec(o.x - shape.centre[0], o.y - shape.centre[1], o.z - shape.centre[2])
  half = Vec(shape.half[0], shape.half[1], shape.half[2])
  if kind == "cylinders":
    return hit_cylinder(start, d, half.x, half.y)
  if kind == "spheroids":
    return hit_spheroid(start, d, half.x, half.y)
  start, d = to_local(start, *shape.turn), to_local(d, *shape.turn)
  if kind == "boxes":
    return hit_box(start, d, half)
  return hit_frustum(start, d, half, shape.taper)


def nearest(solids: Solids, o: Vec, d: Vec, inside: Sequence[Vec] = ()):
  """The first solid along each ray.

  Args:
    solids: of one scene.
    o: origins, scalars or float32[...].
    d: directions float32[...]; need not be of unit length.
    inside: normals (of scalars) of planes through `o`, then one point; all rays go to the side that
      they point to, so that solids wholly on the other side of one need not be looked at.

  Returns:
    (t float32[...], the ray parameter, FAR where nothing is hit; id int32[...]).
  """
  found = jnp.full_like(d.x, FAR), jnp.zeros(d.x.shape, jnp.int32)
  first = 0
  for kind, shapes in zip(Solids._fields, solids):

    def closer(found, shape, i, kind=kind, first=first):
      best, which = found
      t = _hit(kind, shape, o, d)
      return jnp.minimum(best, t), jnp.where(t < best, first + i, which)

    found = _fold(closer, found, shapes, _reach(shapes, o, inside))
    first += shapes.taper.shape[0]
  return found


def blocked(solids: Solids, o: Vec, d: Vec):
  """Whether any solid lies between o and o + d: bool[...]."""
  best = jnp.full_like(d.x, FAR)
  for kind, shapes in zip(Solids._fields, solids):
    closer = lambda best, shape, _, kind=kind: jnp.minimum(best, _hit(kind, shape, o, d))
    best = _fold(closer, best, shapes, _present(shapes))
  return best < 1


def _present(shapes: Shapes):
  """bool[N]: those that are there."""
  return shapes.centre[:, 1] < ABSENT / 2


def _reach(shapes: Shapes, o: Vec, inside: Sequence[Vec]):
  """bool[N]: those that are there and whose sphere reaches to the inner side of all planes."""
  reached = _present(shapes)
  radius = 1.001 * jnp.sqrt((shapes.half**2).sum(-1)) + 1e-3  # more than rounding errors
  for normal in inside:
    from_plane = (shapes.centre - jnp.stack(o)[None]) @ jnp.stack(normal)
    reached &= from_plane > -radius * length(normal)
  return reached


def _fold(step, carry, shapes: Shapes, chosen):
  """carry = step(carry, shape, its number) for each chosen solid in turn."""

  def one(carry, xs):
    shape, i, here = xs
    return jax.lax.cond(here, step, lambda carry, *_: carry, carry, shape, i), None

  return jax.lax.scan(one, carry, (shapes, jnp.arange(len(chosen)), chosen))[0]
