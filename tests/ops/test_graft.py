"""Data grafting: what rows come from where, and who may be a partner."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import graft

HEIGHT, ROWS = 12, 6
GROUP = jnp.asarray([True, False, True, True, False, True])


def _maps():
  """Two maps whose pixels say which example and which row they are from."""
  example = jnp.arange(ROWS)[:, None, None] * jnp.ones((1, HEIGHT, 2), jnp.int32)
  row = jnp.arange(HEIGHT)[None, :, None] * jnp.ones((ROWS, 1, 2), jnp.int32)
  return {"example": example, "row": row}


def test_rows_keep_together_and_partners_are_of_the_group():
  run = jax.jit(lambda key: graft.graft(key, _maps(), GROUP))
  shares, tops, moved = set(), set(), 0
  for seed in range(60):
    out = {name: np.asarray(x)[..., 0] for name, x in run(jax.random.key(seed)).items()}
    assert (out["row"] == out["row"][:1]).all()  # all examples alike
    rows = out["row"][0]
    top = int(rows[0])
    np.testing.assert_array_equal(rows, (np.arange(HEIGHT) + top) % HEIGHT)
    by_row = out["example"][:, np.argsort(rows)]  # in the order of the rows they are from
    own = [int((by_row[i] == i).sum()) for i in range(ROWS)]
    assert (np.asarray(GROUP)[by_row] == np.asarray(GROUP)[:, None]).all()
    share = min(own)
    for i in range(ROWS):
      assert (by_row[i, :share] == i).all() and len(set(by_row[i, share:])) <= 1
    if share < HEIGHT:
      moved += 1
      shares.add(share)
      tops.add(top)
      assert top in (0, share)
    else:
      assert top == 0
  assert shares == {2, 4, 7, 9}  # of 12 rows, whole numbers of 1/5, 2/5, 3/5, 4/5
  assert tops == {0, 2, 4, 7, 9}
  assert 36 <= moved <= 58  # 4 of 5 times


def test_partners_are_a_permutation_within_each_group():
  found = {tuple(np.asarray(graft.partners(jax.random.key(seed), GROUP))) for seed in range(80)}
  for partner in found:
    assert sorted(partner) == list(range(ROWS))
    assert (np.asarray(GROUP)[list(partner)] == np.asarray(GROUP)).all()
  assert len(found) > 30  # of 4! * 2! = 48


@pytest.mark.parametrize("value", [True, False])
def test_one_group_alone(value):
  partner = graft.partners(jax.random.key(0), jnp.full((ROWS,), value))
  assert sorted(np.asarray(partner)) == list(range(ROWS))
