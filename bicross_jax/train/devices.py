"""Devices: the step on all of them, where arrays live, prediction, the compile cache."""

from collections.abc import Callable, Sequence
import ctypes
import os
import pathlib
import platform
import threading
from typing import Any
import warnings

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from bicross_jax import errors, folders
from bicross_jax.ops import collective
from bicross_jax.train.state import AXIS, Batch, Carry, Predictions, TrainState, Variables

_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1  # of glibc's malloc.h
CACHE_VARIABLE = "BICROSS_COMPILE_CACHE"  # a folder, or 0 for no cache

_ALL, _EACH = PartitionSpec(), PartitionSpec(AXIS)
# Which axis of the state is spread over the devices: none but that of `local`.
_STATE_AXES = TrainState(
  step=None, params=None, batch_stats=None, opt_state=None, teacher=None, frozen=None, local=0
)


def parallel_step(train_step: Callable) -> Callable:
  """A recipe's train_step on all devices of all processes: pmapped by one, shard_mapped by several.

  Args:
    train_step: see `state.Recipe`.

  Returns:
    (state, batch, key) -> (state, metrics), jitted. `state` is from `place` and is donated; `batch`
    from `shard`; `key` one typed key for the whole run (`replicate`d): each step and each device
    gets its own. Metrics are summed over the devices (see `state.Metrics`).
  """
  return pmap_step(train_step) if jax.process_count() == 1 else shard_map_step(train_step)


def pmap_step(train_step: Callable) -> Callable:
  """`parallel_step` by pmap: of several processes, each would get back its own part alone."""
  return jax.pmap(
    _body(train_step),
    axis_name=AXIS,
    in_axes=(_STATE_AXES, 0, None),
    out_axes=(_STATE_AXES, None),
    devices=jax.devices(),
    donate_argnums=(0,),
  )


def shard_map_step(train_step: Callable) -> Callable:
  """`parallel_step` by shard_map. The body sees what pmap's sees: no axis of devices."""
  body = _body(train_step)
  first = lambda tree: jax.tree.map(lambda x: x[0], tree)

  def one_device(state, batch, key):
    state, metrics = body(state.replace(local=first(state.local)), first(batch), key)
    return state.replace(local=jax.tree.map(lambda x: x[None], state.local)), metrics

  specs = jax.tree.map(
    lambda axis: _ALL if axis is None else _EACH, _STATE_AXES, is_leaf=lambda axis: axis is None
  )
  # With check_vma gradients would be summed over the devices before the recipe averages them.
  mapped = jax.shard_map(
    one_device,
    mesh=_mesh(),
    in_specs=(specs, _EACH, _ALL),
    out_specs=(specs, _ALL),
    check_vma=False,
  )
  return jax.jit(mapped, donate_argnums=(0,))


def _body(train_step):
  """What one device does in a step."""

  def body(state, batch, key):
    key = jax.random.fold_in(jax.random.fold_in(key, state.step), jax.lax.axis_index(AXIS))
    state, metrics = train_step(state, batch, key)
    return state, collective.total(metrics, AXIS)

  return body


def replicate(tree: Any) -> Any:
  """The same arrays on every device; leaves that are there already are not copied.

  All processes must pass the same values: that is not checked.
  """
  sharding = _sharding(_ALL)
  if jax.process_count() == 1:
    return jax.device_put(tree, sharding)

  def put(x):
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
      return x
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      return jax.random.wrap_key_data(put(jax.random.key_data(x)), impl=jax.random.key_impl(x))
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

  return jax.tree.map(put, tree)


def of_first(state: TrainState) -> TrainState:
  """Process 0's state in all processes; each keeps its own `local`."""
  if jax.process_count() == 1:
    return state
  rest = multihost_utils.broadcast_one_to_all(jax.device_get(state.replace(local={})))
  return rest.replace(local=state.local)


def place(state: TrainState) -> TrainState:
  """A fresh copy of a state where the step wants it: `local` spread, everything else on all.

  No two leaves share memory afterwards, so that the step may donate the whole.

  Args:
    state: `local` holds the rows of this process's devices, or is spread already.

  Raises:
    errors.UserError: `local` is not of this number of devices.
  """
  n = jax.local_device_count()
  spread = lambda x: isinstance(x, jax.Array) and not x.is_fully_addressable
  for path, leaf in jax.tree_util.tree_leaves_with_path(state.local):
    if spread(leaf):
      continue
    if jnp.ndim(leaf) == 0 or jnp.shape(leaf)[0] != n:
      raise errors.UserError(
        f"state.local{jax.tree_util.keystr(path)} has shape {jnp.shape(leaf)}: "
        f"its first axis must be the {n} devices of this machine"
      )
  local = jax.tree.map(lambda x: _copy(x) if spread(x) else _spread(x), state.local)
  return replicate(_copy(state.replace(local={}))).replace(local=local)


