"""Whole files, read and written: bytes and JSON, with errors a user can read."""

from collections.abc import Iterator, Mapping
import contextlib
import json
import math
import os
import pathlib
import shutil
import stat
from typing import IO, Any
import uuid

import numpy as np

from bicross_jax import errors

_NAMED = 50  # characters of a file's name that the unfinished one bears: 255 bytes are the most


def size(path) -> int:
  """The file's length in bytes.

  Raises:
    errors.BadFileError: it is not there, cannot be reached, or is no regular file.
  """
  try:
    found = os.stat(path)
  except FileNotFoundError as error:
    missing = "is a link to a file that is not there" if os.path.islink(path) else "no such file"
    raise errors.BadFileError(path, missing) from error
  except (OSError, ValueError) as error:  # ValueError: a name that no file can have
    raise errors.BadFileError(path, f"cannot be read: {errors.reason(error)}") from error
  if not stat.S_ISREG(found.st_mode):
    raise errors.BadFileError(path, "is a folder" if stat.S_ISDIR(found.st_mode) else "is no file")
  return found.st_size


def read(path, start: int = 0, length: int | None = None) -> bytes:
  """`length` bytes from `start` on, or all that follow.

  Raises:
    errors.BadFileError: it cannot be read, or is shorter.
  """
  total = size(path)
  length = total - start if length is None else length
  if start < 0 or length < 0 or start + length > total:
    raise errors.BadFileError(path, f"has {total} bytes", f"at least {start + length}")
  try:
    with open(path, "rb") as file:
      file.seek(start)
      data = file.read(length)
  except OSError as error:
    raise errors.BadFileError(path, f"cannot be read: {errors.reason(error)}") from error
  if len(data) != length:
    raise errors.BadFileError(path, f"ended after {len(data)} bytes while being read")
  return data


def read_json(path) -> Any:
  """What a JSON file holds.

  Raises:
    errors.BadFileError: it cannot be read, or is not JSON.
  """
  data = read(path)
  try:
    return json.loads(data)
  except (ValueError, RecursionError) as error:
    raise errors.BadFileError(path, f"is not JSON: {error}") from error


@contextlib.contextmanager
def write_whole(path) -> Iterator[IO[bytes]]:
  """A file to write into that takes its name only when it is complete.

  The folder is made where it is missing; a link is followed. When the block fails, whatever stood
  at `path` stays as it was and the unfinished file is removed.

  Raises:
    errors.UserError: the disk is full, or the place cannot be written.
  """
  path = pathlib.Path(path)
  make_folder(path.parent)
  target = pathlib.Path(os.path.realpath(path))
  unfinished = target.with_name(f".{target.name[:_NAMED]}.{uuid.uuid4().hex[:8]}.part")
  try:
    if os.path.lexists(target) and not target.is_file():
      raise errors.UserError(f"{errors.shown(path)} cannot be written: it is there and is no file")
    with open(unfinished, "xb") as file:
      yield file
    os.replace(unfinished, target)
  except OSError as error:
    raise errors.UserError(
      f"{errors.shown(path)} cannot be written: {errors.reason(error)}"
    ) from error
  finally:
    with contextlib.suppress(OSError):  # gone already, or never made
      unfinished.unlink()


def write_json(path, value) -> None:
  """Writes JSON that every reader accepts, whole or not at all (`write_whole`, `jsonable`).

  Raises:
    errors.UserError: the place cannot be written.
    TypeError: a value that JSON does not have.
  """
  text = json.dumps(jsonable(value), indent=2, allow_nan=False)
  with write_whole(path) as file:
    file.write(text.encode() + b"\n")


def jsonable(value: Any) -> Any:
  """A value as JSON has it.

  NumPy's and JAX's arrays and numbers become lists and numbers, named tuples dicts, keys texts,
  and NaN and infinities null.
  """
  if isinstance(value, Mapping):
    return {str(k): jsonable(v) for k, v in value.items()}
  if hasattr(value, "_asdict"):
    return jsonable(value._asdict())
  if isinstance(value, (list, tuple)):
    return [jsonable(v) for v in value]
  if hasattr(value, "tolist"):
    return jsonable(np.asarray(value).tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def make_folder(path) -> pathlib.Path:
  """Makes a folder, and those it lies in, where they are missing.

  Raises:
    errors.UserError: it cannot be made, or is a file.
  """
  path = pathlib.Path(path)
  try:
    path.mkdir(parents=True, exist_ok=True)
  except FileExistsError as error:
    raise errors.UserError(f"{errors.shown(path)} is a file, not a folder") from error
  except (OSError, ValueError) as error:
    raise errors.UserError(
      f"the folder {errors.shown(path)} cannot be made: {errors.reason(error)}"
    ) from error
  return path


def require_space(path, needed: int) -> None:
  """Nothing, where so many bytes can be written beside a file that is to be, or into a folder.

  Raises:
    errors.UserError: the disk has fewer.
  """
  path = pathlib.Path(path)
  free = shutil.disk_usage(path if path.is_dir() else make_folder(path.parent)).free
  if needed > free:
    raise errors.UserError(
      f"{errors.shown(path)} would take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
    )


def check_storage_name(path) -> None:
  """Nothing, for a folder that Orbax, TensorStore and TFDS can name.

  TensorStore takes UTF-8 alone, and a backslash for the end of a folder's name.

  Raises:
    errors.UserError: its name, or one above it, is no UTF-8 or has a backslash in it.
  """
  name = os.fspath(path)
  if "\\" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
    raise errors.UserError(
      f"{errors.shown(path)}: checkpoints and built data sets need a folder whose name is UTF-8 "
      "and has no backslash"
    )


def check_output_folder(path) -> None:
  """Looks whether files can be written into a folder, or one can be made there; makes nothing.

  Raises:
    errors.UserError: they cannot.
  """
  path = pathlib.Path(path)
  try:
    nearest = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    if not nearest.is_dir():
      problem = f"{errors.shown(nearest)} is no folder"
    elif not os.access(nearest, os.W_OK | os.X_OK):
      problem = f"{errors.shown(nearest)} is read-only here"
    else:
      return
  except (OSError, ValueError) as error:
    problem = errors.reason(error)
  raise errors.UserError(f"the folder {errors.shown(path)} cannot be written: {problem}")
