import jax
import numpy as np
import pytest

from bicross_jax.train import packing

TREE = {  # large leaves before, between and behind small ones, where three elements are small
  "a": np.arange(8.0).reshape(2, 4),
  "b": np.float32(8),
  "c": np.array([9.0, 10, 11]),
  "d": np.arange(12.0, 16),
  "e": np.array([[16.0]]),
  "f": np.arange(17.0, 22),
}


@pytest.fixture(autouse=True)
def three_are_small(monkeypatch):
  monkeypatch.setattr(packing, "SMALL", 3)


def test_small_leaves_are_one_vector_and_all_come_back():
  leaves = jax.tree.leaves(TREE)
  joined, part = packing.join(leaves)
  assert [x.shape for x in joined] == [(5,), (2, 4), (4,), (5,)]
  np.testing.assert_array_equal(joined[0], [8, 9, 10, 11, 16])
  for have, want in zip(part([10 * x for x in joined]), leaves, strict=True):
    np.testing.assert_array_equal(have, 10 * want)
    assert np.shape(have) == np.shape(want)


def test_groups_apart_and_zeros_for_what_is_left_out():
  packed, unpack = packing.pack(TREE, ["x", "y", None, "y", "x", None])
  assert {name: [np.size(x) for x in own] for name, own in packed.items()} == {
    "x": [1, 8],
    "y": [1, 4],
  }
  got = unpack({"x": [-x for x in packed["x"]], "y": packed["y"]})
  for name, sign in {"a": -1, "b": 1, "c": 0, "d": 1, "e": -1, "f": 0}.items():
    np.testing.assert_array_equal(got[name], sign * TREE[name])


def test_only_large_leaves():
  joined, part = packing.join([TREE["d"]])
  assert len(joined) == 1 and part(joined)[0] is TREE["d"]
