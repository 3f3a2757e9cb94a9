"""How scripts begin and end: one clear line for a user's mistake, and an exit status."""

import argparse
from collections.abc import Callable, Sequence
import io
import os
import pathlib
import sys
import threading
from typing import NoReturn

from absl import logging

from bicross_jax import errors


class Parser(argparse.ArgumentParser):
  """An argument parser whose complaints are a UserError instead of a usage text."""

  def error(self, message: str) -> NoReturn:
    raise errors.UserError(f"{message} (see --help)")


def add_checkpoint(parser: argparse.ArgumentParser, among=None) -> None:
  """Adds the arguments of scripts that judge a checkpoint: which one, and on which part.

  Args:
    parser: of the script.
    among: a group of the parser's, one of whose arguments must be given; None: a checkpoint must.
  """
  place = parser if among is None else among
  place.add_argument(
    "--checkpoint", required=among is None, help="a run's folder, or one checkpoint in it"
  )
  parser.add_argument(
    "--which", choices=("best", "last"), default="best", help="which checkpoint of a run"
  )
  parser.add_argument("--part", choices=("train", "validation", "test"), default="test")
  add_plugin(parser)


def check_checkpoint(path) -> None:
  """Looks whether a path can be a run or a checkpoint, before anything heavy is imported.

  Raises:
    errors.BadFileError: it cannot.
  """
  path = pathlib.Path(path)
  expected = "a run's folder, or the folder of a checkpoint with variables and meta"
  if not path.is_dir():
    problem = "is a file" if path.exists() else "there is no such folder"
    raise errors.BadFileError(path, problem, expected)
  inside = any((path / name).exists() for name in ("checkpoints", "variables", "meta", "state"))
  if not inside and path.name != "checkpoints":
    raise errors.BadFileError(path, "holds no checkpoints", expected)


def add_plugin(parser: argparse.ArgumentParser) -> None:
  """Adds the argument by which a person trusts the recipes of a module of their own."""
  parser.add_argument(
    "--plugin",
    action="append",
    default=[],
    metavar="MODULE",
    help="a module outside this package whose recipe a checkpoint may name; its code runs",
  )


def run(main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
  """Runs a script and turns what the user did wrong into one line.

  Args:
    main: takes the arguments (without the program's name) and returns the exit status.
    argv: the arguments; those of the process when left out.

  Returns:
    what `main` returns; 2 after a UserError or where the file system refuses a file and 1 after a
    TrainingError, whose message goes to standard error; 130 after an interrupt from the keyboard;
    0 where the reader of standard output has gone.
  """
  excepthook, threading.excepthook = threading.excepthook, _thread_failed
  logging.get_absl_logger().addFilter(_is_news)
  for stream in (sys.stdout, sys.stderr):  # of names that the terminal's encoding does not have
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="backslashreplace")
  try:
    status = main(sys.argv[1:] if argv is None else argv)
    sys.stdout.flush()
    return status
  except BrokenPipeError:  # who read what is printed has gone; results are saved by then
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
    return 0
  except errors.UserError as error:
    return _end(f"error: {error}", 2)
  except errors.TrainingError as error:
    return _end(f"error: {error}", 1)
  except (OSError, ValueError, RuntimeError) as error:
    told = errors.refused(error)
    if told is None:
      raise
    return _end(f"error: {told}", 2)
  except KeyboardInterrupt:
    return _end("interrupted", 130)
  finally:
    logging.get_absl_logger().removeFilter(_is_news)
    threading.excepthook = excepthook


def _end(line: str, status: int) -> int:
  """Prints the last line, on a line of its own where progress bars are left open."""
  tqdm = sys.modules.get("tqdm")
  for bar in list(getattr(tqdm.tqdm, "_instances", ())) if tqdm else ():
    bar.close()
  print(line, file=sys.stderr)
  return status


def _thread_failed(args) -> None:
  """A full disk ends Orbax's threads, too; the main one gets the same error and tells it."""
  if errors.refusal(args.exc_value) is None:
    threading.__excepthook__(args)


def _is_news(record) -> bool:
  """False for what Orbax logs of a full disk, with a traceback from every thread."""
  return not record.exc_info or errors.refusal(record.exc_info[1]) is None
