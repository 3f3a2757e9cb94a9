"""Holes of depth maps filled by several processes."""

from concurrent import futures
import contextlib

import numpy as np
import pytest
from skimage import morphology

from bicross_jax import errors
from bicross_jax.data import filling


def _maps(count):
  rng = np.random.default_rng(0)
  maps = rng.uniform(1, 9, (count, 20, 31)).astype(np.float32)
  maps[rng.random(maps.shape) < 0.3] = 0
  return maps


def _closed(x):
  return morphology.area_closing(x, 24, connectivity=1)


@pytest.mark.parametrize(
  "count, cores, processes", [(10, 9, 0), (200, 2, 1), (200, 4, 3), (70, 1, 0)]
)
def test_maps_are_those_of_scikit_image(count, cores, processes):
  maps = _maps(count)
  with (
    contextlib.closing(filling.Fillers(count, cores)) as fillers,
    futures.ThreadPoolExecutor(4) as pool,
  ):
    assert len(fillers._workers) == processes
    for found, raw in zip(pool.map(fillers.fill, maps[:40]), maps, strict=False):
      np.testing.assert_array_equal(found, _closed(raw))
  assert all(worker._process.returncode == 0 for worker in fillers._workers)


def test_a_process_that_was_killed_is_an_error():
  with contextlib.closing(filling.Fillers(1000, 3)) as fillers:
    for worker in fillers._workers:
      worker._process.kill()
      worker._process.wait()
    with pytest.raises(errors.UserError, match="was killed"):
      fillers.fill(_maps(1)[0])
