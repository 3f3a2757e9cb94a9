"""AEDAT 4, the files of iniVation's cameras, read by package `aedat`.

The package is run in a process of its own: there are damaged files that make it end its process.
"""

import os
import struct
import subprocess
import sys

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import events

_PROGRAM = "import sys; from bicross_jax.data.formats import aedat4; aedat4.serve(sys.argv[1])"
_HEAD = struct.Struct("<II")  # height and width, before the events
_EVENT = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1")])


def read(path, size: tuple[int, int] | None = None) -> tuple[events.Events, tuple[int, int]]:
  """The events of the first camera of a file, and height and width of its sensor.

  Args:
    path: the file.
    size: height and width, where they are known.

  Raises:
    errors.BadFileError: it is damaged, or has no stream of events.
  """
  files.size(path)
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM, os.fspath(path)],
    capture_output=True,
    stdin=subprocess.DEVNULL,
    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    check=False,
  )
  if done.returncode:
    told = done.stderr.decode("utf-8", "replace").split("\n")
    last = next(filter(None, map(str.strip, reversed(told))), f"status {done.returncode}")
    raise errors.BadFileError(path, f"is damaged, or no AEDAT 4: {errors.shown(last)[:200]}")
  size = size or _HEAD.unpack_from(done.stdout)
  found = np.frombuffer(done.stdout, _EVENT, offset=_HEAD.size)
  return events.checked(found["x"], found["y"], found["t"], found["on"] != 0, size, path), size


def serve(path: str) -> None:
  """Writes size and events of a file to the standard output, for `read`."""
  import aedat

  decoder = aedat.Decoder(path)
  streams = {i: s for i, s in decoder.id_to_stream().items() if s["type"] == "events"}
  if not streams:
    sys.exit("it has no stream of events")
  number, stream = min(streams.items())
  sys.stdout.buffer.write(_HEAD.pack(stream["height"], stream["width"]))
  for packet in decoder:
    if packet["stream_id"] == number and "events" in packet:
      sys.stdout.buffer.write(packet["events"].astype(_EVENT).tobytes())
