"""DRN-D-54, a dilated residual network (Yu, Koltun and Funkhouser 2017), as a backbone of DeepLab."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import layers, resnet

# Levels of one convolution: kernel, channels, stride, dilation. The last two, without shortcuts,
# are there against gridding (Yu et al. 2017, section 4).
BEFORE = ((7, 16, 1, 1), (3, 16, 1, 1), (3, 32, 2, 1))
AFTER = ((3, 512, 1, 2), (3, 512, 1, 1))
# Levels of bottlenecks: their number, width of the 3x3, stride, dilation.
RESIDUAL = ((3, 64, 2, 1), (4, 128, 2, 1), (6, 256, 1, 2), (3, 512, 1, 4))
OUTPUT_STRIDE = 8


class DRN(nn.Module):
  """Nine levels -> the map at 1/8 of the resolution, and that of level 3, at 1/4.

  Attributes:
    divisor: widths are those of the published network divided by it.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  divisor: int = 1
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    given = dict(axis_name=self.axis_name, dtype=self.dtype)

    def plain(x, first, levels):
      for level, (kernel, width, stride, dilation) in enumerate(levels, first):
        width, name = layers.narrow(width, self.divisor), f"_level{level}"
        y = layers.conv_norm(x, width, kernel, stride, dilation, name=name, train=train, **given)
        x = nn.relu(y)
      return x

    x, maps = plain(x, 0, BEFORE), []
    for level, (blocks, width, stride, dilation) in enumerate(RESIDUAL, len(BEFORE)):
      for i in range(blocks):
        make = resnet.Block(
          layers.narrow(width, self.divisor),
          bottleneck=True,
          stride=stride if i == 0 else 1,
          dilation=dilation,
          project=i == 0,
          name=f"stage{level}_{i}",
          **given,
        )
        x = make(x, train=train)
      maps.append(x)
    return plain(x, len(BEFORE) + len(RESIDUAL), AFTER), maps[0]
