"""Where metrics go: one JSON object a line, and TensorBoard.

TensorBoard's event files are written with the `tensorboard` package alone; its own
EventFileWriter would import TensorFlow where that is installed.
"""

from collections.abc import Mapping
import json
import os
import pathlib
import socket
import time
from typing import Any, Protocol

import numpy as np

from bicross_jax import errors, files


class Writer(Protocol):
  """Anything that keeps metrics."""

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Keeps name -> value (float or array) as of `step`, and flushes."""

  def close(self) -> None:
    """Closes the files."""


class JsonLines:
  """metrics.jsonl: {"step": 50, "train/loss": 0.3, ...}, one object a line."""

  def __init__(self, file: str | os.PathLike, keep: int = 0):
    """Opens the file for appending.

    Args:
      file: made where it is not there.
      keep: how many of its bytes are kept: what a checkpoint had seen of it (`size`). What a
        killed run wrote after that checkpoint goes.

    Raises:
      errors.UserError: it cannot be opened, or is no file.
    """
    with errors.writing(file):
      self._file = open(file, "ab")
    self._file.truncate(min(keep, os.path.getsize(file)))

  @property
  def size(self) -> int:
    """Bytes written so far."""
    return os.fstat(self._file.fileno()).st_size

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    line = json.dumps(files.jsonable({"step": step, **values}), allow_nan=False)
    self._file.write(line.encode() + b"\n")
    self._file.flush()

  def close(self) -> None:
    self._file.close()


class TensorBoard:
  """An event file for TensorBoard; scalars only (arrays are left to metrics.jsonl)."""

  def __init__(self, folder: str | os.PathLike, first: int = 0):
    """Opens a new event file.

    Args:
      folder: where.
      first: the first step that this file may hold; TensorBoard drops that and later steps of
        older event files in the folder.
    """
    # Imported here: it takes a tenth of a second, and readers of runs do without.
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer import record_writer

    self._event, self._summary = event_pb2, summary_pb2
    name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
    self._records = record_writer.RecordWriter(open(pathlib.Path(folder) / name, "xb"))
    self._add(event_pb2.Event(file_version="brain.Event:2"))
    begin = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._add(event_pb2.Event(step=first, session_log=begin))

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    scalars = [
      self._summary.Summary.Value(tag=name, simple_value=float(value))
      for name, value in values.items()
      if np.ndim(value) == 0
    ]
    self._add(self._event.Event(step=step, summary=self._summary.Summary(value=scalars)))

  def close(self) -> None:
    self._records.close()

  def _add(self, event):
    event.wall_time = time.time()
    self._records.write(event.SerializeToString())
    self._records.flush()
