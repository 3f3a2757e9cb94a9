"""SIGTERM as a polite request to stop."""

import signal
import threading

from bicross_jax.train import processes


class Termination:
  """While this context is open, SIGTERM sets `requested` instead of ending the process.

  Python lets only the main thread handle signals: elsewhere this does nothing, and SIGTERM keeps
  its old meaning. That is restored on leaving.

  Attributes:
    requested: whether this process was asked to stop.
  """

  def __init__(self):
    self.requested = False
    self._votes = processes.Votes()
    self._old = None

  def agreed(self) -> bool:
    """Whether all processes stop here, because one of them was asked to.

    To be called by all processes in step with each other.
    """
    return self._votes(self.requested)

  def _handle(self, number, frame):
    del number, frame
    self.requested = True

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      self._old = signal.signal(signal.SIGTERM, self._handle)
    return self

  def __exit__(self, *unused):
    if self._old is not None:
      signal.signal(signal.SIGTERM, self._old)
      self._old = None
