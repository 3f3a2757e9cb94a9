"""Listing a folder: order, hidden entries, suffixes."""

import pathlib

import pytest

from bicross_jax import errors
from bicross_jax.data.formats import listing


def _touch(folder, *names):
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")


def test_numbers_in_names_count_as_numbers():
  names = [
    "a10",
    "a9",
    "b1",
    "10",
    "9",
    "010",
    "a9b10",
    "a9b9",
    "",
    "a",
    "\u0661",
    "1.5e3",
    "1.5e20",
  ]
  want = [
    "",
    "1.5e3",
    "1.5e20",
    "9",
    "010",
    "10",
    "a",
    "a9",
    "a9b9",
    "a9b10",
    "a10",
    "b1",
    "\u0661",
  ]
  assert sorted(names, key=listing.natural) == want
  padded = [f"frame_{i:06d}.png" for i in range(0, 3000, 7)]
  assert sorted(padded, key=listing.natural) == sorted(padded)


def test_names_of_a_folder(tmp_path):
  _touch(tmp_path, "10.png", "9.PNG", "._9.PNG", ".DS_Store", "x.txt", "a1.jpeg", "sub/b.png")
  assert listing.names(tmp_path, listing.PICTURES) == ["9.PNG", "10.png", "a1.jpeg"]
  assert listing.names(str(tmp_path), (".png",), "1") == ["10.png"]
  assert listing.names(tmp_path) == ["9.PNG", "10.png", "a1.jpeg", "sub", "x.txt"]
  (tmp_path / ".git").mkdir()
  assert listing.folders(tmp_path) == ["sub"]
  for nothing in (tmp_path / "no", tmp_path / "x.txt"):
    assert listing.names(nothing) == listing.folders(nothing) == listing.pictures(nothing) == []
  with pytest.raises(errors.BadFileError, match="cannot be listed: File name too long"):
    listing.names(tmp_path / ("n" * 300))


def test_of_several_kinds_of_one_picture_the_png_is_taken(tmp_path):
  _touch(tmp_path, "2.jpg", "2.PNG", "10.jpeg", "10.jpg", "1.JPG", "._1.png", "2.txt")
  assert listing.pictures(tmp_path) == ["1.JPG", "2.PNG", "10.jpg"]
  assert listing.pictures(tmp_path, "10") == ["10.jpg"]


def test_every_reader_of_folders_lists_them_here():
  """No other module of the readers lists a folder: what it took would be in another order."""
  data = pathlib.Path(listing.__file__).parents[1]
  for room in (data / "formats", data / "simulate"):
    for file in room.glob("*.py"):
      text = file.read_text()
      if file.name != "listing.py":
        assert not any(word in text for word in ("iterdir", "listdir", "scandir", "rglob")), file
