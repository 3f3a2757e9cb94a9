import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.train import checkpoints, optim
from bicross_jax.train.state import TrainState


def state(value, width=3):
  params = {"enc": {"kernel": jnp.full((2, width), float(value))}, "head": {"bias": jnp.ones(1)}}
  groups = [optim.Group(0.0, "head", "head"), optim.Group(1e-3)]
  transform = optim.adam(groups, plateau=optim.Plateau(0.1, 2), clip_norm=1.0)
  return jax.device_get(
    TrainState(
      step=jnp.asarray(value, jnp.int32),
      params=params,
      batch_stats={},
      opt_state=transform.init(params),
      teacher={"params": {"w": jnp.zeros(2, jnp.bfloat16)}},
      local={"pool": jnp.zeros((1, 2))},
    )
  )


def variables(value):
  return {"params": {"w": np.full(3, value, np.float32)}, "batch_stats": {}}


def meta(step, value, mode="min"):
  return {
    "step": step,
    "which": "student",
    "metric": {"name": "e", "mode": mode, "value": value},
    "metrics": {"e": value},
    "config": {"a": [1, None]},
  }


@pytest.fixture
def run(tmp_path):
  """A run with checkpoints 1 (best) and 3; 2 was deleted."""
  with checkpoints.Checkpoints(tmp_path) as store:
    for step, value, best in ((1, 0.5, 1), (2, 0.7, 1), (3, None, 1)):
      store.save(step, state(step), variables(step), meta(step, value), best)
  return tmp_path


def equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)


def test_layout(run):
  folder = run / "checkpoints"
  assert sorted(p.name for p in folder.iterdir()) == ["1", "3"]
  assert {"state", "variables", "meta"} <= {p.name for p in (folder / "3").iterdir()}
  assert json.loads((folder / "3/meta/metadata").read_text())["config"] == {"a": [1, None]}


def test_state_comes_back_whole(run):
  with checkpoints.Checkpoints(run) as store:
    assert store.latest() == 3
    equal(store.restore(3, state(0)), state(3))
    equal(store.restore(1, jax.eval_shape(lambda: state(0))), state(1))


def test_find_and_restore_variables(run):
  folder = run / "checkpoints"
  assert checkpoints.find(run) == checkpoints.find(folder) == folder / "1"
  assert checkpoints.find(run, "last") == folder / "3"
  assert checkpoints.find(folder / "3") == folder / "3"
  got, read = checkpoints.restore_variables(checkpoints.find(run))
  equal(got, variables(1))
  assert read["metric"]["value"] == 0.5 and read["which"] == "student"


def test_best_of_a_metric_to_maximise(tmp_path):
  with checkpoints.Checkpoints(tmp_path) as store:
    for step, value in ((1, 0.5), (2, 0.2)):
      store.save(step, state(step), variables(step), meta(step, value, "max"), 1)
  assert checkpoints.find(tmp_path).name == "1"


def test_in_mode_last_the_last_judged_checkpoint_is_the_best(tmp_path):
  with checkpoints.Checkpoints(tmp_path) as store:
    for step, value in ((1, 0.2), (2, 0.5), (3, None)):
      store.save(step, state(step), variables(step), meta(step, value, "last"), 2)
  assert checkpoints.find(tmp_path).name == "2"


def test_same_step_again_replaces(run):
  with checkpoints.Checkpoints(run) as store:
    store.save(3, state(7).replace(step=np.int32(3)), variables(7), meta(3, 0.1), 3)
    store.save(3, state(8).replace(step=np.int32(3)), variables(8), meta(3, 0.1), 3)
    store.wait()
    equal(store.restore(3, state(0)), state(8).replace(step=np.int32(3)))
  assert checkpoints.find(run).name == "3"
  assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["3"]


def test_earlier_step_is_refused(run):
  with checkpoints.Checkpoints(run) as store:
    with pytest.raises(errors.UserError, match="checkpoint 2 was not written.*1, 3"):
      store.save(2, state(2), variables(2), meta(2, 0.1), 2)


def test_leftovers_of_a_killed_save_are_removed(run):
  left = run / "checkpoints" / "4.orbax-checkpoint-tmp"
  shutil.copytree(run / "checkpoints" / "3", left)
  assert checkpoints.find(run, "last").name == "3"
  with checkpoints.Checkpoints(run) as store:
    assert store.latest() == 3
    store.save(4, state(4), variables(4), meta(4, 0.1), 4)
  assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["4"]


