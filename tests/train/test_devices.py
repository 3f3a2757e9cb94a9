import pathlib
import platform

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.train import devices
from bicross_jax.train.state import AXIS, TrainState


def state(**fields):
  defaults = dict(step=jnp.zeros((), jnp.int32), params={}, batch_stats={}, opt_state=())
  return TrainState(**{**defaults, **fields})


def test_metrics_are_summed_over_devices_once(python):
  """Shares of the batch and pooled values both divide to the mean; draws differ by device."""
  code = """
import jax, jax.numpy as jnp, numpy as np
from bicross_jax.train import devices
from bicross_jax.train.state import AXIS, TrainState
def train_step(state, batch, key):
  x, draw = batch["a"]["x"], jax.random.uniform(key)
  metrics = {"share": (x.sum(), x.size), "pooled": (jax.lax.pmean(x.mean(), AXIS), 1.0),
             "table": (jnp.eye(2), jnp.ones((2, 2)))}
  return state.replace(step=state.step + 1, local={"draw": draw}), metrics
state = TrainState(
    jnp.zeros((), jnp.int32), {"w": jnp.zeros(3)}, {}, (), local={"draw": jnp.zeros(4)})
state, key = devices.place(state), devices.replicate(jax.random.key(0))
step = devices.pmap_step(train_step)
x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
draws = []
for k in range(2):
  state, metrics = step(state, devices.shard({"a": {"x": x}}), key)
  draws += np.asarray(state.local["draw"]).tolist()
assert len(set(draws)) == 8, draws
expected = [jax.random.uniform(jax.random.fold_in(jax.random.fold_in(jax.random.key(0), s), d))
            for s in range(2) for d in range(4)]
np.testing.assert_array_equal(draws, np.array(expected))
total, count = metrics["share"]
np.testing.assert_allclose(total, x.sum(), rtol=1e-5); assert count == 24
total, count = metrics["pooled"]
np.testing.assert_allclose(total / count, x.mean(), rtol=1e-5)
np.testing.assert_array_equal(metrics["table"][0], 4 * np.eye(2))
whole = devices.gather(state)
assert type(whole.local["draw"]) is np.ndarray and whole.local["draw"].shape == (4,)
try: devices.shard({"x": np.zeros((6, 2))})
except devices.errors.UserError as error: print(error)
"""
  done = python("-c", code, devices=4)
  assert done.returncode == 0, done.stderr
  assert "batch field x of shape (6, 2) cannot be divided among 4 devices" in done.stdout


def _both_ways(toy, rows):
  """The toy's state and metrics after three steps by pmap and by shard_map, in host memory."""
  out = []
  for way in (devices.pmap_step, devices.shard_map_step):
    recipe = toy.create(local=True)
    state = devices.place(recipe.init(jax.random.key(0), {}))
    step, key = way(recipe.train_step), devices.replicate(jax.random.key(1))
    metrics = []
    for k in range(3):
      state, found = step(state, devices.shard(toy.batch(k, rows)), key)
      metrics.append(jax.device_get(found))
    out.append((devices.gather(state), metrics))
  return out


def _assert_same(pmapped, shard_mapped):
  assert jax.tree.structure(pmapped) == jax.tree.structure(shard_mapped)
  for (path, a), b in zip(
    jax.tree_util.tree_leaves_with_path(pmapped), jax.tree.leaves(shard_mapped), strict=True
  ):
    np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-7, err_msg=jax.tree_util.keystr(path))


def test_shard_map_equals_pmap_on_one_device(toy):
  _assert_same(*_both_ways(toy, 8))


def test_shard_map_equals_pmap_on_eight_devices(python):
  """Noise differs by device and `local` is kept by each; gradients are as large as by pmap."""
  code = """
import jax
from tests.train import test_devices, toy
assert jax.device_count() == 8
pmapped, shard_mapped = test_devices._both_ways(toy, 16)
test_devices._assert_same(pmapped, shard_mapped)
assert pmapped[0].local["rows"].tolist() == [6] * 8
assert len(set(pmapped[0].local["mean"][:, 0].tolist())) == 8
print("equal")
"""
  done = python("-c", code, devices=8)
  assert done.stdout.strip() == "equal", done.stderr


def test_batch_without_rows_is_refused():
  with pytest.raises(errors.UserError, match="target/depth"):
    devices.shard({"target": {"depth": np.float32(1)}})


