"""The errors that a user of the package is meant to read: each is one clear line.

Scripts print it and leave with exit status 2, after a TrainingError with 1.
"""


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
