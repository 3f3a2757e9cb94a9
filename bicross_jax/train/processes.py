"""Several processes that train one run together: how they meet, and how they stay in step.

All of them run the same program. Process 0 is the one that writes and speaks. Whatever decides
what a process does next (a checkpoint, a stop, a folder) must be the same in all of them, or they
wait for each other for ever: such values go through `gather` or `by_first`.
"""

import collections
from collections.abc import Callable, Mapping
import functools
import itertools
import json
import os
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np
from orbax.checkpoint import multihost

from bicross_jax import errors

# field of a config's section `distributed` -> environment variable
VARIABLES = {
  "coordinator": "JAX_COORDINATOR_ADDRESS",
  "processes": "JAX_NUM_PROCESSES",
  "process": "JAX_PROCESS_ID",
}
# Launchers that JAX asks itself: the variable that only their tasks have -> the number of tasks.
_LAUNCHERS = {
  "SLURM_STEP_NODELIST": "SLURM_NTASKS",
  "OMPI_MCA_orte_hnp_uri": "OMPI_COMM_WORLD_SIZE",
}
_PATIENCE = 3600  # seconds that processes wait for the others where `meet` says so
_END = 60  # seconds in which all must come to their end; after an error of one the others stop
_meetings = itertools.count()
_LAG = 4  # votes that are under way before the first of them is read


def start(section: Mapping[str, Any] | None) -> None:
  """Meets the other processes of this run, if there are any; before anything is computed.

  Args:
    section: `distributed` of a config: `coordinator` ("host:port" of process 0), `processes`
      (how many) and `process` (which one this is), or None in all three. Then the environment
      decides: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or what `srun` and
      `mpirun` (Open MPI) set. Without all these there is one process.

  Raises:
    errors.UserError: not all three are given, they make no sense, or others do not come
      (where process 0 itself does not answer for five minutes, JAX ends this process).
  """
  if jax.distributed.is_initialized():
    return
  arguments = wanted(section or {}, os.environ)
  if arguments is None:
    return
  jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is `termination`'s
  try:
    jax.distributed.initialize(**arguments, shutdown_timeout_seconds=_END)
    jax.devices()  # processes tell each other theirs, and would not wait long for that later
  except jax.errors.JaxRuntimeError as error:
    raise errors.UserError(
      f"the processes cannot meet at {arguments.get('coordinator_address', 'the launcher')}: "
      f"{str(error).splitlines()[0]}"
    ) from error


def wanted(section: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any] | None:
  """The arguments of `jax.distributed.initialize`, or None for a single process; see `start`."""
  given = {name: section[name] for name in VARIABLES if section.get(name) is not None}
  if not given:
    given = {name: environ[v] for name, v in VARIABLES.items() if environ.get(v)}
    tasks = [count for mark, count in _LAUNCHERS.items() if mark in environ]
    if set(given) <= {"coordinator"} and any(int(environ.get(t, 1)) > 1 for t in tasks):
      return {}  # JAX finds out the rest
  if not given:
    return None
  missing = [name for name in VARIABLES if name not in given]
  if missing:
    raise errors.UserError(
      f"config.distributed lacks {' and '.join(missing)}: several processes need "
      f"{', '.join(VARIABLES)} (or the variables {', '.join(VARIABLES.values())})"
    )
  count, index = _whole("processes", given), _whole("process", given)
  if not 0 <= index < count:
    raise errors.UserError(
      f"config.distributed.process={index} must be 0 to {count - 1} "
      f"(config.distributed.processes={count})"
    )
  if not given["coordinator"].rpartition(":")[2].isdecimal():
    raise errors.UserError(
      f"config.distributed.coordinator={given['coordinator']!r} is not host:port of process 0"
    )
  if count == 1:
    return None
  return {
    "coordinator_address": given["coordinator"],
    "num_processes": count,
    "process_id": index,
    "cluster_detection_method": "deactivate",
  }


def say(text: str) -> None:
  """Prints a line, in process 0."""
  if jax.process_index() == 0:
    print(text, flush=True)


def meet() -> None:
  """Waits until all processes are here.

  A collective operation waits half a minute at most (on CPUs); where some may come later than
  that, as after compiling or building data, they meet first.
  """
  multihost.get_barrier_sync_fn()(key=f"bicross_jax-{next(_meetings)}", timeout_ms=1000 * _PATIENCE)


def gather(value: Any) -> list[Any]:
  """What each process passes, by process; all of them `meet`.

  Args:
    value: anything that JSON holds.
  """
  if jax.process_count() == 1:
    return [value]
  meet()
  text = np.frombuffer(json.dumps(value).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(text.size))
  rows = multihost_utils.process_allgather(np.pad(text, (0, sizes.max() - text.size)))
  return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)]


def by_first(function: Callable[[], Any]) -> Any:
  """Calls a function in process 0 alone; all processes return what it returns (JSON there).

  Raises:
    errors.UserError: what the function raised there, in all processes.
  """
  if jax.process_count() == 1:
    return function()
  told = None
  if jax.process_index() == 0:
    try:
      told = {"value": function()}
    except errors.UserError as error:
      told = {"error": str(error)}
  told = gather(told)[0]
  if "error" in told:
    raise errors.UserError(told["error"])
  return told["value"]


def check_same(name: str, value: Any) -> None:
  """Makes sure that all processes have the same value.

  Raises:
    errors.UserError: they have not (in all of them).
  """
  values = gather(value)
  others = [k for k, v in enumerate(values) if v != values[0]]
  if others:
    raise errors.UserError(
      f"process {others[0]} has another {name} than process 0: {values[others[0]]}, not {values[0]}"
    )


class Votes:
  """Whether any process wants something, known to all at the same point of the program.

  Nobody waits for an answer: that of one call comes a few calls later.
  """

  def __init__(self):
    self._under_way = collections.deque()

  def __call__(self, wish: bool) -> bool:
    """Casts this process's vote and returns whether an earlier one was won.

    All processes must call this in step with each other. A single process is answered at once.
    """
    if jax.process_count() == 1:
      return wish
    everywhere = NamedSharding(Mesh(np.array(jax.devices()), ("all",)), PartitionSpec("all"))
    mine = np.full((jax.local_device_count(),), wish)
    self._under_way.append(
      _any(everywhere)(jax.make_array_from_process_local_data(everywhere, mine))
    )
    return len(self._under_way) > _LAG and bool(self._under_way.popleft())


@functools.cache
def _any(sharding):
  return jax.jit(jnp.any, out_shardings=NamedSharding(sharding.mesh, PartitionSpec()))


def _whole(name, given):
  try:
    return int(given[name])
  except ValueError:
    raise errors.UserError(f"{VARIABLES[name]}={given[name]!r} is not a whole number") from None
