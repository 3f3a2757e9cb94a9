"""Sums and means over devices: what they give, and that one device has none."""

import jax
import numpy as np
import pytest

from bicross_jax.ops import collective

TREE = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": np.float32([1, 3])}


@pytest.mark.parametrize("name", ["total", "mean"])
def test_over_an_axis(name):
  found = jax.vmap(lambda tree: getattr(collective, name)(tree, "d"), axis_name="d")(TREE)
  for key, x in TREE.items():
    want = x.sum(0) if name == "total" else x.mean(0)
    np.testing.assert_allclose(found[key], np.stack([want] * 2))


@pytest.mark.parametrize("name", ["total", "mean"])
def test_one_device_and_no_axis_compute_nothing(name):
  operation = getattr(collective, name)
  assert operation(TREE, None) is TREE
  one = jax.make_jaxpr(lambda x: operation(x, "d"), axis_env=[("d", 1)])(1.0)
  assert not one.eqns
  assert len(jax.make_jaxpr(lambda x: operation(x, "d"), axis_env=[("d", 2)])(1.0).eqns) > 0


def test_an_axis_that_is_not_mapped_is_an_error():
  with pytest.raises(NameError, match="unbound axis name"):
    collective.mean(TREE, "d")
