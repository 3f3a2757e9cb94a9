"""Spike streams in files: round trips, orders, parts, and clear refusals."""

import io
import tracemalloc
import zipfile

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


def _npy_bytes(shape_text, stream, version=b"\1\0"):
  header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape_text}, }}".encode()
  length = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
  return b"\x93NUMPY" + version + length + header + stream.tobytes()


@pytest.mark.parametrize("version", [b"\1\0", b"\2\0", b"\3\0"])
@pytest.mark.parametrize("shape", ["(16, 8, 24)", "(16L, 8L, 24L)", "(16L,8,24L,)"])
def test_headers_that_numpy_reads_are_read(tmp_path, shape, version):
  stream = np.random.default_rng(0).integers(0, 2, (16, 8, 24)).astype(np.uint8)
  (tmp_path / "a.npy").write_bytes(_npy_bytes(shape, stream, version))
  np.testing.assert_array_equal(spikes.read(tmp_path / "a.npy"), stream)
  with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
    archive.writestr("a.npy", _npy_bytes(shape, np.moveaxis(stream, 0, -1).reshape(16, 8, 24)))
  assert spikes.read_npz(tmp_path / "a.npz").shape == (24, 16, 8)


def test_a_header_that_numpy_refuses_is_one_line(tmp_path):
  stream = np.zeros((16, 8, 24), np.uint8)
  (tmp_path / "a.npy").write_bytes(_npy_bytes("(np.int64(16), np.int64(8), np.int64(24))", stream))
  with pytest.raises(errors.BadFileError, match="does not describe an array"):
    spikes.read(tmp_path / "a.npy")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axes", ["HWT", "THW"])
@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float32, np.int64])
def test_every_part_of_an_npz_in_every_order(tmp_path, monkeypatch, order, axes, dtype):
  monkeypatch.setattr(npy, "_PIECE", 100)  # many pieces, which end anywhere
  stream = np.random.default_rng(0).integers(0, 2, (37, 6, 10)).astype(np.uint8)
  stored = np.moveaxis(stream, 0, -1) if axes == "HWT" else stream
  np.savez_compressed(tmp_path / "a.npz", np.asarray(stored, dtype, order=order))
  opened = spikes.open_stream(tmp_path / "a.npz") if axes == "HWT" else None
  for start, steps in ((0, 37), (0, 1), (5, 16), (8, 8), (36, 1), (13, 24)):
    got = spikes.read_npz(tmp_path / "a.npz", axes=axes, start=start, steps=steps)
    np.testing.assert_array_equal(got, stream[start : start + steps])
    assert got.dtype == np.uint8 and got.flags.c_contiguous
    if opened:
      assert (opened.steps, opened.shape) == (37, (6, 10))
      np.testing.assert_array_equal(opened.read(start, steps), got)
  with pytest.raises(errors.BadFileError, match="37 steps"):
    spikes.read_npz(tmp_path / "a.npz", axes=axes, start=30, steps=8)


def test_an_npz_takes_memory_for_its_window_and_a_bit_a_step(tmp_path):
  """32 MB of steps, which deflate to a few 100 kB."""
  stream = np.zeros((100, 160, 2000), np.uint8)
  stream[::7, ::5, ::97] = 1
  np.savez_compressed(tmp_path / "a.npz", stream)

  def peak(function):
    tracemalloc.start()
    got = function()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(got, np.moveaxis(stream[..., 1000:1128], -1, 0))
    return most

  window = 100 * 160 * 128
  pieces = 5 * (4 << 20)  # one of 4 MB as it comes, is put together, compared and copied
  one = peak(lambda: spikes.read_npz(tmp_path / "a.npz", start=1000, steps=128))
  assert one < window + pieces
  held = peak(lambda: spikes.open_stream(tmp_path / "a.npz").read(1000, 128))
  assert held < 2 * window + stream.size / 8 + pieces


def test_an_npz_that_is_larger_and_emptier_than_a_recording_is_refused(tmp_path):
  """Two MB that say to be 1.2 GB: deflate could do that, a camera does not."""
  data = io.BytesIO()
  np.savez_compressed(data, np.random.default_rng(0).integers(0, 256, 2_000_000, np.uint8))
  data = bytearray(data.getvalue())
  for mark, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
    begin = data.index(mark) + at
    data[begin : begin + 4] = (1_200_000_000).to_bytes(4, "little")
  (tmp_path / "a.npz").write_bytes(data)
  for reader in (spikes.read, npy.read_npz):
    with pytest.raises(errors.BadFileError, match="emptier than any recording"):
      reader(tmp_path / "a.npz")
