"""A small network that all tests of conversion share."""

import jax
import numpy as np
import pytest

from bicross_jax import convert, models


@pytest.fixture(scope="session")
def nano():
  """Random variables of the smallest `dpt` with RGB input, NumPy arrays."""
  module = models.create("dpt", backbone="nano")
  shapes = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64, 64, 3), "f"))
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: 0.03 * rng.standard_normal(x.shape, np.float32), shapes)


@pytest.fixture(scope="session")
def published(nano):
  """The same under the names of isl-org's DPT and BiCross."""
  return convert.to_torch("dpt", nano)
