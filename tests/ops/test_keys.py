"""Keys by name."""

import os

import jax
import numpy as np

from bicross_jax.ops.keys import named_key


def _data(key):
  return tuple(int(n) for n in jax.random.key_data(key))


def test_words_are_folded_in_one_after_the_other():
  # CRC-32 of "123456789", the check value of the algorithm's catalogue.
  key = jax.random.key(7)
  expected = jax.random.fold_in(jax.random.fold_in(key, 0xCBF43926), 0)  # crc32 of nothing is 0
  assert _data(named_key(7, "123456789", "")) == _data(named_key(key, "123456789", ""))
  assert _data(named_key(7, "123456789", "")) == _data(expected)


def test_names_have_keys_of_their_own():
  names = [("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",), (), (os.fsdecode(b"\xff"),)]
  keys = {_data(named_key(2**32 - 1, *words)) for words in names}
  assert len(keys) == len(names)
  draws = np.array([jax.random.uniform(named_key(0, str(i))) for i in range(200)])
  assert abs(draws.mean() - 0.5) < 0.1 and len(set(draws.tolist())) == 200
