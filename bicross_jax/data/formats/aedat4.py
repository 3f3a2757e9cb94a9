"""AEDAT 4, the files of iniVation's cameras, read by package `aedat`."""

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import events


def read(path, size: tuple[int, int] | None = None) -> tuple[events.Events, tuple[int, int]]:
  """The events of the first camera of a file, and height and width of its sensor.

  Args:
    path: the file.
    size: height and width, where they are known.

  Raises:
    errors.BadFileError: it is damaged, or has no stream of events.
  """
  import aedat

  files.size(path)
  pieces = []
  try:
    decoder = aedat.Decoder(str(path))
    streams = {i: s for i, s in decoder.id_to_stream().items() if s["type"] == "events"}
    if not streams:
      raise errors.BadFileError(path, "has no stream of events")
    number, stream = min(streams.items())
    for packet in decoder:
      if packet["stream_id"] == number and "events" in packet:
        found = packet["events"]
        pieces.append((found["x"], found["y"], found["t"], found["on"]))
  except BaseException as error:  # what Rust gives up with is no Exception
    if isinstance(error, errors.UserError | KeyboardInterrupt | SystemExit):
      raise
    told = " ".join(str(error).split())[:200]
    raise errors.BadFileError(path, f"is damaged, or no AEDAT 4: {told}") from error
  size = size or (int(stream["height"]), int(stream["width"]))
  columns = [np.concatenate(column) for column in zip(*pieces, strict=True)] or events.NOTHING
  x, y, t, p = columns
  if t.dtype.kind == "u" and (t >= 2**62).any():
    raise errors.BadFileError(path, f"has an event at {t.max()} microseconds", "a time")
  return events.checked(x, y, t.astype(np.int64), p, size, path), size
