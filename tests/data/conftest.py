"""A small world that the tests of the pipeline share."""

import jax
import ml_collections
import numpy as np
import pytest

from tests import built

SIZE = (24, 40)
STEPS = 16


def _world_config(folder) -> ml_collections.ConfigDict:
  return ml_collections.ConfigDict(
    dict(
      name="world",
      domain="clear",
      data_dir=str(folder),
      height=SIZE[0],
      width=SIZE[1],
      steps=STEPS,
      train=24,
      validation=8,
      test=7,
      limit=0,
      labelled=0,
      batch_size=4,
      oversample_labelled=False,
    )
  )


@pytest.fixture(scope="session")
def world_folder():
  return built.folder()


@pytest.fixture
def world_config(world_folder):
  """The `data` section of a small world; a test may change its copy."""
  return _world_config(world_folder)


@pytest.fixture(scope="session")
def world_spec():
  """What batches of the small world hold in most tests."""
  h, w = SIZE
  return {
    "rgb": jax.ShapeDtypeStruct((h, w, 3), np.uint8),
    "spike": jax.ShapeDtypeStruct((h, w, STEPS // 8), np.uint8),
    "depth": jax.ShapeDtypeStruct((h, w), np.float32),
  }
