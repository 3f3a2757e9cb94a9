"""Holes of many depth maps filled at once, by processes.

`event_counts.area_closing` takes 40 ms for a map of a DAVIS346 and holds Python's lock all that time, so
threads would not help. The processes are programs of their own: nothing of the caller's script is run
in them, and they end when their input does.
"""

from collections.abc import Callable
import os
import queue
import signal
import struct
import subprocess
import sys

import numpy as np

from bicross_jax import errors
from bicross_jax.data import event_counts

_FEW = 64  # maps; starting a process takes as long as filling so many
_MOST = 8  # processes; more maps than they fill cannot be written
_HEAD = struct.Struct("<II")  # height and width, before the numbers of a map
_PROGRAM = "from bicross_jax.data import filling; filling.serve()"


class Fillers:
  """Fills holes of depth maps; threads share it. Close it when done.

  Args:
    maps: how many there will be.
    cores: how many processors there are; None: the system says it.
  """

  def __init__(self, maps: int, cores: int | None = None):
    cores = cores or os.cpu_count() or 2
    count = min(cores - 1, maps // _FEW, _MOST)
    self._workers = [_Worker() for _ in range(count)]
    self._free: queue.SimpleQueue[Callable[[np.ndarray], np.ndarray]] = queue.SimpleQueue()
    for worker in self._workers:
      self._free.put(worker)
    if count < 2:  # this process is idle enough to help
      self._free.put(event_counts.area_closing)

  def fill(self, depth: np.ndarray) -> np.ndarray:
    """What `event_counts.area_closing` makes of a map.

    Args:
      depth: float32[H, W] metres, 0 where unknown.

    Raises:
      errors.UserError: a process was killed.
    """
    filler = self._free.get()
    try:
      return filler(depth)
    finally:
      self._free.put(filler)

  def close(self) -> None:
    """Ends the processes."""
    for worker in self._workers:
      worker.close()


class _Worker:
  """A process that runs `serve`."""

  def __init__(self):
    self._process = subprocess.Popen(
      [sys.executable, "-c", _PROGRAM],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )

  def __call__(self, depth: np.ndarray) -> np.ndarray:
    depth = np.ascontiguousarray(depth, np.float32)
    try:
      self._process.stdin.write(_HEAD.pack(*depth.shape) + depth.tobytes())
      self._process.stdin.flush()
      found = self._process.stdout.read(depth.nbytes)
    except OSError:  # it no longer listens
      found = b""
    if len(found) != depth.nbytes:
      raise errors.UserError("a process that fills holes of depth was killed (for want of memory?)")
    return np.frombuffer(found, np.float32).reshape(depth.shape)

  def close(self) -> None:
    self._process.stdout.close()
    try:
      self._process.stdin.close()
    except OSError:  # what it was sent last it never read
      pass
    self._process.wait()


def serve() -> None:
  """Fills the maps that come in on the standard input, until it ends."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends first
  source, sink = sys.stdin.buffer, sys.stdout.buffer
  while len(head := source.read(_HEAD.size)) == _HEAD.size:
    shape = _HEAD.unpack(head)
    depth = np.frombuffer(source.read(4 * shape[0] * shape[1]), np.float32).reshape(shape)
    sink.write(event_counts.area_closing(depth).tobytes())
    sink.flush()
