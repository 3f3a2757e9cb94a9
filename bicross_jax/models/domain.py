"""The domain head of BiCross's adversarial alignment: which domain do these features come from?"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class DomainHead(nn.Module):
  """Mean pool, linear, batch norm, ReLU, linear, log softmax: [B, h, w, C] -> float32[B, 2].

  Attributes:
    hidden: channels of the inner layer.
    norm: whether there is a batch norm. It must then see both domains in one call: batch norm of
      one domain alone removes the very shift that the head is to find.
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
  """

  hidden: int = 256
  norm: bool = True
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """With `train`, normalises by the batch and updates `batch_stats` (apply it mutable).

    Raises:
      ValueError: x is not [B, h, w, C].
    """
    if x.ndim != 4:
      raise ValueError(f"expected [B, h, w, C], got {x.shape}")
    x = nn.Dense(self.hidden, name="linear1")(x.astype(jnp.float32).mean((1, 2)))
    if self.norm:
      x = nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=1e-5, axis_name=self.axis_name,
        use_fast_variance=False, dtype=jnp.float32, name="norm",
      )(x)
    return nn.log_softmax(nn.Dense(2, name="linear2")(nn.relu(x)))
