"""Least-squares adversarial losses (Mao et al., ICCV 2017), pooled over `axis_name`."""

import jax

from bicross_jax.losses import pooled


def fool(fake: jax.Array, *, axis_name: str | None = None) -> jax.Array:
  """What a generator pays where its critic does not say 1: mean (fake - 1)^2, float32[].

  Args:
    fake: the critic's scores of what is generated, float32[...].
    axis_name: the mapped axis the batch is split over, or None.
  """
  return pooled.mean((fake - 1) ** 2, axis_name)


def tell_apart(real: jax.Array, fake: jax.Array, *, axis_name: str | None = None) -> jax.Array:
  """What a critic pays: half of mean (real - 1)^2 + mean fake^2, float32[].

  Args:
    real, fake: its scores, float32[...].
    axis_name: the mapped axis the batch is split over, or None.
  """
  return (pooled.mean((real - 1) ** 2, axis_name) + pooled.mean(fake**2, axis_name)) / 2
