"""The numbers that a network learns in place of metres, and the way back (StereoSpike, section 3).

"lin" is metres. "log" maps (0, far] to [0, 1] by the logarithm. "disp" is disparity in pixels. The
equations and the published constants stand in docs/systems/stereospike.md.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

SPACES = ("lin", "log", "disp")
NEAREST = 1e-7  # pixels; the least disparity that is turned into a depth


class LabelSpace(NamedTuple):
  """A label space with its constants.

  Attributes:
    name: of `SPACES`.
    far: metres that "log" maps to 1.
    alpha: what "log" divides the natural logarithm by: far * exp(-alpha) is mapped to 0.
    focal_baseline: focal length in pixels times baseline in metres: disparity times depth.
  """

  name: str = "lin"
  far: float = 10.0
  alpha: float = 6.0
  focal_baseline: float = 7.0 * 19.941772


def encode(space: LabelSpace, depth: jax.Array) -> jax.Array:
  """Depth in metres as labels, float[...] -> float[...]; unknown depth (0) stays finite.

  Raises:
    ValueError: no such space.
  """
  if space.name == "lin":
    return depth
  if space.name == "log":
    near = jnp.maximum(depth, space.far * math.exp(-space.alpha))
    return jnp.minimum(1 + jnp.log(near / space.far) / space.alpha, 1)
  if space.name == "disp":
    return space.focal_baseline / jnp.maximum(depth, NEAREST)
  raise ValueError(f"no label space {space.name!r}; choose from {', '.join(SPACES)}")


def decode(space: LabelSpace, label: jax.Array) -> jax.Array:
  """Labels as depth in metres, the inverse of `encode`: float[...] -> float[...].

  What a network says need not be a label: in "log" it may lie outside 0..1 and goes on beyond
  `far`; disparities are at least `NEAREST`.
  """
  if space.name == "lin":
    return label
  if space.name == "log":
    return space.far * jnp.exp(space.alpha * (label - 1))
  if space.name == "disp":
    return space.focal_baseline / jnp.maximum(label, NEAREST)
  raise ValueError(f"no label space {space.name!r}; choose from {', '.join(SPACES)}")
