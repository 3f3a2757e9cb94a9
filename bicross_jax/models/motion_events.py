"""A generator of event images that knows how events come about: brightness that moves.

Ours; docs/systems/evdistill.md, Networks. A pixel tells of every change of its log intensity by a threshold
(Lichtsteiner et al. 2008), and over a short window a scene changes because it moves (Gallego et al. 2018). What one
frame does not say is the motion: it is what this network learns.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers
from bicross_jax.models.translator import TranslatorOutput
from bicross_jax.ops import resize, warp

RNG = "motion"  # name of the random numbers
_FARTHEST = 8.0  # pixels of motion in a window, at most
_DARK = 0.02  # intensity that is added before the logarithm
_THRESHOLD = 0.2  # change of log intensity that makes an event, at first
_GAMMA = 2.2  # from sRGB to light
_SPREAD = 0.5  # deviation of the logarithm of how fast a window is, around what is learned
_TURN = (1.5, 0.5)  # deviation of what a turn of the camera adds everywhere, pixels right and down
_EMPTY = 1e-3  # events


class MotionEvents(nn.Module):
  """A frame in -1..1, float[B, H, W, C] -> `TranslatorOutput` of an event image [B, H, W, 2] in -1..1.

  A small network says how every pixel moves in the window. The frame is moved back along that motion
  in some steps; rises of log intensity between two of them are positive events, falls negative ones, each
  over a threshold that is learned. As in an event image each polarity is on the scale of its largest count;
  negative events come first. The bottleneck is the motion, float32[B, H, W, 2] in pixels, right and down.

  With random numbers "motion" a window is faster or slower, the camera turns, and pixels begin anywhere between
  two thresholds; without, it is what is learned, and they begin in the middle. H and W are multiples of 8.

  Attributes:
    in_channels: of the frame, grey or colours.
    width: channels of the network.
    steps: into which the window is cut.
    dtype: compute type of the network.
  """

  in_channels: int = 1
  width: int = 16
  steps: int = 3
  dtype: Any = jnp.float32

  INITIALISERS: initialise.Rules = (
    ("log_threshold$", initialise.constant(math.log(_THRESHOLD))),
    *initialise.TORCH,
  )

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> TranslatorOutput:
    """`train` changes nothing here."""
    del train
    count, height, width, _ = x.shape
    key = self.make_rng(RNG) if self.has_rng(RNG) else None
    motion = self._motion(x)
    begin = 0.5
    if key is not None:
      keys = jax.random.split(key, 3)
      pace = jnp.exp(_SPREAD * jax.random.normal(keys[0], (count, 1, 1, 1)))
      turn = jnp.array(_TURN)[None, None, None] * jax.random.normal(keys[1], (count, 1, 1, 2))
      motion = pace * motion + turn
      begin = jax.random.uniform(keys[2], (count, height, width, 2))
    light = ((x.mean(-1, keepdims=True) + 1) / 2) ** _GAMMA
    level = jnp.log(light + _DARK)
    grid = jnp.stack(jnp.meshgrid(jnp.arange(width), jnp.arange(height)), axis=-1)[None]
    # What is here now was there before: views further and further back in time.
    views = [warp.sample(level, grid + k / self.steps * motion) for k in range(self.steps + 1)]
    threshold = jnp.exp(self.param("log_threshold", nn.initializers.zeros, (2,)))
    changes = jnp.stack([a - b for a, b in zip(views, views[1:])])[..., 0]  # to the present
    both = jnp.stack([nn.relu(-changes), nn.relu(changes)], axis=-1).sum(0)
    events = nn.relu(both / threshold[None, None, None] - begin)
    largest = jax.lax.stop_gradient(events.max((1, 2), keepdims=True))
    return TranslatorOutput(2 * events / (largest + _EMPTY) - 1, motion)

  @nn.nowrap
  def _motion(self, x):
    """How every pixel moves, float32[B, H, W, 2], from what is seen where."""
    count, height, width, _ = x.shape
    across, down = jnp.meshgrid(jnp.linspace(-1, 1, width), jnp.linspace(-1, 1, height))
    where = jnp.broadcast_to(jnp.stack([across, down], -1)[None], (count, height, width, 2))
    y = jnp.concatenate([x, where], axis=-1)
    for i in range(3):
      y = layers.mean_pool(y)
      y = nn.relu(layers.Conv(self.width, 3, dtype=self.dtype, name=f"conv{i}")(y))
    y = layers.Conv(2, 3, dtype=self.dtype, name="motion")(y).astype(jnp.float32)
    return _FARTHEST * jnp.tanh(resize.bilinear(y, (height, width)))
