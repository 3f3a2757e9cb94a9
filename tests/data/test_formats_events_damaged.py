"""Damaged event files: every reader gives events in order or raises one clear error, nothing else."""

from collections.abc import Callable
import pathlib
from typing import NamedTuple
import zlib

import h5py
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data.formats import dsec, events, mvsec
from tests.data import event_kinds as kinds
from tests.data.event_kinds import SIZE, stream
from tests.data.test_formats_damaged import mutate

MANY, MANY_NIGHTLY = 1000, 20_000
VARIANT = 250  # of another packing of the same format
FEW, FEW_NIGHTLY = 12, 1000  # of a format that a process of its own reads


class Case(NamedTuple):
  """A kind of file and its reading.

  Attributes:
    write: makes a good file.
    read: reads it all.
    name: of the file.
    head: length of what every other damage hits; None: the damages lie anywhere.
    damages: how many are tried in fast tests.
    process: whether a process of its own reads it.
  """

  write: Callable[[pathlib.Path], object]
  read: Callable[[pathlib.Path], None]
  name: str
  head: int | None = None
  damages: int = MANY
  process: bool = False


def _valid(found: events.Events) -> None:
  assert len({len(column) for column in found}) == 1
  assert [c.dtype.name for c in found] == ["uint16", "uint16", "int64", "bool"]
  assert (np.diff(found.t) >= 0).all()
  assert (found.x < SIZE[1]).all() and (found.y < SIZE[0]).all()


