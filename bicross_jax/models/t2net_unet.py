"""The depth network of T2Net (Zheng et al. 2018), which Akada et al. (2022) keep as an alternative.

docs/systems/domain_invariant.md, Networks.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers, t2net

_CENTRE = 3  # residual blocks in the middle, and convolutions side by side in each
# Of the decoder from the deepest level on: what the encoder's map beside it is multiplied by, channels inside
# and out as multiples of the first layer's.
_LEVELS = ((0.1, 8, 2), (0.05, 4, 1), (0.01, 2, 0.5))


class T2NetUNetOutput(NamedTuple):
  """What the network gives.

  Attributes:
    depth: float32[B, H, W], what tanh leaves, in -1..1: 2 metres / greatest depth - 1.
    depths: the same at 1/8, 1/4, 1/2 and 1/1 of the resolution, the last of them `depth`.
    feature: dtype[B, H/16, W/16, 8 width], what the middle of the network reads.
  """

  depth: jax.Array
  depths: tuple[jax.Array, ...]
  feature: jax.Array


class T2NetUNet(nn.Module):
  """The network, float[B, H, W, 3] in -1..1 -> `T2NetUNetOutput`.

  H and W are multiples of 16 and at least 96: the middle mirrors 5 pixels at 1/16 of the resolution.

  Attributes:
    width: channels of the first layer; 4 compiles in seconds and is for tests.
    norm: "batch" or "instance".
    activation: "prelu" with one slope for the network, "relu" or "leaky_relu".
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  width: int = 64
  norm: str = "batch"
  activation: str = "prelu"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  in_channels = 3

  @nn.compact
  def __call__(
    self, x: jax.Array, train: bool = False, views: tuple[bool, ...] = (True,)
  ) -> T2NetUNetOutput:
    """With `train`, batch norms take the statistics of each of `views` and update `batch_stats` (apply it mutable)."""
    t2net.check(x, self.in_channels, multiple=16, least=96)
    style = t2net.style(self, train, views)
    maps = [layers.mean_pool(style.layer(1, x, self.width, 7, reflect=True))]
    for i in (1, 2, 3):
      block = t2net.Down(2**i * self.width, name=f"down{i + 1}")
      maps.append(layers.mean_pool(block(maps[-1], style)))
    x = feature = maps.pop()
    for i in range(_CENTRE):
      x = t2net.Residual(_CENTRE, name=f"center{i}")(x, style)
    x = t2net.Up(8 * self.width, 4 * self.width, name="center_up")(x, style)
    depths = []
    for level, (weight, middle, features) in zip((4, 3, 2), _LEVELS, strict=True):
      x = self._beside(x, maps.pop() * weight, depths)
      depths.append(t2net.Out(1, 3, name=f"output{level}")(x, style))
      up = t2net.Up(middle * self.width, int(features * self.width), name=f"deconv{level}")
      x = up(x, style)
    depths.append(t2net.Out(1, 7, name="output1")(self._beside(x, None, depths), style))
    depths = tuple(depth[..., 0] for depth in depths)
    return T2NetUNetOutput(depths[-1], depths, feature)

  @nn.nowrap
  def _beside(self, x, skip, depths):
    """A map, that of the encoder and the last depth, every pixel of it as 2x2, where there are."""
    parts = [x] if skip is None else [x, skip]
    if depths:
      parts.append(depths[-1].repeat(2, axis=1).repeat(2, axis=2))
    return jnp.concatenate([part.astype(self.dtype) for part in parts], axis=-1)

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """The authors'."""
    return t2net.INITIALISERS
