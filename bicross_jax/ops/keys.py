"""Random keys by name."""

import zlib

import jax


def named_key(key, *words: str):
  """The key of something that has a name: what is drawn for it depends on nothing beside it.

  Args:
    key: a PRNG key, or a seed, an int of 0 .. 2**32 - 1.
    words: names, from the general to the particular; each is folded in as its CRC-32.

  Returns:
    a PRNG key.
  """
  if isinstance(key, int):
    key = jax.random.key(key)
  for word in words:
    # File names that are not UTF-8 reach Python as surrogates.
    key = jax.random.fold_in(key, zlib.crc32(word.encode(errors="surrogateescape")))
  return key
