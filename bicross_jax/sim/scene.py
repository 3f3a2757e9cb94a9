"""What a scene consists of, and the tools that draw one.

`sim/street.py` and `sim/room.py` draw scenes; `sim/render.py` looks at them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.sim import shapes

# EvDistill's six classes (the grouping of Ev-SegNet for DDD17).
FLAT, CONSTRUCTION, OBJECT, NATURE, HUMAN, VEHICLE, IGNORE = 0, 1, 2, 3, 4, 5, 255
PLAIN, CAR_BODY, CAR_CABIN = 0, 1, 2


class Look(NamedTuple):
  """The appearance of N surfaces; every leaf has the leading axis N.

  Attributes:
    colour: float32[N, 3], linear albedo.
    noise: float32[N, 2], lattice points per metre of the coarsest octave; relative contrast.
    joints: float32[N, 4], bricks or tiles: width, height, joint (metres), shift per row. A joint
      of 0 means none.
    windows: float32[N, 3]: column width, storey height (metres), covered share; share 0 for none.
    part: float32[N], PLAIN, CAR_BODY or CAR_CABIN.
    emission: float32[N], radiance of a glowing surface over its albedo.
    label: float32[N], class.
    seed: float32[N], whole number, another texture for each.
  """

  colour: jnp.ndarray
  noise: jnp.ndarray
  joints: jnp.ndarray
  windows: jnp.ndarray
  part: jnp.ndarray
  emission: jnp.ndarray
  label: jnp.ndarray
  seed: jnp.ndarray


class Road(NamedTuple):
  """The layout of a street's ground across (s, from the centre line) and along (z), metres.

  Attributes:
    curve: the street's centre line is x = curve * z^2.
    lane: width of one of the two lanes.
    half: from the centre line to the kerb.
    sidewalk: width of the paved strip beyond the kerb.
    grass: 1 where grass grows beyond the sidewalk, 0 where it is paved.
    zebra: z of a zebra crossing's near edge (beyond the far limit where there is none).
    dash: period of the centre line's dashes.
  """

  curve: jnp.ndarray
  lane: jnp.ndarray
  half: jnp.ndarray
  sidewalk: jnp.ndarray
  grass: jnp.ndarray
  zebra: jnp.ndarray
  dash: jnp.ndarray


class Hall(NamedTuple):
  """The inside of a room: centre and half extents, float32[3] each."""

  centre: jnp.ndarray
  half: jnp.ndarray


class Lighting(NamedTuple):
  """Light of a scene, relative to a white surface at exposure 1.

  The fields typed as float are the domain's own numbers, not arrays: what a domain does not have
  (head lamps, lit windows) costs nothing.

  Attributes:
    position: float32[3] of the one light that casts shadows (the sun is far away).
    strength: irradiance of the sun; of a lamp (near = 1), that at 1 m.
    near: 1 for a lamp, whose light falls with distance, 0 for the sun.
    colour, zenith, horizon: float32[3], of that light and of the sky.
    ambient: irradiance of sky light.
    clouds: contrast of clouds.
    lamps: float32[L, 4], position and radiant intensity of lamps without shadows.
    headlights: radiant intensity of head lamps at the camera.
    lit_windows: share of windows with light behind.
    exposure: factor from radiance to full well.
    saturation: factor on the saturation of the whole picture.
    extinction: 1/m.
    seed: whole number, of clouds and rain.
  """

  position: jnp.ndarray
  strength: jnp.ndarray
  near: float
  colour: jnp.ndarray
  zenith: jnp.ndarray
  horizon: jnp.ndarray
  ambient: jnp.ndarray
  clouds: jnp.ndarray
  lamps: jnp.ndarray
  headlights: float
  lit_windows: float
  exposure: jnp.ndarray
  saturation: float
  extinction: jnp.ndarray
  seed: jnp.ndarray


class Scene(NamedTuple):
  """A drawn scene.

  Attributes:
    solids: the solids at the middle of the window.
    look: of the N solids in the order of their ids, then of the ground (or floor), then of the
      hall's walls (or nothing): N + 2 rows.
    road: layout of the ground of a street, None in a room.
    hall: None in a street.
    light: illumination and air.
  """

  solids: shapes.Solids
  look: Look
  road: Road | None
  hall: Hall | None
  light: Lighting


class Draws:
  """Uniform random numbers, handed out one after the other from one draw."""

  def __init__(self, key, size: int = 640):
    self._values = jax.random.uniform(key, (size,))
    self._used = 0

  def __call__(self, low=0.0, high=1.0, shape: tuple[int, ...] = ()):
    """float32[shape] in [low, high), whose bounds are numbers or arrays of that shape."""
    n = int(np.prod(shape))
    if self._used + n > self._values.shape[0]:
      raise ValueError(f"more than {self._values.shape[0]} random numbers drawn")
    values = self._values[self._used : self._used + n].reshape(shape)
    self._used += n
    return low + (high - low) * values

  def chance(self, probability, shape: tuple[int, ...] = ()):
    """bool[shape], true with that probability."""
    return self(shape=shape) < probability

  def sign(self, shape: tuple[int, ...] = ()):
    """float32[shape], -1 or 1."""
    return jnp.where(self.chance(0.5, shape), 1.0, -1.0)

  def choice(self, rows, n: int):
    """n rows of a constant table: [R, C] -> float32[n, C]."""
    rows = jnp.asarray(rows, jnp.float32)
    return rows[(self(shape=(n,)) * rows.shape[0]).astype(jnp.int32)]

  def spread(self, low: float, high: float, n: int):
    """n values, one in each of n parts of [low, high) of equal ratio, in rising order."""
    u = (jnp.arange(n) + self(shape=(n,))) / n
    return low * (high / low) ** u


class Group(NamedTuple):
  """n solids of one kind and their look."""

  kind: str
  shapes: shapes.Shapes
  look: Look


def look(
  n: int,
  colour,
  label: int,
  *,
  noise=(1.0, 0.1),
  joints=(1.0, 1.0, 0.0, 0.0),
  windows=(1.0, 1.0, 0.0),
  part: int = PLAIN,
  emission=0.0,
  seed=0.0,
) -> Look:
  """The look of n surfaces; every value is one for all or an array with one row each."""

  def rows(x, *width):
    x = jnp.asarray(x, jnp.float32)
    return x if x.ndim == 1 + len(width) else jnp.broadcast_to(x[None], (n, *width))

  return Look(
    rows(colour, 3),
    rows(noise, 2),
    rows(joints, 4),
    rows(windows, 3),
    rows(float(part)),
    rows(emission),
    rows(float(label)),
    rows(seed),
  )


def group(
  kind: str,
  x,
  z,
  bottom,
  half_x,
  half_y,
  half_z,
  surface: Look,
  *,
  present=True,
  yaw=0.0,
  taper=0.0,
  velocity_x=0.0,
  velocity_z=0.0,
) -> Group:
  """n solids standing upright.

  Args:
    kind: a field of `Solids`.
    x, z: float32[n], of their axes.
    bottom: elevation of the bottom above the ground, metres (upwards positive).
    half_x, half_y, half_z: half extents.
    surface: their look.
    present: bool[n], which of them exist.
    yaw, taper, velocity_x, velocity_z: as in `Shapes`.
  """
  n = surface.label.shape[0]

  def each(v):
    v = jnp.asarray(v, jnp.float32)
    return v if v.ndim else jnp.broadcast_to(v[None], (n,))

  x, z, bottom, half_x, half_y, half_z, yaw, taper, velocity_x, velocity_z = map(
    each, (x, z, bottom, half_x, half_y, half_z, yaw, taper, velocity_x, velocity_z)
  )
  here = jnp.asarray(present)
  here = here if here.ndim else jnp.broadcast_to(here[None], (n,))
  y = jnp.where(here, -(bottom + half_y), shapes.ABSENT)
  return Group(
    kind,
    shapes.Shapes(
      centre=jnp.stack([x, y, z], 1),
      half=jnp.where(here[:, None], jnp.stack([half_x, half_y, half_z], 1), 1e-2),
      turn=jnp.stack([jnp.cos(yaw), jnp.sin(yaw)], 1),
      taper=jnp.where(here, taper, 0.0),
      velocity=jnp.stack([velocity_x, jnp.zeros(n), velocity_z], 1),
    ),
    surface,
  )


def assemble(groups: list[Group], ground: Look, walls: Look) -> tuple[shapes.Solids, Look]:
  """All groups as `Solids`, and the look of each id followed by the ground's and the walls'."""

  def concatenate(trees):
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *trees)

  kinds = [[g for g in groups if g.kind == kind] for kind in shapes.Solids._fields]
  solids = shapes.Solids(*(concatenate([g.shapes for g in kind]) for kind in kinds))
  surfaces = concatenate([g.look for kind in kinds for g in kind] + [ground, walls])
  # Drawn once, not again for every pixel that reads them.
  return jax.lax.optimization_barrier((solids, surfaces))


def hue(h, saturation, value):
  """Colours on the wheel: hue float32[n] in 0..1 -> linear RGB float32[n, 3]."""
  offsets = jnp.array([0.0, 2 / 3, 1 / 3])
  wave = jnp.clip(jnp.abs(((h[:, None] + offsets[None]) % 1.0) * 6 - 3) - 1, 0, 1)
  saturation, value = (
    jnp.broadcast_to(jnp.asarray(v), h.shape)[:, None] for v in (saturation, value)
  )
  return value * (1 - saturation * (1 - wave))