def test_place_parts_aliased_leaves():
  """A teacher that is the student's very arrays can be donated along with it."""
  w = jnp.ones(4)
  placed = devices.place(state(params={"w": w}, teacher={"w": w}))
  step = devices.pmap_step(
    lambda s, b, k: (
      s.replace(params=jax.tree.map(lambda x: x + 1, s.params)),
      {"m": (jnp.zeros(()), 1)},
    )
  )
  placed, _ = step(placed, devices.shard({"x": np.zeros((2, 1))}), jax.random.key(0))
  np.testing.assert_array_equal(placed.params["w"], 2 * np.ones(4))
  np.testing.assert_array_equal(placed.teacher["w"], np.ones(4))
  np.testing.assert_array_equal(w, np.ones(4))  # the caller's array is still there


def test_place_refuses_local_of_other_devices():
  with pytest.raises(errors.UserError, match=r"pool.*\(3, 2\).*1 devices"):
    devices.place(state(local={"pool": jnp.zeros((3, 2))}))


def test_local_has_no_device_axis_inside():
  def step(s, batch, key):
    assert s.local["pool"].shape == (2,) and batch["x"].shape == (2, 1)
    return s, {"m": (jax.lax.axis_index(AXIS), 1)}

  for way in (devices.pmap_step, devices.shard_map_step):
    placed = devices.place(state(local={"pool": jnp.zeros((1, 2))}))
    batch = devices.shard({"x": np.zeros((2, 1))})
    placed, _ = way(step)(placed, batch, jax.random.key(0))
    assert placed.local["pool"].shape == (1, 2)


def test_jit_predict_compiles_once_and_takes_variables_and_carry():
  traces = []

  def predict(variables, batch, carry):
    traces.append(sorted(batch))
    start = jnp.where(batch["reset"], 0, carry) if "reset" in batch else 0.0
    return {"y": batch["x"] * variables["params"]}, start + batch["x"]

  run = devices.jit_predict(predict, ("x",))
  for k in range(3):
    out, carry = run({"params": jnp.float32(k)}, {"x": np.ones(2, np.float32), "key": "a name"})
    assert isinstance(out["y"], jax.Array)  # not fetched
    np.testing.assert_array_equal(out["y"], k * np.ones(2))
  batch = {"x": np.array([2.0, 3.0], np.float32), "reset": np.array([False, True])}
  _, carry = run({"params": jnp.float32(0)}, batch, carry)
  np.testing.assert_array_equal(carry, [3, 3])
  assert traces == [["x"], ["reset", "x"]]
  with pytest.raises(errors.UserError, match="reads x; the batch has no x"):
    run({"params": jnp.float32(0)}, {"rgb": np.ones(2)})


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize("transform", ["jit", "pmap"])
def test_kept_memory_is_not_asked_for_again(python, transform):
  """Twenty calls that work in 25,000 pages each get 500,000 from the system where none are kept;
  a piece that no longer fits is asked for now and then."""
  code = (
    "import resource, jax, jax.numpy as jnp\n"
    "from bicross_jax.train import devices\n"
    "devices.keep_memory()\n"
    f"f = jax.{transform}(lambda x: jax.lax.optimization_barrier(jnp.sin(x)).max())\n"
    f"x = jnp.ones((1, 100_000, 256)[{int(transform == 'jit')}:])\n"
    "jax.block_until_ready(f(x))\n"
    "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
    "for _ in range(20):\n"
    "  jax.block_until_ready(f(x))\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
  )
  done = python("-c", code)
  assert int(done.stdout) < 150_000, done.stderr


def test_compile_cache_goes_to_the_users_cache_folder(python, tmp_path):
  code = (
    "import jax, jax.numpy as jnp\n"
    "from bicross_jax.train import devices\n"
    "print(devices.enable_compile_cache())\n"
    "jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8)))\n"
  )
  done = python("-c", code, XDG_CACHE_HOME=str(tmp_path), BICROSS_COMPILE_CACHE="")
  folder = tmp_path / "bicross_jax" / "jax"
  assert done.stdout.strip() == str(folder), done.stderr
  assert any("lambda" in p.name for p in folder.iterdir())


def test_compile_cache_moved_and_off(tmp_path, monkeypatch):
  before = jax.config.jax_compilation_cache_dir
  monkeypatch.setenv("BICROSS_COMPILE_CACHE", str(tmp_path / "mine"))
  try:
    assert devices.enable_compile_cache() == tmp_path / "mine"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    monkeypatch.setenv("BICROSS_COMPILE_CACHE", "0")
    assert devices.enable_compile_cache() is None
    assert jax.config.jax_compilation_cache_dir is None
    file = pathlib.Path(tmp_path / "file")
    file.write_text("")
    monkeypatch.setenv("BICROSS_COMPILE_CACHE", str(file))
    with pytest.raises(errors.UserError, match="no compile cache can be made"):
      devices.enable_compile_cache()
  finally:
    jax.config.update("jax_compilation_cache_dir", before)
