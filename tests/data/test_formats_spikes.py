"""Spike streams in files: round trips, orders, parts, and clear refusals."""

import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data.formats import npy, spikes
from bicross_jax.ops import spikes as packing


def _stream(shape=(24, 6, 16)):
  return np.random.default_rng(1).integers(0, 2, shape).astype(np.uint8)


def test_dat_is_the_cameras_order(tmp_path):
  stream = _stream()
  path = tmp_path / "a.dat"
  spikes.write_dat(path, stream)
  raw = np.fromfile(path, np.uint8)
  decoded = np.unpackbits(raw.reshape(24, 12), axis=1, bitorder="little").reshape(24, 6, 16)
  np.testing.assert_array_equal(decoded[:, ::-1], stream)
  got = spikes.read_dat(path, 6, 16)
  assert got.dtype == np.uint8
  np.testing.assert_array_equal(got, stream)
  np.testing.assert_array_equal(spikes.read_dat(path, 6, 16, flip=False), stream[:, ::-1])
  np.testing.assert_array_equal(
    spikes.read(path, height=6, width=16, start=3, steps=4), stream[3:7]
  )


def test_dat_part_reads_only_that_part(tmp_path):
  path = tmp_path / "long.dat"
  step = 250 * 400 // 8
  with open(path, "wb") as file:  # 10^6 steps, 12.5 GB, without a byte on the disk
    file.truncate(10**6 * step)
  assert spikes.dat_steps(path, 250, 400) == 10**6
  part = spikes.read_dat(path, 250, 400, start=999_990, steps=8)
  assert part.shape == (8, 250, 400) and not part.any()


def test_dat_row_head_is_dropped(tmp_path):
  wide = _stream((3, 4, 24))
  spikes.write_dat(tmp_path / "wide.dat", wide)
  got = spikes.read_dat(tmp_path / "wide.dat", 4, 16, row_head=8)
  np.testing.assert_array_equal(got, wide[:, :, :16])


def test_dat_of_another_size_or_cut_off_is_refused(tmp_path):
  path = tmp_path / "a.dat"
  spikes.write_dat(path, _stream((7, 6, 16)))
  with pytest.raises(errors.BadFileError, match=r"84 bytes .* multiple of 18 bytes: 6 rows of 24"):
    spikes.read_dat(path, 6, 24)
  with pytest.raises(errors.BadFileError, match="has 7 steps .expected at least 9"):
    spikes.read_dat(path, 6, 16, start=1, steps=8)
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(errors.BadFileError, match=r"a\.dat: 83 bytes"):
    spikes.read_dat(path, 6, 16)
  with pytest.raises(errors.UserError, match="multiple of 8"):
    spikes.read_dat(path, 5, 5)
  with pytest.raises(errors.UserError, match="start -1"):
    spikes.read_npy(_saved(tmp_path, _stream()), start=-1)


def _saved(folder, array, name="a.npy"):
  np.save(folder / name, array)
  return folder / name


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, ">i2", np.float32, float])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_plain_type(tmp_path, dtype, order):
  stream = _stream()
  path = _saved(tmp_path, np.asarray(stream, dtype, order=order))
  got = spikes.read_npy(path)
  assert got.dtype == np.uint8 and type(got) is np.ndarray
  np.testing.assert_array_equal(got, stream)
  np.testing.assert_array_equal(spikes.read(path, start=8, steps=8), stream[8:16])


def test_naive_npy_is_a_dat_unpacked_in_the_wrong_order(tmp_path):
  stream = _stream()
  raw = np.frombuffer(spikes.dat_bytes(stream), np.uint8)
  path = _saved(tmp_path, np.unpackbits(raw.reshape(24, 12), axis=1).reshape(24, 6, 16))
  np.testing.assert_array_equal(spikes.read_npy(path, naive=True), stream)
  assert (spikes.read_npy(path) != stream).any()
  with pytest.raises(errors.BadFileError, match="12 wide"):
    spikes.read_npy(_saved(tmp_path, stream[:, :, :12], "b.npy"), naive=True)


def test_npz_axes_and_keys(tmp_path):
  stream = _stream()
  path = tmp_path / "a.npz"
  np.savez_compressed(path, np.moveaxis(stream, 0, -1))
  np.testing.assert_array_equal(spikes.read_npz(path), stream)
  np.testing.assert_array_equal(spikes.read(path, start=2, steps=3), stream[2:5])
  np.savez(path, one=stream, two=stream[:3])
  np.testing.assert_array_equal(spikes.read_npz(path, key="two", axes="THW"), stream[:3])
  with pytest.raises(errors.BadFileError, match=r"holds the arrays \['one', 'two'\]"):
    spikes.read_npz(path)
  with pytest.raises(errors.BadFileError, match="an array 'three'"):
    spikes.read_npz(path, key="three")


@pytest.mark.parametrize(
  "array,message",
  [
    (np.zeros((4, 8), np.uint8), r"shape \(4, 8\)"),
    (np.full((2, 3, 4), 2, np.uint8), "other values"),
    (np.full((2, 3, 4), np.nan), "other values"),
    (np.zeros((0, 3, 4), np.uint8), "is empty"),
    (np.zeros((2, 3, 4), complex), "plain numbers"),
    (np.array([[[{}]]], object), "plain numbers"),
    (np.zeros((2, 3, 4), [("x", "u1")]), "plain numbers"),
  ],
)
def test_npy_that_is_no_stream_is_refused(tmp_path, array, message):
  with pytest.raises(errors.BadFileError, match=message):
    spikes.read_npy(_saved(tmp_path, array))


def test_npy_declaring_more_than_it_holds_is_refused_before_reading(tmp_path):
  path = tmp_path / "a.npy"
  path.write_bytes(npy.header_bytes((10**6, 10**5, 10**5), np.uint8) + bytes(100))
  with pytest.raises(errors.BadFileError, match="expected 10000000000000128 for uint8"):
    spikes.read_npy(path)
  whole = _saved(tmp_path, _stream()).read_bytes()
  for data in (whole[:-1], whole + b"\0"):
    path.write_bytes(data)
    with pytest.raises(errors.BadFileError, match=f"has {len(data)} bytes"):
      spikes.read_npy(path)


def test_npz_declaring_more_than_it_holds_is_refused(tmp_path):
  path = tmp_path / "bomb.npz"
  np.savez_compressed(path, np.zeros((8, 8, 8), np.uint8))
  data = bytearray(path.read_bytes())
  directory = data.rindex(b"PK\x01\x02")
  data[directory + 24 : directory + 28] = (2**31).to_bytes(4, "little")
  path.write_bytes(data)
  with pytest.raises(errors.BadFileError, match="declares 2147483648 bytes in"):
    spikes.read_npz(path)


def test_unknown_suffix_is_refused(tmp_path):
  with pytest.raises(errors.BadFileError, match=r"unknown kind .*\.dat, \.npy, \.npz"):
    spikes.read(tmp_path / "a.mat")


def test_packed_form_is_that_of_a_batch():
  stream = _stream()
  packed = spikes.pack_time(stream)
  np.testing.assert_array_equal(packed, packing.pack(np.moveaxis(stream, 0, -1)))
  np.testing.assert_array_equal(spikes.unpack_time(packed), stream)
  with pytest.raises(ValueError, match="multiple of 8"):
    spikes.pack_time(stream[:9])
  with pytest.raises(ValueError, match="float64"):
    spikes.pack_time(stream.astype(float))


def test_npy_is_numpys_own(tmp_path):
  spikes.write_npy(tmp_path / "a.npy", _stream())
  np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), _stream())
