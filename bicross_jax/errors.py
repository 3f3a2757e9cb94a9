"""The errors that a user of the package is meant to read: each is one clear line.

Scripts print it and leave with exit status 2, after a TrainingError with 1.
"""

from collections.abc import Iterator
import contextlib
import errno
import os
import re

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NOT_ALLOWED = (
  errno.EACCES,
  errno.EPERM,
  errno.EISDIR,
  errno.ENOTDIR,
  errno.ENOENT,
  errno.EEXIST,
  errno.ENAMETOOLONG,
  errno.ELOOP,
)
# TensorStore (under Orbax) and ArrayRecord pass on the system's words in errors of their own.
_PASSED_ON = tuple(os.strerror(code) for code in (*_FULL, errno.EACCES))
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class UserError(Exception):
  """Something the user gave (a path, a name, a config field) does not work."""

  def __str__(self):
    return _SURROGATE.sub(_escaped, super().__str__())  # of file names that are not UTF-8


class BadFileError(UserError):
  """A file that is missing, damaged, or not of the format it should have.

  Args:
    path: the file.
    problem: what was found, in a few words.
    expected: what the reader needs instead; left out where `problem` says it.
  """

  def __init__(self, path, problem: str, expected: str = ""):
    super().__init__(f"{shown(path)}: {problem}" + (f" (expected {expected})" if expected else ""))
    self.path = path


class TrainingError(Exception):
  """Training went wrong through no mistake of the command, for example a loss became NaN."""


def shown(path) -> str:
  """A path as one line that any terminal and file takes.

  Control characters (a newline, for one) and bytes that are not UTF-8 are written as escapes.
  """
  return _UNPRINTABLE.sub(_escaped, os.fsdecode(path) if isinstance(path, bytes) else str(path))


def reason(error: BaseException) -> str:
  """Why something failed, in the system's words where the system said it."""
  return (isinstance(error, OSError) and error.strerror) or str(error)


def refusal(error: BaseException) -> str | None:
  """What the file system said when it refused a file, or None for any other error.

  It refuses where a disk, quota or file is full, and where a place is read-only, forbidden,
  missing, taken, no folder, or has too long a name.

  Args:
    error: an OSError; a ValueError or RuntimeError that passes on what the system said.
  """
  if isinstance(error, OSError):
    return error.strerror if error.errno in (*_FULL, *_NOT_ALLOWED) else None
  return next((problem for problem in _PASSED_ON if problem in str(error)), None)


def refused(error: BaseException, place="the output") -> UserError | None:
  """A UserError that says which file the system refused and why, or None (see `refusal`).

  Args:
    error: see `refusal`.
    place: what to name where the error names no file.
  """
  problem = refusal(error)
  if problem is None:
    return None
  file = getattr(error, "filename", None)
  known = isinstance(file, (str, bytes, os.PathLike))
  asked = known and isinstance(error, OSError) and error.errno in _NOT_ALLOWED
  about = shown(file if known else place)
  return UserError(f"{about}: {problem}" if asked else f"{about} cannot be written: {problem}")


@contextlib.contextmanager
def writing(place) -> Iterator[None]:
  """Makes what the file system refuses a UserError; it names `place` where no file is known."""
  try:
    yield
  except (OSError, ValueError, RuntimeError) as error:
    told = refused(error, place)
    if told is None:
      raise
    raise told from error


def _escaped(match: re.Match) -> str:
  return match[0].encode("unicode_escape").decode()
