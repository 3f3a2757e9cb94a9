"""Batches brought to the devices ahead of time by a thread."""

import collections
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any

_END = object()


class Prefetcher:
  """Iterates over batches that a thread has already put on the devices.

  A context manager: leaving it ends the thread, also when batches are left.

      with Prefetcher(batches, devices.shard) as ahead:
        for batch in ahead: ...
  """

  def __init__(self, batches: Iterable[Any], put: Callable[[Any], Any], size: int = 2):
    """Starts the thread.

    Args:
      batches: host batches; read from the thread alone.
      put: host batch -> device batch.
      size: how many batches are kept ready.
    """
    self._iterator, self._put = iter(batches), put
    self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    self._ready = collections.deque(self._thread.submit(self._read) for _ in range(size))

  def _read(self):
    batch = next(self._iterator, _END)
    return batch if batch is _END else self._put(batch)

  def __iter__(self):
    return self

  def __next__(self):
    batch = self._ready.popleft().result()  # raises what reading raised
    self._ready.append(self._thread.submit(self._read))
    if batch is _END:
      raise StopIteration
    return batch

  def close(self) -> None:
    """Ends the thread; waits for the batch it is reading."""
    self._thread.shutdown(wait=True, cancel_futures=True)
    self._ready.clear()
    close = getattr(self._iterator, "close", None)
    if close is not None:
      close()

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self.close()
