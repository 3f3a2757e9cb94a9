"""How scripts begin and end: one clear line for a user's mistake, and an exit status."""

import argparse
from collections.abc import Callable, Sequence
import sys
from typing import NoReturn

from bicross_jax import errors


class Parser(argparse.ArgumentParser):
  """An argument parser whose complaints are a UserError instead of a usage text."""

  def error(self, message: str) -> NoReturn:
    raise errors.UserError(f"{message} (see --help)")


def run(main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
  """Runs a script and turns what the user did wrong into one line.

  Args:
    main: takes the arguments (without the program's name) and returns the exit status.
    argv: the arguments; those of the process when left out.

  Returns:
    what `main` returns; 2 after a UserError and 1 after a TrainingError, whose message goes to
    standard error; 130 after an interrupt from the keyboard.
  """
  try:
    return main(sys.argv[1:] if argv is None else argv)
  except errors.UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except errors.TrainingError as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    return 130