def _read(path, camera="left") -> None:
  with events.open_events(path, camera=camera, size=SIZE) as file:
    whole = file.read(0, file.count)
    _valid(whole)
    times = np.array([file.first, (file.first + file.last) // 2, file.last + 1, 0])
    places = file.find(times)
    np.testing.assert_array_equal(places, np.searchsorted(whole.t, times))
    _valid(file.read(int(places[0]), int(places[1])))


def _right(path) -> None:
  _read(path, "right")


def _truth(path) -> None:
  with mvsec.Truth(path, (6, 8)) as truth:
    for i in range(len(truth.stamps)):
      depth = truth.depth(i)
      assert depth.shape == (6, 8) and depth.dtype == np.float32
      assert np.isfinite(depth).all() and (depth >= 0).all()


def _write_truth(path) -> None:
  depth = np.random.default_rng(0).uniform(1, 9, (3, 6, 8)).astype(np.float32)
  with h5py.File(path, "w") as file:
    file.create_dataset(
      "davis/left/depth_image_rect", data=depth, chunks=(1, 6, 8), compression="gzip"
    )
    file["davis/left/depth_image_rect_ts"] = kinds.T0 / 1e6 + np.arange(3)


def _rectify(path) -> None:
  found = dsec.read_rectify_map(path, (6, 8))
  assert found.shape == (6, 8, 2) and found.dtype == np.float32 and np.isfinite(found).all()


def _write_rectify(path) -> None:
  with h5py.File(path, "w") as file:
    file["rectify_map"] = np.random.default_rng(0).random((6, 8, 2), np.float32)


def _map(path) -> None:
  found = mvsec.read_map(path, (6, 8))
  assert found.shape == (6, 8) and found.dtype == np.float64 and np.isfinite(found).all()


def _stamps(path) -> None:
  found = dsec.read_timestamps(path)
  assert found.dtype == np.int64 and (np.diff(found) >= 0).all()


GOOD = stream(150)
CASES = {
  "mvsec": Case(lambda p: kinds.write_mvsec(p, GOOD), _read, "a.hdf5"),
  "mvsec_packed": Case(
    lambda p: kinds.write_mvsec(p, stream(1), GOOD, chunks=(64, 4), compression="lzf"),
    _right,
    "a.hdf5",
    damages=VARIANT,
  ),
  "dsec": Case(lambda p: kinds.write_dsec(p, GOOD), _read, "a.h5"),
  "dsec_gzip": Case(
    lambda p: kinds.write_dsec(p, GOOD, compression="gzip", shuffle=True),
    _read,
    "a.h5",
    damages=VARIANT,
  ),
  "dsec_own": Case(
    lambda p: dsec.write_events(p, [GOOD], SIZE, int(GOOD.t[0])), _read, "a.h5", damages=VARIANT
  ),
  "text": Case(lambda p: kinds.write_text(p, GOOD, "40 30\n"), _read, "a.txt"),
  "npz": Case(lambda p: kinds.write_npz(p, GOOD), _read, "a.npz"),
  "npy": Case(lambda p: kinds.write_npy(p, GOOD), _read, "a.npy", 128),
  "aedat4": Case(
    lambda p: kinds.write_aedat4(p, GOOD), _read, "a.aedat4", damages=FEW, process=True
  ),
  "mvsec_truth": Case(_write_truth, _truth, "gt.hdf5", damages=VARIANT),
  "mvsec_map": Case(lambda p: np.savetxt(p, np.arange(48.0).reshape(6, 8)), _map, "map.txt"),
  "dsec_rectify": Case(_write_rectify, _rectify, "rectify_map.h5", damages=VARIANT),
  "dsec_stamps": Case(
    lambda p: p.write_text("".join(f"{t}\n" for t in GOOD.t)), _stamps, "timestamps.txt"
  ),
}


def _check(name, numbers, tmp_path, monkeypatch):
  """Reads many damaged files; says how many were refused."""
  monkeypatch.setattr(events.Located, "BLOCK", 32)
  case, path, refused = CASES[name], tmp_path / CASES[name].name, 0
  case.write(path)
  case.read(path)
  good = path.read_bytes()
  for number in range(numbers):
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    path.unlink()  # a map of the last one may be open
    path.write_bytes(mutate(good, rng, case.head or len(good)))
    try:
      case.read(path)
    except errors.UserError as error:
      refused += 1
      assert str(error).startswith(str(path)) and "\n" not in str(error)
  assert 0 < refused < numbers


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_file_is_read_or_refused(name, tmp_path, monkeypatch):
  _check(name, CASES[name].damages, tmp_path, monkeypatch)


@pytest.mark.nightly
@pytest.mark.parametrize("name", CASES)
def test_many_damaged_files_are_read_or_refused(name, tmp_path, monkeypatch):
  _check(name, FEW_NIGHTLY if CASES[name].process else MANY_NIGHTLY, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_is_cut_anywhere_is_read_or_refused(name, tmp_path):
  case, path = CASES[name], tmp_path / CASES[name].name
  case.write(path)
  good = path.read_bytes()
  for length in np.linspace(0, len(good) - 1, 6 if case.process else 60).astype(int):
    path.unlink()
    path.write_bytes(good[:length])
    try:
      case.read(path)
    except errors.BadFileError as error:
      assert "\n" not in str(error)


def test_a_filter_of_hdf5_that_lacks_its_parameters_is_refused(tmp_path):
  """Blosc would read them at no address, and end the process."""
  path = tmp_path / "a.h5"
  kinds.write_dsec(path, GOOD)
  data = path.read_bytes()
  named = b"\x01\x7d\x08\0\x01\0\x07\0blosc"  # filter, length of its name, flags, 7 parameters
  assert data.count(named) == 4
  path.write_bytes(data.replace(named, named.replace(b"\x07", b"\0")))
  with pytest.raises(errors.BadFileError, match="lacks parameters of filter 32001"):
    events.open_events(path)


def test_what_ends_the_decoder_of_aedat4_does_not_end_us(tmp_path, capfd):
  """No stream of events; a tag that is no XML; one that is no UTF-8, which ends the process."""
  path = tmp_path / "a.aedat4"
  kinds.write_aedat4(path, GOOD)
  good = path.read_bytes()
  for old, new in ((b"EVTS", b"FRME"), (b"<dv", b"<\xff\xff"), (b"<attr key", b"<\xe1ttr key")):
    assert old in good
    path.write_bytes(good.replace(old, new))
    with pytest.raises(errors.BadFileError, match="is damaged, or no AEDAT 4: ."):
      events.open_events(path)
  assert capfd.readouterr() == ("", "")
