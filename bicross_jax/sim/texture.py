"""Procedural textures in metres, band-limited to the pixel's footprint.

Each function takes surface coordinates and the footprint of a pixel there, and returns the
texture's mean over about that footprint, so that distant texture fades to its mean instead of
aliasing. Periodic patterns are box-filtered exactly; noise drops its octaves one by one.
"""

import jax.numpy as jnp

_OCTAVE_RATIO = 4.0
_OCTAVE_WEIGHTS = (0.5, 0.3, 0.2)


def random(i, j, seed):
  """A random number in [0, 1) per integer cell.

  Args:
    i, j: float32[...] holding whole numbers.
    seed: float32[...] or scalar holding a whole number.
  """
  i, j, seed = (jnp.asarray(x).astype(jnp.int32).astype(jnp.uint32) for x in (i, j, seed))
  h = (i * jnp.uint32(0x9E3779B1)) ^ (j * jnp.uint32(0x85EBCA77)) ^ (seed * jnp.uint32(0xC2B2AE3D))
  h = (h ^ (h >> 15)) * jnp.uint32(0x2C1B3C6D)
  h = (h ^ (h >> 12)) * jnp.uint32(0x297A2D39)
  return ((h ^ (h >> 15)) >> 8).astype(jnp.int32).astype(jnp.float32) * 2.0**-24


def value_noise(u, v, seed):
  """Smooth noise with one lattice point per unit: float32[...] in [0, 1], mean 0.5."""
  i, j = jnp.floor(u), jnp.floor(v)
  a, b = u - i, v - j
  a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
  top = random(i, j, seed) * (1 - a) + random(i + 1, j, seed) * a
  bottom = random(i, j + 1, seed) * (1 - a) + random(i + 1, j + 1, seed) * a
  return top * (1 - b) + bottom * b


def noise(u, v, frequency, footprint, seed):
  """Three octaves of band-limited noise.

  Args:
    u, v: surface coordinates, metres.
    frequency: lattice points per metre of the coarsest octave; each next one has four times
      as many.
    footprint: width of a pixel on the surface, metres (its longer side).
    seed: whole number, another texture for each.

  Returns:
    float32[...] in about [-1, 1], mean 0.
  """
  total = 0.0
  for octave, weight in enumerate(_OCTAVE_WEIGHTS):
    f = frequency * _OCTAVE_RATIO**octave
    visible = jnp.clip(1.5 - 2 * footprint * f, 0, 1)
    total = total + weight * visible * (2 * value_noise(u * f, v * f, seed + octave) - 1)
  return total


def pulse(x, start, stop, footprint):
  """A pulse train of period 1 that is 1 in [start, stop), box-filtered.

  Args:
    x: position in periods.
    start, stop: 0 <= start <= stop <= 1.
    footprint: filter width in periods, > 0.

  Returns:
    float32[...], the covered share of the footprint, in [0, 1].
  """

  def covered(x):
    whole = jnp.floor(x)
    return whole * (stop - start) + jnp.clip(x - whole - start, 0, stop - start)

  footprint = jnp.maximum(footprint, 1e-4)
  share = (covered(x + footprint / 2) - covered(x - footprint / 2)) / footprint
  return jnp.clip(share, 0, 1)


def step(x, footprint):
  """The step from 0 (x < 0) to 1, box-filtered: float32[...]."""
  return jnp.clip(x / jnp.maximum(footprint, 1e-6) + 0.5, 0, 1)


def band(x, start, stop, footprint):
  """1 within [start, stop], box-filtered: float32[...]."""
  footprint = jnp.maximum(footprint, 1e-6)
  high, low = jnp.minimum(x + footprint / 2, stop), jnp.maximum(x - footprint / 2, start)
  return jnp.clip((high - low) / footprint, 0, 1)


def joints(u, v, footprint_u, footprint_v, period_u, period_v, line, shift):
  """The joints of bricks or tiles.

  Args:
    u, v: surface coordinates, metres.
    footprint_u, footprint_v: of a pixel, metres.
    period_u, period_v: size of one brick with its joints, metres.
    line: width of a joint, metres.
    shift: by how many bricks each next row is displaced (0.5 for bricks, 0 for tiles).

  Returns:
    (joint float32[...] share of joint, tone float32[...] random in [-1, 1] per brick, faded out
    where bricks are smaller than the footprint).
  """
  row = jnp.floor(v / period_v)
  along = u / period_u + shift * row
  inside = pulse(along, 0.0, 1 - line / period_u, footprint_u / period_u) * pulse(
    v / period_v, 0.0, 1 - line / period_v, footprint_v / period_v
  )
  visible = jnp.clip(1.5 - 2 * jnp.maximum(footprint_u / period_u, footprint_v / period_v), 0, 1)
  tone = visible * (2 * random(jnp.floor(along), row, 7) - 1)
  return 1 - inside, tone
