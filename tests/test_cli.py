"""How scripts end."""

import errno
import os
import subprocess
import sys
import threading

from absl import logging
import pytest
import tqdm

from bicross_jax import cli, errors


def test_status_of_main_is_returned():
  assert cli.run(lambda argv: len(argv), ["a", "b", "c"]) == 3
  assert cli.run(lambda argv: 0, []) == 0


def test_users_mistake_is_one_line_and_status_2(capsys):
  def main(argv):
    raise errors.BadFileError("a.dat", "is cut off", "12 bytes")

  assert cli.run(main, []) == 2
  out, err = capsys.readouterr()
  assert (out, err) == ("", "error: a.dat: is cut off (expected 12 bytes)\n")


def test_interrupt_is_status_130(capsys):
  def main(argv):
    raise KeyboardInterrupt

  assert cli.run(main, []) == 130
  assert capsys.readouterr().err == "interrupted\n"


def test_other_errors_are_not_hidden():
  def main(argv):
    raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    cli.run(main, [])


def test_bad_argument_is_one_line(capsys):
  def main(argv):
    parser = cli.Parser("prog")
    parser.add_argument("--n", type=int)
    return parser.parse_args(argv).n

  assert cli.run(main, ["--n", "4"]) == 4
  assert cli.run(main, ["--n", "four"]) == 2
  assert cli.run(main, ["--m"]) == 2
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)


def test_arguments_of_the_process_are_the_default():
  code = "import sys; from bicross_jax import cli; sys.exit(cli.run(lambda argv: int(argv[0])))"
  assert subprocess.run([sys.executable, "-c", code, "7"], check=False).returncode == 7


FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
  "error",
  [
    OSError(errno.ENOSPC, FULL, "out/a.npy"),
    ValueError(f"writing 'x': {FULL} [os_error_code='28']"),
    RuntimeError(f"write() failed: {FULL}"),
  ],
)
def test_full_disk_is_one_line_and_status_2(error, capsys, caplog):
  def fail():
    try:
      raise error
    except type(error):
      logging.exception("a background thread of Orbax says so, too")
    raise error

  def main(argv):
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    raise error

  assert cli.run(main, []) == 2
  place = getattr(error, "filename", None) or "the output"
  assert capsys.readouterr().err == f"error: {place} cannot be written: {FULL}\n"
  assert not caplog.records


@pytest.mark.parametrize("code", [errno.EACCES, errno.EISDIR, errno.ENOENT, errno.ENAMETOOLONG])
def test_refused_file_is_one_line_and_status_2(code, capsys):
  def main(argv):
    raise OSError(code, os.strerror(code), b"out/\xff\n")

  assert cli.run(main, []) == 2
  assert capsys.readouterr().err == f"error: out/\\udcff\\n: {os.strerror(code)}\n"


def test_full_disk_names_the_folder_that_was_written(capsys):
  def main(argv):
    with errors.writing("runs/a"):
      raise OSError(errno.ENOSPC, FULL)

  assert cli.run(main, []) == 2
  assert capsys.readouterr().err == f"error: runs/a cannot be written: {FULL}\n"


def test_other_system_errors_are_not_hidden():
  def main(argv):
    with errors.writing("runs/a"):
      raise OSError(errno.EIO, os.strerror(errno.EIO))

  with pytest.raises(OSError):
    cli.run(main, [])


def test_the_last_line_does_not_stand_behind_a_progress_bar(capsys):
  def main(argv):
    bars.append(tqdm.tqdm(range(3)))
    raise errors.UserError("no")

  bars = []
  assert cli.run(main, []) == 2
  assert capsys.readouterr().err.endswith("\nerror: no\n")
