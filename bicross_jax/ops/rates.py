"""Firing rates of one set of streams made to look like those of another, pixel by pixel.

Weather and light change how often pixels fire: fog adds light and takes contrast, the more so the
farther a place of the picture usually looks. Mean and spread of the rate in every pixel over a
set are enough to undo much of that without knowing what it was.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from bicross_jax.ops import collective

_LEAST = 1e-3  # of a spread, against pixels that never change


class Moments(NamedTuple):
  """First and second moment of the rate in every pixel: float32[H, W] each.

  The rate is that of windows of eight steps, as network input: -1 is silence, 1 a spike a step.
  """

  mean: jax.Array
  square: jax.Array

  @property
  def spread(self) -> jax.Array:
    """Standard deviation, float32[H, W]."""
    return jnp.sqrt(jnp.maximum(self.square - self.mean**2, _LEAST**2))


def moments(packed: jax.Array, *, axis_name: str | None = None) -> Moments:
  """The moments of streams and their mirror images.

  Args:
    packed: uint8[B, H, W, T/8], packed along time.
    axis_name: the mapped axis the batch is split over, or None.
  """
  rates = jax.lax.population_count(packed).astype(jnp.float32) / 4 - 1
  found = Moments(rates.mean((0, 3)), (rates**2).mean((0, 3)))
  found = jax.tree.map(lambda m: (m + m[:, ::-1]) / 2, found)
  return collective.mean(found, axis_name)


def none_yet(size: tuple[int, int]) -> Moments:
  """What `running` starts from, for streams of (H, W)."""
  return Moments(jnp.zeros(size), jnp.zeros(size))


def running(old: Moments, new: Moments, step: jax.Array, most: float = 0.99) -> Moments:
  """The mean of all moments so far, and later their moving average.

  Args:
    old, new: before, and of the batch of this step.
    step: int32[], 0 at first.
    most: weight of the old, at most.
  """
  keep = jnp.minimum(most, step / (step + 1.0))
  return jax.tree.map(lambda a, b: keep * a + (1 - keep) * b, old, new)


def match(x: jax.Array, here: Moments, there: Moments) -> jax.Array:
  """Network input of streams with the moments `here`, with those `there` instead.

  Args:
    x: float32[B, H, W, C], -1/+1 steps or their means over windows.
    here, there: of the same H and W.

  Returns:
    The same shape; values may leave -1..1.
  """
  gain = there.spread / here.spread
  shift = there.mean - gain * here.mean
  return x * gain[None, ..., None] + shift[None, ..., None]
