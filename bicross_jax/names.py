"""What a person may have meant: the right names that are most like a wrong one."""

from collections.abc import Iterable
import difflib


def nearest(name: str, names: Iterable[str]) -> str:
  """The end of a message about a wrong name: "; did you mean ...?", "; choose from ...", or "".

  Args:
    name: as it was given; a dotted name is also compared by its last part.
    names: the right ones.
  """
  names = list(names)
  close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
  if not close:
    leaf = name.rsplit(".", 1)[-1]
    close = [n for n in names if n.rsplit(".", 1)[-1] == leaf][:3]
  if close:
    return f"; did you mean {' or '.join(close)}?"
  return f"; choose from {', '.join(names)}" if 0 < len(names) <= 30 else ""
