"""Reading and writing whole files, with errors a user can read."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
from typing import IO
import uuid

from bicross_jax import errors


def size(path) -> int:
  """The file's length in bytes; BadFileError where there is no such file."""
  try:
    if not os.path.isfile(path):
      problem = "is a folder" if os.path.isdir(path) else "no such file"
      raise errors.BadFileError(path, problem)
    return os.path.getsize(path)
  except (OSError, ValueError) as error:
    raise errors.BadFileError(path, f"cannot be read: {error}") from error


def read(path, start: int = 0, length: int | None = None) -> bytes:
  """`length` bytes from `start` on, or all that follow; BadFileError where they are not there."""
  total = size(path)
  length = total - start if length is None else length
  if start < 0 or length < 0 or start + length > total:
    raise errors.BadFileError(path, f"has {total} bytes", f"at least {start + length}")
  try:
    with open(path, "rb") as file:
      file.seek(start)
      data = file.read(length)
  except OSError as error:
    raise errors.BadFileError(path, f"cannot be read: {error.strerror}") from error
  if len(data) != length:
    raise errors.BadFileError(path, f"ended after {len(data)} bytes while being read")
  return data


@contextlib.contextmanager
def write_whole(path) -> Iterator[IO[bytes]]:
  """A file to write into that takes its name only when it is complete.

  The folder is made where it is missing. When the block fails, whatever stood at `path` stays as
  it was and the unfinished file is removed.

  Raises:
    errors.UserError: the disk is full, or the place cannot be written.
  """
  path = pathlib.Path(path)
  unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(unfinished, "xb") as file:
      yield file
    os.replace(unfinished, path)
  except OSError as error:
    raise errors.UserError(f"{path}: cannot be written: {error.strerror or error}") from error
  finally:
    with contextlib.suppress(OSError):  # gone already, or never made
      unfinished.unlink()
