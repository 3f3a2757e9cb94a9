"""Random enlargement of pictures and their labels, on the device."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from bicross_jax import fields


def random_zoom(
  key: jax.Array, batch: Mapping[str, jax.Array], scales: Sequence[float]
) -> dict[str, jax.Array]:
  """Cuts a part out of every example and enlarges it to the size of the whole, all its maps alike.

  Pictures are resampled bilinearly, labels by the nearest pixel. Scales below 1, whose pictures would not
  fill the frame, count as 1, as where too small a picture is enlarged to be cut (CoinCheung, DeepLab-v3-plus-cityscapes).

  Args:
    key: PRNG key.
    batch: maps alone, [B, H, W, ...] of one size.
    scales: one of which is drawn for every example.

  Returns:
    The batch with the same shapes and types.
  """
  count, height, width = next(iter(batch.values())).shape[:3]
  keys = jax.random.split(key, 2)
  scale = jnp.maximum(1.0, jax.random.choice(keys[0], jnp.array(scales, jnp.float32), (count,)))
  corner = jax.random.uniform(keys[1], (count, 2)) * (1 - 1 / scale)[:, None]  # shares of the frame

  def one(corner, scale, examples):
    places = [
      (corner[axis] + (jnp.arange(size) + 0.5) / size / scale) * size
      for axis, size in enumerate((height, width))
    ]
    return {name: _sample(name, x, *places) for name, x in examples.items()}

  return jax.vmap(one)(corner, scale, dict(batch))


def _sample(name, x, rows, columns):
  """A map [H, W, ...] at places float[H], float[W], whose pixel k reaches from k to k + 1."""
  if not fields.get(name).smooth:
    return x[jnp.floor(rows).astype(jnp.int32)][:, jnp.floor(columns).astype(jnp.int32)]

  def weights(at, size):
    centre = jnp.clip(at - 0.5, 0, size - 1)
    return jnp.maximum(0, 1 - jnp.abs(centre[:, None] - jnp.arange(size)[None]))

  value = jnp.einsum(
    "ih,jw,hw...->ij...",
    weights(rows, len(rows)),
    weights(columns, len(columns)),
    x.astype(jnp.float32),
  )
  return jnp.round(value).astype(x.dtype)
