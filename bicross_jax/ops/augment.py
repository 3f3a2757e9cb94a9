"""Augmentation: of spike streams on packed bits (BiCross, `datasets/ekitti.py`), and of RGB frames."""

import jax
import jax.numpy as jnp

_WORDS = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}
_PLANES = 8  # probabilities of single bits are multiples of 2**-8


def strong(
  key: jax.Array,
  packed: jax.Array,
  *,
  groups: int = 8,
  drop: float = 0.1,
  area: tuple[float, float] = (0.01, 0.05),
) -> jax.Array:
  """Shuffles steps within groups, drops spikes, erases one rectangle of each stream.

  Args:
    key: PRNG key.
    packed: uint8[B, H, W, T/8], packed along time (`ops.spikes`).
    groups: the T steps are cut into so many groups of 8, 16 or 32; each is shuffled, all pixels
      of a stream alike.
    drop: share of all entries that are set to "no spike", rounded to 1/256.
    area: range of the erased rectangle's share of the picture; its sides have a ratio between
      0.3 and 3.3 (log-uniform), as torchvision's RandomErasing.

  Returns:
    The same shape.

  Raises:
    ValueError: groups of another length.
  """
  b, h, w, n = packed.shape
  length = 8 * n // groups
  if length not in _WORDS or length * groups != 8 * n:
    raise ValueError(f"{8 * n} steps cannot be shuffled in {groups} groups of 8, 16 or 32")
  shuffling, dropping, erasing = jax.random.split(key, 3)
  grouped = packed.reshape(b, h, w, groups, length // 8)
  if length == 8:
    words = grouped[..., 0]
  else:
    words = jax.lax.bitcast_convert_type(grouped, _WORDS[length])
  words = _shuffle(shuffling, words, length) & ~_random_words(dropping, words, drop)
  words = jnp.where(_rectangle(erasing, b, h, w, area)[..., None], 0, words)
  return jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(b, h, w, n)


def photometric(key: jax.Array, x: jax.Array, strength: float = 1.0) -> jax.Array:
  """Light and sensors of other kinds, drawn anew for every frame; its geometry stays.

  In turn: some of the colour goes (from nothing to all), gamma, contrast and brightness change,
  noise is added. Not in the paper.

  Args:
    key: PRNG key.
    x: float32[B, H, W, 3], RGB in -1..1.
    strength: 1 draws gamma and brightness from exp(-0.4)..exp(0.4), contrast from
      exp(-0.8)..exp(0.4), and noise of up to 0.1 of the range; other values scale these.

  Returns:
    The same shape and range.
  """
  changes, noise = jax.random.split(key)
  drawn = jax.random.uniform(changes, (5, len(x), 1, 1, 1))  # at once: each draw costs kernels
  between = lambda i, low, high: low + (high - low) * drawn[i]

  y = (x + 1) / 2
  grey = sum(y[..., i : i + 1] for i in range(3)) / 3  # XLA has a slow kernel for the mean
  y += drawn[0] * (grey - y)
  spread = 0.4 * strength
  y = jnp.clip(y, 1e-3, 1.0) ** jnp.exp(between(1, -spread, spread))
  mean = y.mean((1, 2, 3), keepdims=True)
  y = mean + (y - mean) * jnp.exp(between(2, -2 * spread, spread))
  y *= jnp.exp(between(3, -spread, spread))
  y += between(4, 0.0, 0.1 * strength) * jax.random.normal(noise, x.shape)
  return jnp.clip(y, 0, 1) * 2 - 1


def _shuffle(key, words, length):
  """Permutes the bits of [B, H, W, G] words, differently for every stream and group."""
  b, _, _, groups = words.shape
  order = jnp.argsort(jax.random.uniform(key, (b, groups, length)), axis=-1).astype(words.dtype)
  out = jnp.zeros_like(words)
  one = words.dtype.type(1)
  for t in range(length):
    bit = (words >> order[:, None, None, :, t]) & one
    out |= bit << words.dtype.type(t)
  return out


def _random_words(key, like, probability):
  """Words of independent bits that are 1 with a probability: one random word a binary digit."""
  digits = round(probability * 2**_PLANES)
  planes = jax.random.bits(key, (_PLANES, *like.shape), like.dtype)
  out = jnp.zeros_like(like)
  for i in range(_PLANES):  # from the least significant digit
    out = (planes[i] | out) if digits >> i & 1 else (planes[i] & out)
  return jnp.full_like(like, ~like.dtype.type(0)) if digits == 2**_PLANES else out


def _rectangle(key, b, h, w, area):
  """bool[B, H, W], True inside one random rectangle of each picture."""
  keys = jax.random.split(key, 4)
  share = jax.random.uniform(keys[0], (b,), minval=area[0], maxval=area[1]) * h * w
  ratio = jnp.exp(jax.random.uniform(keys[1], (b,), minval=jnp.log(0.3), maxval=jnp.log(3.3)))
  height = jnp.clip(jnp.round(jnp.sqrt(share * ratio)), 1, h)
  width = jnp.clip(jnp.round(jnp.sqrt(share / ratio)), 1, w)
  top = jnp.floor(jax.random.uniform(keys[2], (b,)) * (h - height + 1))
  left = jnp.floor(jax.random.uniform(keys[3], (b,)) * (w - width + 1))
  y, x = jnp.arange(h)[None], jnp.arange(w)[None]
  rows = (y >= top[:, None]) & (y < (top + height)[:, None])
  columns = (x >= left[:, None]) & (x < (left + width)[:, None])
  return rows[:, :, None] & columns[:, None, :]
