"""Whole files and JSON, and what is said of files that nobody may read or write."""

import collections
import json
import os

import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors, files

NOBODY = 65534


def _left(folder):
  return sorted(p.name for p in folder.iterdir())


def test_failed_write_leaves_what_was_there(tmp_path):
  path = tmp_path / "a.bin"
  path.write_bytes(b"old")
  with pytest.raises(RuntimeError), files.write_whole(path) as file:
    file.write(b"new")
    raise RuntimeError
  assert path.read_bytes() == b"old" and _left(tmp_path) == ["a.bin"]
  with pytest.raises(errors.UserError, match="No space left"), files.write_whole(path):
    raise OSError(28, "No space left on device")
  assert path.read_bytes() == b"old" and _left(tmp_path) == ["a.bin"]
  with files.write_whole(path) as file:
    file.write(b"new")
  assert path.read_bytes() == b"new" and _left(tmp_path) == ["a.bin"]


def test_a_link_is_written_through_and_the_longest_name_fits(tmp_path):
  (tmp_path / "disk").mkdir()
  link = tmp_path / "a.bin"
  link.symlink_to(tmp_path / "disk" / "real.bin")
  for name in (link, tmp_path / ("ü" * 120 + ".bin")):
    with files.write_whole(name) as file:
      file.write(b"new")
    assert files.read(name) == b"new"
  assert link.is_symlink() and _left(tmp_path / "disk") == ["real.bin"]


def _write(path):
  with files.write_whole(path) as file:
    file.write(b"x")


def _places(folder):
  """(what is read or written, the words that must be said) for each way of a place to be wrong."""
  (folder / "file").write_bytes(b"{}")
  (folder / "dir").mkdir()
  (folder / "broken").symlink_to(folder / "gone")
  (folder / "loop").symlink_to(folder / "loop")
  os.mkfifo(folder / "pipe")
  long = folder / ("n" * 300)
  read, write = (
    (files.read, files.read_json, files.size),
    (_write, lambda p: files.write_json(p, 1)),
  )
  return [
    (read, folder / "no", "no such file"),
    (read, folder / "dir", "is a folder"),
    (read, folder / "broken", "link to a file that is not there"),
    (read, folder / "loop", "cannot be read: Too many levels"),
    (read, folder / "pipe", "is no file"),
    (read, folder / "file" / "x", "cannot be read: Not a directory"),
    (read, long, "cannot be read: File name too long"),
    (read, f"{folder}/\0", "cannot be read: embedded null"),
    (write, folder / "dir", "cannot be written: it is there and is no file"),
    (write, folder / "pipe", "cannot be written: it is there and is no file"),
    (write, folder / "loop", "cannot be written: it is there and is no file"),
    (write, folder / "file" / "x", "file is a file, not a folder"),
    (write, folder / "file" / "x" / "y", "cannot be made: Not a directory"),
    (write, long, "cannot be written: File name too long"),
    (write, long / "x", "cannot be made: File name too long"),
    (write, "/proc/x", "cannot be written: "),
    (write, "/proc/x/y", "cannot be made: "),
    ((files.make_folder, files.check_output_folder), folder / "file", "file"),
    ((files.check_output_folder,), folder / "file" / "x", "file"),
    ((files.check_output_folder,), folder / "broken", "is no folder"),
  ]


def test_every_way_of_a_place_to_be_wrong_is_one_line_that_names_it(tmp_path):
  for functions, path, words in _places(tmp_path):
    for function in functions:
      with pytest.raises(errors.UserError) as told:
        function(path)
      assert words in str(told.value) and "\n" not in str(told.value), str(told.value)
  assert not list(tmp_path.rglob("*.part"))


