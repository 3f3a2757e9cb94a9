"""What a folder holds, in the order that its numbers mean.

Every reader that takes the files of a folder lists them here, so that all agree: hidden entries
(names that begin with a dot, as the `._NAME` companions of macOS) are passed over, and numbers in
names count as numbers, so that 2.png comes before 10.png.
"""

from collections.abc import Sequence
import os
import re

from bicross_jax import errors

PICTURES = (".png", ".jpg", ".jpeg")  # the kinds that `image` reads
_NUMBER = re.compile("([0-9]+)")


def natural(name: str) -> tuple:
  """What to sort names by: digits count as whole numbers, everything else as text.

  Where two names differ only in leading zeros the plain order of the names decides.
  """
  parts = _NUMBER.split(name)
  parts[1::2] = map(int, parts[1::2])
  return parts, name


def names(folder, suffixes: Sequence[str] = (), prefix: str = "") -> list[str]:
  """Names of what lies in a folder, in natural order, without hidden entries.

  A folder that is not there has none.

  Args:
    folder: the folder.
    suffixes: only names that end in one of these, in lower or upper case; () takes all.
    prefix: only names that begin with this.

  Raises:
    errors.BadFileError: it may not be read.
  """
  try:
    found = os.listdir(folder)
  except (FileNotFoundError, NotADirectoryError):
    return []
  except OSError as error:
    raise errors.BadFileError(folder, f"cannot be listed: {errors.reason(error)}") from error
  chosen = [
    name
    for name in found
    if name.startswith(prefix)
    and not name.startswith(".")
    and (not suffixes or name.lower().endswith(tuple(suffixes)))
  ]
  return sorted(chosen, key=natural)


def folders(folder) -> list[str]:
  """Names of the folders in a folder, in natural order; a folder that is not there has none."""
  return [name for name in names(folder) if os.path.isdir(os.path.join(folder, name))]


def pictures(folder, prefix: str = "") -> list[str]:
  """Names (with suffix) of the pictures in a folder that begin with `prefix`, in natural order.

  Of several kinds of one picture the PNG is taken. A folder that is not there has none.
  """
  chosen = by_stem(folder, prefix=prefix)
  return [chosen[stem] for stem in sorted(chosen, key=natural)]


def by_stem(folder, kinds: Sequence[str] = PICTURES, prefix: str = "") -> dict[str, str]:
  """{name without suffix: name} of the files in a folder that begin with `prefix`.

  Args:
    folder: one that is not there has none.
    kinds: suffixes, in small letters; of several files of one name the first kind is taken.
    prefix: of the names.
  """

  def rank(name):
    return kinds.index(os.path.splitext(name)[1].lower())

  best_last = sorted(names(folder, kinds, prefix), key=rank, reverse=True)
  return {os.path.splitext(name)[0]: name for name in best_last}