def shard(batch: Batch) -> Any:
  """A host batch on the devices: numpy [b, ...] -> [devices, b / devices, ...].

  Args:
    batch: this host's rows; possibly a dict of such batches.

  Raises:
    errors.UserError: a field has no such axis, or b is not divisible by the devices.
  """
  n = jax.local_device_count()

  def split(path, x):
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[0] % n:
      name = jax.tree_util.keystr(path, simple=True, separator="/")
      raise errors.UserError(
        f"batch field {name} of shape {x.shape} cannot be divided among {n} devices; "
        f"choose a batch size that is a multiple of {n}"
      )
    return _spread(x.reshape(n, x.shape[0] // n, *x.shape[1:]))

  return jax.tree_util.tree_map_with_path(split, batch)


def gather(state: TrainState) -> TrainState:
  """The whole state in this host's memory, NumPy arrays."""
  local = state.local
  if jax.process_count() > 1:
    local = multihost_utils.process_allgather(local, tiled=True)
  return jax.device_get(state.replace(local=local))


def whole(state: TrainState) -> TrainState:
  """The shapes of what `gather` gives, of a state whose `local` is this process's part."""
  n = jax.process_count()
  return state.replace(
    local=jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((n * jnp.shape(x)[0], *jnp.shape(x)[1:]), x.dtype), state.local
    )
  )


def part(state: TrainState) -> TrainState:
  """A state from `gather` with this process's part of `local`."""
  mine = [d.process_index == jax.process_index() for d in jax.devices()]
  return state.replace(local=jax.tree.map(lambda x: x[np.array(mine)], state.local))


def single(tree: Any) -> Any:
  """One device's copy of replicated arrays; shares their memory."""
  return jax.tree.map(lambda x: x.addressable_data(0), tree)


def jit_predict(
  predict: Callable, inputs: Sequence[str]
) -> Callable[..., tuple[Predictions, Carry]]:
  """A recipe's predict, compiled once for each shape of batch; nothing waits for its results.

  Args:
    predict: see `state.Recipe`.
    inputs: the fields it reads. Of a batch these alone go to the device, and `reset` where there
      is one.

  Returns:
    (variables, batch, carry=()) -> (predictions, carry), arrays on the device. A batch without one
    of the inputs is an errors.UserError. Threads may share it: they compile once.
  """
  compiled, compiling = jax.jit(predict), threading.Lock()

  def run(variables: Variables, batch: Batch, carry: Carry = ()):
    missing = [name for name in inputs if name not in batch]
    if missing:
      raise errors.UserError(
        f"the network reads {', '.join(inputs)}; the batch has no {', '.join(missing)}"
      )
    read = {name: batch[name] for name in {*inputs, "reset"} & batch.keys()}
    with compiling:
      return compiled(variables, read, carry)

  return run


def compiler_options() -> dict[str, Any]:
  """Options of XLA for a training step. (A jit that others trace cannot have any.)

  On CPUs LLVM's first level of optimisation: what takes time are products of matrices, which LLVM
  does not see. A step is as fast, and compiles in four fifths of the time (docs/benchmarks.md).
  """
  if jax.default_backend() != "cpu" or jax.config.read("jax_disable_most_optimizations"):
    return {}
  return {"xla_backend_optimization_level": 1}


def prepare() -> None:
  """What every script does before it computes: `keep_memory` and `enable_compile_cache`."""
  keep_memory()
  enable_compile_cache()


def keep_memory() -> None:
  """Lets this process keep the memory of one computation for the next; before JAX has computed.

  XLA takes the memory of a computation from the C library and gives it back in the end, on CPUs
  hundreds of megabytes a training step, and Linux clears each page anew: with glibc's usual
  settings that is a fifth of a step's time (docs/benchmarks.md). Here glibc keeps what it has, and
  JAX computes on the calling thread, whose heap has no bound on the size of a piece. Other C
  libraries are left as they are.
  """
  if platform.libc_ver()[0] != "glibc":
    return
  libc = ctypes.CDLL(None)
  libc.mallopt(_M_MMAP_MAX, 0)
  libc.mallopt(_M_TRIM_THRESHOLD, -1)
  jax.config.update("jax_cpu_enable_async_dispatch", False)


def enable_compile_cache() -> pathlib.Path | None:
  """Lets JAX keep compiled programs on disk, so that a second run starts quickly.

  The folder is that of the environment variable BICROSS_COMPILE_CACHE ("0": no cache), else
  bicross_jax/jax in the user's cache folder (XDG_CACHE_HOME, or ~/.cache).

  Returns:
    The folder, or None when switched off, or (with a warning) when the user has no cache folder or
    it cannot be written.

  Raises:
    errors.UserError: the folder that the variable names cannot be made.
  """
  chosen = os.environ.get(CACHE_VARIABLE, "")
  if chosen == "0":
    jax.config.update("jax_compilation_cache_dir", None)
    return None
  try:
    folder = folders.cache("jax", CACHE_VARIABLE)
    folder.mkdir(parents=True, exist_ok=True)
  except (OSError, errors.UserError) as error:
    problem = f"no compile cache can be made: {error}; set {CACHE_VARIABLE} to a folder, or to 0"
    if chosen:
      raise errors.UserError(problem) from error
    warnings.warn(problem, stacklevel=2)
    return None
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
  return folder


@jax.jit
def _copy(tree):
  """The same in memory of its own: one program, not one for every shape."""
  return jax.tree.map(jnp.copy, tree)


def _mesh() -> Mesh:
  return Mesh(np.array(jax.devices()), (AXIS,))


def _sharding(spec: PartitionSpec) -> NamedSharding:
  return NamedSharding(_mesh(), spec)


def _spread(x) -> jax.Array:
  """This host's rows, [local devices, ...], as part of an array over all devices."""
  return jax.make_array_from_process_local_data(_sharding(_EACH), np.array(jax.device_get(x)))
