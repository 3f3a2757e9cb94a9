"""The errors that a user of the package is meant to read: each is one clear line.

Scripts print it and leave with exit status 2, after a TrainingError with 1.
"""

from collections.abc import Iterator
import contextlib
import errno
import os

_NO_ROOM = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class UserError(Exception):
  """Something the user gave (a path, a name, a config field) does not work."""


class BadFileError(UserError):
  """A file that is missing, damaged, or not of the format it should have.

  Args:
    path: the file.
    problem: what was found, in a few words.
    expected: what the reader needs instead; left out where `problem` says it.
  """

  def __init__(self, path, problem: str, expected: str = ""):
    super().__init__(f"{path}: {problem}" + (f" (expected {expected})" if expected else ""))
    self.path = path


class TrainingError(Exception):
  """Training went wrong through no mistake of the command, for example a loss became NaN."""


def no_room(error: BaseException) -> str | None:
  """What the system says of a full disk, quota or file, or None for any other error.

  Args:
    error: an OSError; a ValueError or RuntimeError, by which TensorStore (under Orbax) and
      ArrayRecord pass on what the system said.
  """
  told = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
  return next((problem for problem in _NO_ROOM if problem in told), None)


@contextlib.contextmanager
def writing(folder) -> Iterator[None]:
  """Makes a full disk a UserError that names the folder that was being written."""
  try:
    yield
  except (OSError, ValueError, RuntimeError) as error:
    problem = no_room(error)
    if problem is None:
      raise
    raise UserError(f"{folder} cannot be written: {problem}") from error
