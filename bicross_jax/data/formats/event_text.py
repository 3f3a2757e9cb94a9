"""Events as text: "t x y p" a line, as the DAVIS recordings of rpg.ifi.uzh.ch.

t is in seconds, or in microseconds where all are whole numbers. A first line of two numbers is width and
height. What follows a # is a comment.
"""

import itertools

import numpy as np

from bicross_jax import errors
from bicross_jax.data.formats import events

_LINES = 1 << 18  # parsed at once
_LONGEST = 256  # bytes of the first line


def read(path, size: tuple[int, int] | None = None) -> tuple[events.Events, tuple[int, int] | None]:
  """The events of a text, and height and width of its sensor where they are known.

  Args:
    path: the file.
    size: height and width, where the caller knows them.

  Raises:
    errors.BadFileError: it is damaged, or no such text.
  """
  pieces, begin, whole = [], 0, None
  try:
    file = open(path, "rb")
  except OSError as error:
    raise errors.BadFileError(path, f"cannot be read: {errors.reason(error)}") from error
  with file:
    head = file.readline(_LONGEST).split()
    if len(head) == 2 and all(word.isdigit() and len(word) <= 5 for word in head):
      size = size or (int(head[1]), int(head[0]))
    else:
      file.seek(0)
    while lines := list(itertools.islice(file, _LINES)):
      first = next(filter(None, (line.partition(b"#")[0].split() for line in lines)), None)
      if first is None:
        continue  # comments
      t, x, y, p = _parse(lines, path, begin).T
      exact = (t == np.floor(t)) & (np.abs(t) < 2.0**53)
      if whole is None:  # "0" may begin a list of seconds too
        whole = first[0].lstrip(b"-").isdigit() and exact.all()
      if whole:
        t = t.astype(np.int64) if exact.all() else np.where(exact, t / events.MICRO, np.nan)
      pieces.append(events.checked(x, y, t, p, size, path, begin))
      begin += len(t)
  found = events.Events(
    *(np.concatenate(columns) for columns in zip(events.NOTHING, *pieces, strict=True))
  )
  events.require_order(found.t, path)
  return found, size


def _parse(lines, path, begin):
  """float64[n, 4] of the lines of a text."""
  try:
    table = np.loadtxt(lines, np.float64, comments="#", ndmin=2, encoding="latin1")
  except ValueError as error:
    told = " ".join(str(error).split())
    raise errors.BadFileError(
      path, f"is no text of events after event {begin}: {told[:200]}", '"t x y p" a line'
    ) from error
  if table.size and table.shape[1] != 4:
    raise errors.BadFileError(path, f"has lines of {table.shape[1]} numbers", '"t x y p" a line')
  return table.reshape(-1, 4)