@pytest.mark.skipif(os.getuid() != 0, reason="must become another user")
def test_what_another_user_may_not_do_is_one_line(tmp_path):
  locked, sealed = tmp_path / "locked", tmp_path / "sealed"
  for folder in (locked, sealed):
    folder.mkdir()
    (folder / "a.json").write_text("1")
  (sealed / "a.json").chmod(0o600)
  locked.chmod(0o700)
  sealed.chmod(0o555)
  for folder in tmp_path.parents:  # pytest's own folders are for their user alone
    if folder.owner() == "root" and folder.is_relative_to("/tmp") and folder != folder.parent:
      folder.chmod(folder.stat().st_mode | 0o055)
  tmp_path.chmod(0o755)
  os.seteuid(NOBODY)
  try:
    for function, path, words in (
      (files.read, locked / "a.json", "a.json: cannot be read: Permission denied"),
      (files.read, sealed / "a.json", "a.json: cannot be read: Permission denied"),
      (_write, sealed / "a.json", "a.json cannot be written: Permission denied"),
      (_write, sealed / "b" / "a.json", "b cannot be made: Permission denied"),
      (_write, locked / "a.json", "cannot be written: Permission denied"),
    ):
      with pytest.raises(errors.UserError) as told:
        function(path)
      assert words in str(told.value), str(told.value)
  finally:
    os.seteuid(0)


def test_json_is_what_every_reader_takes(tmp_path):
  Row = collections.namedtuple("Row", "key value")
  value = {
    1: np.float32(0.5),
    "nan": [float("nan"), -np.inf, np.float64("nan")],
    "row": (Row("a", np.int64(3)),),
    "array": np.array([[1.5, np.inf]]),
    "jax": jnp.array([1, 2], jnp.bfloat16),
    "flag": np.bool_(True),
    "none": None,
  }
  files.write_json(tmp_path / "new" / "a.json", value)
  text = (tmp_path / "new" / "a.json").read_text()
  assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == {
    "1": 0.5,
    "nan": [None, None, None],
    "row": [{"key": "a", "value": 3}],
    "array": [[1.5, None]],
    "jax": [1.0, 2.0],
    "flag": True,
    "none": None,
  }
  assert files.read_json(tmp_path / "new" / "a.json") == json.loads(text)


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path):
  path = tmp_path / "x.json"
  files.write_json(path, {"a": 1})
  with pytest.raises(TypeError):
    files.write_json(path, {"a": object()})
  assert files.read_json(path) == {"a": 1} and _left(tmp_path) == ["x.json"]


@pytest.mark.parametrize(
  "text", [b"", b"{", b"[" * 100_000, b"\xff\xfe\x00", b"1" * 5000, b'{"a": 1} x', b'{"a": \x00}']
)
def test_what_is_not_json_is_one_line(tmp_path, text):
  (tmp_path / "x.json").write_bytes(text)
  with pytest.raises(errors.BadFileError, match="x.json: is not JSON") as told:
    files.read_json(tmp_path / "x.json")
  assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", [b"a\xff.npy", b"a\nb.npy", b"a\x1b[31m.npy", "ü.npy".encode()])
def test_messages_can_be_printed_whatever_the_file_is_called(tmp_path, name):
  path = os.path.join(os.fsencode(tmp_path), name)
  for error in (
    errors.BadFileError(os.fsdecode(path), "is cut off"),
    errors.UserError(f"{errors.shown(path)} cannot be written"),
    errors.refused(OSError(13, "Permission denied", path)),
  ):
    str(error).encode("utf-8")
    assert "\n" not in str(error) and "\x1b" not in str(error)
  str(errors.UserError(os.fsdecode(path))).encode("utf-8")


def test_only_what_the_file_system_refuses_counts():
  assert errors.refusal(OSError(5, "Input/output error")) is None
  assert errors.refusal(ValueError("no")) is None and errors.refused(KeyError("x")) is None
  with pytest.raises(errors.UserError, match="^runs/a cannot be written: Permission denied$"):
    with errors.writing("runs/a"):
      raise ValueError("PERMISSION_DENIED: open x: Permission denied [os_error_code='13']")
  with pytest.raises(errors.UserError, match="^there: No such file or directory$"):
    with errors.writing("runs/a"):
      raise FileNotFoundError(2, "No such file or directory", "there")
