"""StereoSpike's analogue network: layers are sequences of convolution, activation and batch norm."""

from bicross_jax.convert import stereospike
from bicross_jax.convert.naming import batch_norm

NETWORK = stereospike.network(
  "StereoSpike's analogue network",
  [
    *stereospike.convolutions(),
    *batch_norm("bottom.2", "bottom_norm"),
    *batch_norm("conv{}.2", "conv{}_norm"),
    *batch_norm("bottleneck.{}.conv{}.2", "bottleneck_{}_conv{}_norm"),
    *batch_norm("deconv{}.2", "deconv{}_norm"),
  ],
)
