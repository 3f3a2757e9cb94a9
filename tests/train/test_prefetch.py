import threading
import time

import pytest

from bicross_jax.train import prefetch


def alive():
  return [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_order_and_end():
  with prefetch.Prefetcher(range(7), lambda x: 10 * x) as ahead:
    assert list(ahead) == [0, 10, 20, 30, 40, 50, 60]
    assert next(ahead, None) is None
  assert not alive()


def test_reads_ahead_but_not_far():
  read = []

  def batches():
    for k in range(100):
      read.append(k)
      yield k

  with prefetch.Prefetcher(batches(), lambda x: x, size=2) as ahead:
    assert next(ahead) == 0
    deadline = time.monotonic() + 5
    while len(read) < 3 and time.monotonic() < deadline:
      time.sleep(0.01)
    time.sleep(0.05)
    assert read == [0, 1, 2]  # the one handed out and two more
  assert not alive()


def test_errors_reach_the_reader():
  def batches():
    yield 1
    raise OSError("no such frame")

  def put(x):
    raise ValueError(f"bad {x}")

  with prefetch.Prefetcher(batches(), lambda x: x) as ahead:
    assert next(ahead) == 1
    with pytest.raises(OSError, match="no such frame"):
      next(ahead)
  with prefetch.Prefetcher(batches(), put) as ahead, pytest.raises(ValueError, match="bad 1"):
    next(ahead)
  assert not alive()


def test_leaving_early_closes_the_generator():
  closed = []

  def batches():
    try:
      while True:
        yield 0
    finally:
      closed.append(True)

  with prefetch.Prefetcher(batches(), lambda x: x) as ahead:
    next(ahead)
  assert closed and not alive()
