"""Colour jitter of images, as torchvision's `ColorJitter` does it, on the device.

torchvision rounds to 8 bits after each of the four changes, and here nothing is rounded: results
differ by about a grey level (docs/systems/epcdepth.md).
"""

import jax
import jax.numpy as jnp
import numpy as np

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_SEXTANTS = np.array([5, 3, 1], np.float32)  # in which red, green and blue begin


def jitter(
  key: jax.Array, image: jax.Array, *, strength: float = 0.2, hue: float = 0.1, share: float = 1.0
) -> jax.Array:
  """Changes brightness, contrast, saturation and hue, in an order drawn for every image.

  Args:
    key: PRNG key.
    image: float32[B, H, W, 3], sRGB in 0..1.
    strength: the first three are drawn from 1 - strength .. 1 + strength.
    hue: it is shifted by -hue..hue of its circle.
    share: probability that an image is changed at all.

  Returns:
    The same shape and range.
  """
  keys = jax.random.split(key, 4)
  count = len(image)
  factors = jax.random.uniform(keys[0], (count, 3), minval=1 - strength, maxval=1 + strength)
  shift = jax.random.uniform(keys[1], (count, 1), minval=-hue, maxval=hue)
  amounts = jnp.concatenate([factors, shift], axis=1)
  order = jnp.argsort(jax.random.uniform(keys[2], (count, 4)), axis=1)
  chosen = jax.random.bernoulli(keys[3], share, (count,))

  def one(drawn):
    x, amounts, order, chosen = drawn
    changed = x
    for i in range(4):
      kind = order[i]
      changed = jax.lax.switch(kind, CHANGES, changed, amounts[kind])
    return jnp.where(chosen, changed, x)

  return jax.lax.map(one, (image, amounts, order, chosen))


def brightness(image: jax.Array, factor: jax.Array) -> jax.Array:
  """float[H, W, 3] times a factor, within 0..1."""
  return jnp.clip(factor * image, 0, 1)


def contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
  """The same distances from the mean grey, times a factor, within 0..1."""
  return jnp.clip(factor * image + (1 - factor) * luma(image).mean(), 0, 1)


def saturation(image: jax.Array, factor: jax.Array) -> jax.Array:
  """The distance of every pixel from its grey, times a factor, within 0..1."""
  return jnp.clip(factor * image + (1 - factor) * luma(image)[..., None], 0, 1)


def hue(image: jax.Array, shift: jax.Array) -> jax.Array:
  """The hue of every pixel further along its circle, by a part of it; value and saturation stay."""
  high, low = image.max(-1), image.min(-1)
  chroma = high - low
  red, green, blue = (image[..., i] for i in range(3))
  over = jnp.where(chroma > 0, chroma, 1)
  sextant = jnp.where(
    high == red,
    (green - blue) / over,
    jnp.where(high == green, 2 + (blue - red) / over, 4 + (red - green) / over),
  )
  # Each channel is a trapezium of the hue: low, rising, high for two sextants, falling.
  at = (sextant + 6 * shift)[..., None] + _SEXTANTS[None, None]
  at = at - 6 * jnp.floor(at / 6)
  return high[..., None] - chroma[..., None] * jnp.clip(jnp.minimum(at, 4 - at), 0, 1)


CHANGES = (brightness, contrast, saturation, hue)


def luma(image: jax.Array) -> jax.Array:
  """The grey of sRGB colours, float[..., 3] -> float[...], in the same range (ITU-R BT.601)."""
  return sum(weight * image[..., i] for i, weight in enumerate(_GREY))
