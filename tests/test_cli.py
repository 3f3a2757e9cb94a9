"""How scripts end."""

import subprocess
import sys

import pytest

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
