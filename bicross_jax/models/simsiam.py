"""SimSiam's head (Chen and He 2021) on maps of features, as Akada et al. (2022) have it.

docs/systems/domain_invariant.md, Networks.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers, t2net


class SimSiamOutput(NamedTuple):
  """What the head gives of one view.

  Attributes:
    projected: float32[B, H, W, C], z, what the other view's prediction is compared with.
    predicted: float32[B, H, W, C], p.
  """

  projected: jax.Array
  predicted: jax.Array


class SimSiamHead(nn.Module):
  """Projector and predictor, float[B, H, W, C] -> `SimSiamOutput`: 1x1 convolutions of every pixel.

  The projector has three of C channels, with batch norm and, but for the last, ReLU; the predictor one of C / shrink
  channels with both and one of C.

  Attributes:
    in_channels: C; 12 are those of the depth network's last feature.
    shrink: how many times fewer channels the predictor has inside.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
    dtype: compute type.
  """

  in_channels: int = 12
  shrink: int = 3
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, train: bool = False, views: tuple[bool, ...] = (True,)
  ) -> SimSiamOutput:
    """With `train`, batch norms take the statistics of each of `views` and update `batch_stats` (apply it mutable)."""
    channels = self.in_channels
    t2net.check(x, channels, multiple=1, least=1)

    def layer(name, x, features):
      x = layers.Conv(features, 1, dtype=self.dtype, name=name)(x)
      norm = layers.BatchNorm(train, self.axis_name, views=views, name=f"{name}_norm")
      return norm(x)

    for i in (1, 2):
      x = nn.relu(layer(f"projector{i}", x, channels))
    projected = layer("projector3", x, channels)
    x = nn.relu(layer("predictor1", projected, max(1, channels // self.shrink)))
    x = layers.Conv(channels, 1, dtype=self.dtype, name="predictor2")(x)
    return SimSiamOutput(projected, x.astype(jnp.float32))

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """The authors'."""
    return t2net.INITIALISERS
