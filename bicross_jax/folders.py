"""Where this package keeps what it can make anew: the user's cache folder, and paths with `~`."""

import os
import pathlib

from bicross_jax import errors


def cache(kind: str, variable: str) -> pathlib.Path:
  """The folder of one kind of files; it need not be there.

  It is what an environment variable says, else `bicross_jax/<kind>` in the user's cache folder
  ($XDG_CACHE_HOME, else ~/.cache). The home folder is asked for only where neither is set.

  Args:
    kind: "data" (built data sets) or "jax" (compiled programs).
    variable: name of the environment variable.

  Raises:
    errors.UserError: the home folder is needed and there is none.
  """
  told = f"set {variable} to a folder"
  chosen = os.environ.get(variable)
  if chosen:
    return expand(chosen, told)
  home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return expand(home, told) / "bicross_jax" / kind


def expand(path: str | os.PathLike, told: str) -> pathlib.Path:
  """An absolute path, `~` at its beginning replaced by the home folder.

  Args:
    path: of a file or folder.
    told: what one can do where the home folder is not known, for the error.

  Raises:
    errors.UserError: the path begins with `~` and the home folder is not known.
  """
  try:
    return pathlib.Path(path).expanduser().absolute()
  except RuntimeError as error:
    raise errors.UserError(f"{path}: this user has no home folder (HOME); {told}") from error