def test_other_structure_is_refused(run):
  with checkpoints.Checkpoints(run) as store:
    shapes = r"enc.kernel: float32\[2, 3\] there, float32\[2, 4\] here"
    with pytest.raises(errors.UserError, match=shapes):
      store.restore(3, state(0, width=4))
    other = state(0)
    with pytest.raises(errors.UserError, match=r"head.bias: float32\[1\] there, nothing here"):
      store.restore(3, other.replace(params={"enc": other.params["enc"]}))
    with pytest.raises(errors.UserError, match=r"step: int32\[\] there, float32\[\] here"):
      store.restore(3, other.replace(step=np.float32(0)))


def test_typed_keys_are_refused(run):
  with checkpoints.Checkpoints(run) as store:
    with pytest.raises(TypeError, match="typed PRNG key"):
      store.save(4, state(4).replace(local={"key": jax.random.key(0)}), {}, meta(4, 1.0), 1)


def test_nothing_there(tmp_path):
  with pytest.raises(errors.UserError, match="does not exist"):
    checkpoints.find(tmp_path / "absent")
  (tmp_path / "model.pt").write_bytes(b"PK")
  with pytest.raises(errors.UserError, match="model.pt: is a file"):
    checkpoints.find(tmp_path / "model.pt")
  with pytest.raises(errors.UserError, match="holds no checkpoints"):
    checkpoints.find(tmp_path)
  (tmp_path / "checkpoints").mkdir()
  with pytest.raises(errors.UserError, match="holds no whole checkpoint$"):
    checkpoints.find(tmp_path)
  with pytest.raises(errors.UserError, match="choose best or last"):
    checkpoints.find(tmp_path, "latest")


def test_partial_checkpoint_says_what_is_missing(run):
  folder = run / "checkpoints"
  shutil.rmtree(folder / "1")
  shutil.rmtree(folder / "3" / "variables")
  with pytest.raises(errors.UserError, match=r"no whole checkpoint \(3 lacks variables\)"):
    checkpoints.find(run)
  with pytest.raises(errors.UserError, match="3: is no whole checkpoint: no variables"):
    checkpoints.find(folder / "3")


def test_a_checkpoint_without_its_state_can_be_read_but_not_gone_on_from(run):
  folder = run / "checkpoints"
  shutil.rmtree(folder / "3" / "state")
  got, _ = checkpoints.restore_variables(checkpoints.find(folder / "3"))
  equal(got, variables(3))
  assert checkpoints.find(run, "last").name == "1"
  with checkpoints.Checkpoints(run) as store:
    assert store.latest() == 1


def test_damaged_and_foreign_checkpoints(run):
  folder = run / "checkpoints"
  shutil.rmtree(folder / "3" / "variables" / "d")
  with pytest.raises(errors.BadFileError, match="variables: cannot be restored"):
    checkpoints.restore_variables(folder / "3")
  (folder / "1/meta/metadata").write_text('{"step": 1, "config": {}}')
  with pytest.raises(errors.BadFileError, match="this package: meta has no which, metric, metrics"):
    checkpoints.restore_variables(folder / "1")
  (folder / "1/meta/metadata").write_text("{")
  with pytest.raises(errors.BadFileError, match="is not JSON"):
    checkpoints.find(run)


@pytest.mark.parametrize("file", ["_METADATA", "manifest.ocdbt", "d"])
def test_a_damaged_state_is_refused(file, run):
  damaged = run / "checkpoints/3/state" / file
  if damaged.is_dir():
    shutil.rmtree(damaged)
  else:
    damaged.write_bytes(damaged.read_bytes()[:20])
  with checkpoints.Checkpoints(run) as store, pytest.raises(errors.UserError, match="3/state"):
    store.restore(3, state(0))


def test_never_validated(tmp_path):
  with checkpoints.Checkpoints(tmp_path) as store:
    store.save(5, state(5), variables(5), meta(5, None), None)
  with pytest.raises(errors.UserError, match="validated yet; take the last one, .*/5"):
    checkpoints.find(tmp_path)
  assert checkpoints.find(tmp_path, "last").name == "5"
