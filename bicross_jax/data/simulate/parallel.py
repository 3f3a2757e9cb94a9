"""Work on many files by several processes, for scripts."""

from collections.abc import Callable, Iterator, Sequence
import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from typing import Any

from bicross_jax import errors


def each(function: Callable[[Any], Any], items: Sequence, workers: int = 1) -> Iterator:
  """What `function` says of each item, in order.

  The processes are fresh ones (JAX's threads do not survive a fork) that compute on the CPU with
  one thread each; starting them takes some seconds. When an item fails, or the caller stops, no
  further item is begun, those in work are finished, and the processes end.

  Args:
    function: one that can be pickled: of a module, or a `functools.partial` of such a one.
    items: what can be pickled.
    workers: number of processes; 1: this one.

  Raises:
    errors.UserError: as `function` raised it; or a process was killed, as for want of memory.
  """
  if workers == 1:
    yield from map(function, items)
    return
  pool = concurrent.futures.ProcessPoolExecutor(
    min(workers, len(items)), multiprocessing.get_context("spawn"), _begin
  )
  try:
    for result in pool.map(functools.partial(_told, function), items):
      if isinstance(result, _Refused):
        raise errors.UserError(result)
      yield result
  except concurrent.futures.process.BrokenProcessPool as error:
    raise errors.UserError(
      f"one of {workers} processes was killed (for want of memory?); try fewer --workers"
    ) from error
  finally:
    pool.shutdown(wait=True, cancel_futures=True)


class _Refused(str):
  """The message of a UserError, which itself does not pass between processes."""


def _begin() -> None:
  """Makes a process one of many: CPU, one thread, ended by the first process and only by it."""
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()
  os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
  import cv2
  import jax

  jax.config.update("jax_platforms", "cpu")
  cv2.setNumThreads(1)


def _end_with_parent() -> None:
  multiprocessing.parent_process().join()  # where it was killed, nobody else would tell
  os._exit(1)


def _told(function, item):
  try:
    return function(item)
  except errors.UserError as error:
    return _Refused(error)
