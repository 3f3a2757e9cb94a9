"""A part of a saved state, read without the rest."""

import jax
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.train import checkpoints
from bicross_jax.train.state import TrainState


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """(folder of a checkpoint, the state in it)."""
  run = tmp_path_factory.mktemp("run")
  rng = np.random.default_rng(0)
  params = {
    name: {"dense": {"kernel": rng.normal(size=(3, 4)).astype(np.float32)}}
    for name in ("student", "head")
  }
  state = TrainState(
    step=np.int32(7),
    params=params,
    batch_stats={},
    opt_state=({"mu": params}, np.int32(7)),
    teacher={"params": params["head"]},
  )
  meta = {"step": 7, "which": "teacher", "metric": {}, "metrics": {}, "config": {}}
  with checkpoints.Checkpoints(run) as store:
    store.save(7, state, {"params": params["head"], "batch_stats": {}}, meta, None)
  return run / "checkpoints" / "7", state


def test_a_part_is_what_was_saved(saved):
  folder, state = saved
  for path, want in (
    (("params", "student"), state.params["student"]),
    (("teacher",), state.teacher),
    (("params",), state.params),
  ):
    got = checkpoints.restore_part(folder, path)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_a_part_that_is_not_there(saved, tmp_path):
  folder, _ = saved
  assert checkpoints.restore_part(folder, ("params", "nobody")) is None
  with pytest.raises(errors.BadFileError, match="holds no state"):
    checkpoints.restore_part(tmp_path, ("params",))
  (tmp_path / "state").mkdir()
  with pytest.raises(errors.BadFileError, match="_METADATA: no such file"):
    checkpoints.restore_part(tmp_path, ("params",))
