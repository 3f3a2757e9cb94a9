"""Event files of every kind: what they hold, where a time lies in them, and what is refused."""

import decimal
import tracemalloc

import h5py
import hdf5plugin
import numpy as np
from PIL import Image
import pytest

from bicross_jax import errors
from bicross_jax.data.formats import dsec, event_text, events, mvsec
from bicross_jax.data.formats.events import Events, open_events
from tests.data import event_kinds as kinds
from tests.data.event_kinds import SIZE, T0, equal, rows, stream, write

NONE = stream(0)


def _times(of: Events) -> np.ndarray:
  """Times at events, just beside them, on whole milliseconds, and outside."""
  milliseconds = T0 + 1000 * np.arange(-3, 40) - 1234
  some = of.t[:: max(len(of.t) // 20, 1)]
  times = [some, some - 1, some + 1, milliseconds, [-(2**61), 0, 2**61]]
  return np.random.default_rng(1).permutation(np.concatenate(times).astype(np.int64))


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_gives_what_was_written(kind, tmp_path, monkeypatch):
  monkeypatch.setattr(events.Located, "BLOCK", 64)
  monkeypatch.setattr(event_text, "_LINES", 37)
  wanted = stream(700)
  with open_events(write(tmp_path, kind, wanted), size=SIZE) as file:
    assert (file.count, file.first, file.last) == (700, wanted.t[0], wanted.t[-1])
    assert file.size == SIZE and file.cameras == (2 if kind == "mvsec" else 1)
    equal(file.read(0, 700), wanted)
    equal(file.read(130, 399), Events(*(column[130:399] for column in wanted)))
    equal(file.read(5, 5), NONE)
    times = _times(wanted)
    found = file.find(times)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, [(wanted.t < time).sum() for time in times])


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_file_without_events(kind, tmp_path):
  with open_events(write(tmp_path, kind, NONE), size=SIZE) as file:
    assert (file.count, file.first, file.last) == (0, 0, -1)
    equal(file.read(0, 0), NONE)
    np.testing.assert_array_equal(file.find(np.array([-5, 0, T0])), [0, 0, 0])


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_file_with_one_event(kind, tmp_path):
  wanted = stream(1)
  with open_events(write(tmp_path, kind, wanted), size=SIZE) as file:
    equal(file.read(0, file.count), wanted)
    np.testing.assert_array_equal(file.find(wanted.t + [-1, 0, 1]), [0, 0, 1])


def test_real_events_are_the_same_in_every_kind_of_file(samples, tmp_path):
  source = samples / "davis_slider_depth" / "events.txt"
  columns = zip(*(line.split() for line in source.read_text().splitlines()), strict=True)
  t, x, y, p = (list(column) for column in columns)
  micro = [int((decimal.Decimal(time) * 10**6).to_integral_value()) for time in t]
  wanted = Events(
    np.array(x, np.uint16), np.array(y, np.uint16), np.array(micro), np.array(p) == "1"
  )
  assert len(micro) == 40_000
  with open_events(source, size=(180, 240)) as file:
    equal(file.read(0, file.count), wanted)
  for kind in kinds.KINDS:
    with open_events(write(tmp_path, kind, wanted, (180, 240))) as file:
      equal(file.read(0, file.count), wanted)
  assert dsec.write_events(tmp_path / "own.h5", [wanted], (180, 240)) == 40_000
  with open_events(tmp_path / "own.h5") as file:
    assert file.size == (180, 240)
    equal(file.read(0, file.count), wanted)


def test_both_cameras_of_mvsec(tmp_path):
  left, right = stream(90, 1), stream(60, 2)
  kinds.write_mvsec(tmp_path / "a.hdf5", left, right, chunks=(16, 4), compression="lzf")
  mvsec.write_events(tmp_path / "b.hdf5", left, right)
  for name in ("a.hdf5", "b.hdf5"):
    for camera, wanted in (("left", left), ("right", right)):
      with open_events(tmp_path / name, camera=camera) as file:
        assert file.size == (260, 346)
        equal(file.read(0, file.count), wanted)
  with pytest.raises(ValueError, match="choose from left, right"):
    open_events(tmp_path / "a.hdf5", camera="middle")


@pytest.mark.parametrize("compression", [None, ("lz4", 3), ("zstd", 3)])
def test_aedat4_however_it_is_packed(compression, tmp_path):
  wanted = stream(500)
  kinds.write_aedat4(tmp_path / "a.AEDAT4", wanted, compression=compression, file_type="aedat")
  with open_events(tmp_path / "a.AEDAT4") as file:
    assert file.size == SIZE
    equal(file.read(0, file.count), wanted)


@pytest.mark.parametrize(
  ("values", "on"),
  [
    ([0, 1, 0], [False, True, False]),
    ([-1, 1, -1], [False, True, False]),
    ([1, 1, 1], [True] * 3),
    ([0, 0, 0], [False] * 3),
    ([-1, -1, -1], [False] * 3),
  ],
)
def test_polarities(values, on, tmp_path):
  for kind in (np.int8, np.float32):
    _npz(tmp_path / "a.npz", p=np.array(values, kind))
    with open_events(tmp_path / "a.npz") as file:
      np.testing.assert_array_equal(file.read(0, 3).p, on)
  _npz(tmp_path / "a.npz", p=np.array(on))
  with open_events(tmp_path / "a.npz") as file:
    np.testing.assert_array_equal(file.read(0, 3).p, on)


def _npz(path, **columns):
  plain = dict(x=np.arange(3), y=np.arange(3), t=np.arange(3), p=np.ones(3, np.int8))
  np.savez(path, **{**plain, **columns})


@pytest.mark.parametrize(
  ("columns", "told"),
  [
    (dict(p=np.array([0, 1, -1])), "event 0 has polarity 0, and others -1"),
    (dict(p=np.array([0, 2, 1])), "event 1 has polarity 2"),
    (dict(p=np.array([0, 1, np.nan])), "event 2 has polarity nan"),
    (dict(x=np.array([0, 40, 1])), "event 1 has x 40 .*0 .. 39"),
    (dict(x=np.array([0, -1, 1])), "event 1 has x -1"),
    (dict(y=np.array([0, 1, 30])), "event 2 has y 30 .*0 .. 29"),
    (dict(y=np.array([0, 0.5, 3])), "event 1 has y 0.5"),
    (dict(y=np.array([np.nan, 0.5, 3])), "event 0 has y nan"),
    (dict(y=np.array([0, np.inf, 3])), "event 1 has y inf"),
    (dict(x=np.array([0, 2**64 - 1, 1], np.uint64)), "event 1 has x 18446744073709551615"),
    (dict(t=np.array([5, 7, 6])), "event 2 at 6 microseconds comes after one at 7"),
    (dict(t=np.array([0.0, np.nan, 1.0])), "event 1 has time nan"),
    (dict(t=np.array([0.0, 1.0, np.inf], np.float16)), "event 2 has time inf"),
    (dict(t=np.array([0, 1, 2**63], np.uint64)), "event 2 has time 9223372036854775808"),
    (dict(t=np.array([0, 1])), r"columns of \[2, 3\] numbers"),
    (dict(x=np.zeros((3, 1))), r"x has shape \(3, 1\)"),
  ],
)
def test_what_is_no_event_is_refused(columns, told, tmp_path):
  _npz(tmp_path / "a.npz", **columns)
  with pytest.raises(errors.BadFileError, match=told):
    open_events(tmp_path / "a.npz", size=SIZE)


def _spoilt(kind, tmp_path, column, value):
  """A file whose event 70 of 100 has another number; its reading."""
  good = stream(100)
  if kind == "dsec":
    path = write(tmp_path, kind, good)
    with h5py.File(path, "r+") as file:
      file[f"events/{column}"][70] = value - int(file["t_offset"][()]) * (column == "t")
  else:
    table = rows(good)
    table[70, "xytp".index(column)] = value / 1e6 if column == "t" else value
    path = tmp_path / kinds.KINDS[kind][0]
    if kind == "mvsec":
      with h5py.File(path, "w") as file:
        file["davis/left/events"] = table
    elif kind == "npy":
      np.save(path, table[:, [2, 0, 1, 3]])
    else:
      np.savetxt(path, table[:, [2, 0, 1, 3]], "%.6f %g %g %g")
  with open_events(path, size=SIZE) as file:
    file.find(np.arange(T0, T0 + 30_000, 1000))
    file.read(0, file.count)


@pytest.mark.parametrize("kind", ["mvsec", "npy", "text", "dsec"])
def test_number_and_value_of_a_bad_event_are_told_in_every_kind_of_file(kind, tmp_path):
  good = stream(100)
  with pytest.raises(errors.BadFileError, match=f"event 70 at {good.t[50]} microseconds comes aft"):
    _spoilt(kind, tmp_path, "t", good.t[50])
  for column, value in (("x", 40), ("y", 30)):
    with pytest.raises(errors.BadFileError, match=f"event 70 has {column} {value}"):
      _spoilt(kind, tmp_path, column, value)
  with pytest.raises(errors.BadFileError, match="event 70 has polarity 3"):
    _spoilt(kind, tmp_path, "p", 3)
  if kind != "dsec":
    for value in (np.nan, np.inf):
      with pytest.raises(errors.BadFileError, match=f"event 70 has time {value}"):
        _spoilt(kind, tmp_path, "t", value)


# Text


@pytest.mark.parametrize(
  ("text", "times"),
  [
    ("0.5 1 2 1\n0.500001 1 2 0\n", [500_000, 500_001]),
    ("0 1 2 1\n0.000012 1 2 0\n", [0, 12]),  # whole seconds that begin a list of seconds
    ("500000 1 2 1\n500001 1 2 0\n", [500_000, 500_001]),
    ("40 30\n500000 1 2 1\n500001 1 2 0\n", [500_000, 500_001]),
    ("# t x y p\n\n500000 1 2 1\n500001 1 2 0 # the last\n\n", [500_000, 500_001]),
    ("-3 1 2 1\n4 1 2 0", [-3, 4]),
    (f"{T0} 1 2 1\n{T0 + 1} 1 2 0\n", [T0, T0 + 1]),
    ("1506117860.123456 1 2 1\n1506117860.123457 1 2 -1\n", [T0, T0 + 1]),
    ("1.5e-1 1 2 1\r\n0.2 1.0 2.0 0.0\r\n", [150_000, 200_000]),
  ],
)
def test_times_of_a_text(text, times, tmp_path):
  (tmp_path / "a.txt").write_text(text)
  with open_events(tmp_path / "a.txt") as file:
    found = file.read(0, file.count)
    assert file.size == (SIZE if text.startswith("40 30") else None)
  np.testing.assert_array_equal(found.t, times)
  assert found.p.tolist() == [True, False]
  assert (found.x.tolist(), found.y.tolist()) == ([1, 1], [2, 2])


@pytest.mark.parametrize(
  ("text", "told"),
  [
    ("0.1 1 2\n", "lines of 3 numbers"),
    ("0.1 1 2 1\n0.2 1 2\n", "no text of events"),
    ("0.1 1 2 one\n", "no text of events"),
    ("0.1,1,2,1\n", "no text of events"),
    ("40 30\n0.1 40 2 1\n", "event 0 has x 40"),
    (
      "9007199254740993 1 2 1\n",
      "event 0 has time 9007199254740992",
    ),  # more digits than the numbers have
    (f"{'9' * 5000} 7\n1 1 1 1\n", "no text of events"),
    ("1 2 3 4 5\n", "lines of 5 numbers"),
    ("x" * 5000, "no text of events"),
  ],
)
def test_what_is_no_text_of_events_is_refused(text, told, tmp_path):
  (tmp_path / "a.txt").write_text(text)
  with pytest.raises(errors.BadFileError, match=told) as caught:
    open_events(tmp_path / "a.txt")
  assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_microseconds_that_are_not_whole_later_in_a_text_are_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(event_text, "_LINES", 2)
  (tmp_path / "a.txt").write_text("5 1 2 1\n6 1 2 1\n6.5 1 2 1\n7 1 2 1\n")
  with pytest.raises(errors.BadFileError, match="event 2 has time nan"):
    open_events(tmp_path / "a.txt")


# NumPy


def test_whole_numbers_of_npy_are_microseconds(tmp_path):
  table = np.array([[T0, 3, 4, 1], [T0 + 1, 5, 6, 0]])
  np.save(tmp_path / "a.npy", table)
  with open_events(tmp_path / "a.npy") as file:
    equal(
      file.read(0, 2),
      Events(np.uint16([3, 5]), np.uint16([4, 6]), table[:, 0], np.array([True, False])),
    )


def test_other_arrays_are_refused(tmp_path):
  np.save(tmp_path / "a.npy", np.zeros((5, 3)))
  np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3), times=np.zeros(3))
  for name, told in (("a.npy", r"shape \(5, 3\)"), ("a.npz", "holds x, y, times")):
    with pytest.raises(errors.BadFileError, match=told):
      open_events(tmp_path / name)


def test_files_that_are_none(tmp_path):
  (tmp_path / "a.bag").write_bytes(b"#ROSBAG")
  for suffix in events.SUFFIXES:
    (tmp_path / f"empty{suffix}").write_bytes(b"")
    for place in (tmp_path / f"missing{suffix}", tmp_path):
      with pytest.raises(errors.BadFileError, match="no such file|is a folder"):
        open_events(place)
    if suffix == ".txt":
      assert open_events(tmp_path / "empty.txt").count == 0
    else:
      with pytest.raises(errors.BadFileError):
        open_events(tmp_path / f"empty{suffix}")
  with pytest.raises(errors.BadFileError, match="unknown kind .*h5.*npy"):
    open_events(tmp_path / "a.bag")


# HDF5


@pytest.mark.parametrize(
  ("change", "told"),
  [
    (lambda f: f["davis"].__delitem__("left"), "has no data set davis/left/events"),
    (lambda f: _instead(f, np.zeros((5, 3))), r"is float64 \(5, 3\)"),
    (lambda f: _instead(f, np.zeros(5)), r"is float64 \(5,\)"),
    (lambda f: _instead(f, np.zeros((5, 4), np.float32)), "is float32 .*expected float64"),
    (lambda f: _instead(f, np.zeros((5, 4), "S3")), r"davis/left/events is \|S3"),
    (lambda f: _instead(f, h5py.Empty("f8")), "davis/left/events is float64 None"),
    (lambda f: _unwritten(f, "davis/left/events", (500, 4)), "not all was written"),
    (lambda f: _unwritten(f, "davis/left/events", (2**40, 4)), "not all was written"),
  ],
)
def test_other_hdf5_than_mvsec(change, told, tmp_path):
  path = write(tmp_path, "mvsec", stream(80))
  with h5py.File(path, "r+") as file:
    change(file)
  with pytest.raises(errors.BadFileError, match=told):
    open_events(path)


def _instead(file, data, name="davis/left/events"):
  del file[name]
  file[name] = data


def _unwritten(file, name, shape):
  """Only the first of the pieces is there."""
  values = file[name][:16]
  del file[name]
  data = file.create_dataset(name, shape, values.dtype, chunks=(16, *shape[1:]))
  data[:16] = values


@pytest.mark.parametrize(
  ("change", "told"),
  [
    (lambda f: f["events"].__delitem__("p"), "has no data set events/p"),
    (lambda f: f.__delitem__("ms_to_idx"), "has no data set ms_to_idx"),
    (lambda f: _instead(f, np.zeros(79, np.uint8), "events/p"), "columns of .*'p': 79"),
    (lambda f: _instead(f, np.zeros(80, np.float32), "events/p"), "events/p is float32"),
    (lambda f: _instead(f, np.uint64([0, 9, 3]), "ms_to_idx"), "ms_to_idx does not ascend"),
    (lambda f: _instead(f, np.uint64([0, 81]), "ms_to_idx"), "among 80 events"),
    (lambda f: _instead(f, np.uint64([2**64 - 9, 9]), "ms_to_idx"), "ms_to_idx does not ascend"),
    (lambda f: _instead(f, np.uint64(2**63), "t_offset"), "has time 9223372036854775808"),
    (lambda f: _instead(f, np.int64([3]), "t_offset"), r"t_offset is int64 \(1,\)"),
    (lambda f: f["events"].attrs.update(height=-1, width=5), "notes a sensor"),
    (lambda f: f["events"].attrs.update(height=np.inf, width=5), "is damaged"),
    (lambda f: _unwritten(f, "events/x", (80,)), "not all was written"),
    (lambda f: _unwritten(f, "ms_to_idx", (2**50,)), "not all was written"),
  ],
)
def test_other_hdf5_than_dsec(change, told, tmp_path):
  path = write(tmp_path, "dsec", stream(80))
  with h5py.File(path, "r+") as file:
    change(file)
  with pytest.raises(errors.BadFileError, match=told):
    open_events(path)


def test_an_index_of_milliseconds_that_is_wrong_is_noticed(tmp_path):
  good = stream(400)
  path = write(tmp_path, "dsec", good)
  with h5py.File(path) as file:
    index = file["ms_to_idx"][()].astype(np.int64)
  for shift in (-5, 5):
    with h5py.File(path, "r+") as file:
      file["ms_to_idx"][:] = np.clip(index + shift, 0, 400).astype(np.uint64)
    with open_events(path) as opened:
      with pytest.raises(errors.BadFileError, match="ms_to_idx is wrong about millisecond"):
        opened.find(good.t)


def test_dsec_without_an_offset(tmp_path):
  wanted = stream(80, t0=77)
  path = tmp_path / "a.h5"
  kinds.write_dsec(path, wanted, 0, compression="gzip")
  with h5py.File(path, "r+") as file:
    del file["t_offset"]
  with open_events(path) as file:
    assert file.size == (480, 640)
    equal(file.read(0, 80), wanted)
    np.testing.assert_array_equal(file.find(wanted.t), np.searchsorted(wanted.t, wanted.t))


def test_a_filter_that_is_not_there_is_named(tmp_path):
  path = write(tmp_path, "dsec", stream(80))
  blosc, unknown = (n.to_bytes(2, "little") for n in (hdf5plugin.BLOSC_ID, 32_777))
  data = path.read_bytes()
  assert data.count(blosc + b"\x08\0") == 4  # the filter, and the length of its name
  path.write_bytes(data.replace(blosc + b"\x08\0", unknown + b"\x08\0"))
  with pytest.raises(errors.BadFileError, match="filter 32777 'blosc'.*hdf5plugin"):
    open_events(path)


def test_a_damaged_piece_is_no_missing_filter(tmp_path):
  path = write(tmp_path, "dsec", stream(80))
  data = bytearray(path.read_bytes())
  with h5py.File(path) as file:
    piece = file["events/x"].id.get_chunk_info(0)
  data[piece.byte_offset + 4 : piece.byte_offset + 20] = bytes(16)
  path.write_bytes(data)
  with open_events(path) as file, pytest.raises(errors.BadFileError, match="is damaged"):
    file.read(0, 80)


# What lies beside the events


def _truth(path, depth, stamps):
  with h5py.File(path, "w") as file:
    file["davis/left/depth_image_rect"] = depth
    file["davis/left/depth_image_rect_ts"] = stamps


def test_depth_of_mvsec(tmp_path):
  depth = np.random.default_rng(0).uniform(1, 9, (3, *SIZE)).astype(np.float32)
  depth[1, 4, 5:9] = np.nan
  _truth(tmp_path / "gt.hdf5", depth, (T0 + np.array([0, 50_001, 99_999])) / 1e6)
  with mvsec.Truth(tmp_path / "gt.hdf5", SIZE) as truth:
    np.testing.assert_array_equal(truth.stamps - T0, [0, 50_001, 99_999])
    for i in range(3):
      found = truth.depth(i)
      assert found.dtype == np.float32
      np.testing.assert_array_equal(found, np.nan_to_num(depth[i]))


@pytest.mark.parametrize(
  ("shape", "stamps", "told"),
  [
    ((3, *SIZE), [0.0, 1.0], "as many maps as stamps"),
    ((2, 30, 41), [0.0, 1.0], r"has shape \(2, 30, 41\)"),
    ((2, *SIZE), [1.0, 0.5], "in the order of time"),
    ((2, *SIZE), [1.0, np.nan], "time nan"),
    ((2, 30), [1.0, 2.0], "3 axes"),
  ],
)
def test_other_depth_than_mvsec(shape, stamps, told, tmp_path):
  _truth(tmp_path / "gt.hdf5", np.zeros(shape, np.float32), stamps)
  with pytest.raises(errors.BadFileError, match=told):
    mvsec.Truth(tmp_path / "gt.hdf5", SIZE)


@pytest.mark.parametrize("value", [-1.0, np.inf])
def test_depth_that_there_cannot_be(value, tmp_path):
  depth = np.ones((2, *SIZE), np.float32)
  depth[1, 3, 3] = value
  _truth(tmp_path / "gt.hdf5", depth, [0.0, 1.0])
  with mvsec.Truth(tmp_path / "gt.hdf5", SIZE) as truth:
    assert truth.depth(0).all()
    with pytest.raises(errors.BadFileError, match="depth map 1"):
      truth.depth(1)


def test_maps_of_mvsec(tmp_path):
  wanted = np.random.default_rng(0).uniform(-5, 350, (260, 346))
  np.savetxt(tmp_path / "map.txt", wanted, "%.17g")
  np.testing.assert_array_equal(mvsec.read_map(tmp_path / "map.txt"), wanted)
  for text, told in (("1 2\n3 4\n", r"\(2, 2\)"), ("1 2\n3\n", "no table"), ("a b", "no table")):
    (tmp_path / "bad.txt").write_text(text)
    with pytest.raises(errors.BadFileError, match=told):
      mvsec.read_map(tmp_path / "bad.txt")
  (tmp_path / "bad.txt").write_text("1 nan\n3 4\n")
  with pytest.raises(errors.BadFileError, match="finite"):
    mvsec.read_map(tmp_path / "bad.txt", (2, 2))


def test_maps_of_dsec(tmp_path):
  path = tmp_path / "rectify_map.h5"
  wanted = np.random.default_rng(0).uniform(-5, 50, (*SIZE, 2)).astype(np.float32)
  with h5py.File(path, "w") as file:
    file["rectify_map"] = wanted
  np.testing.assert_array_equal(dsec.read_rectify_map(path, SIZE), wanted)
  with pytest.raises(errors.BadFileError, match=r"\(480, 640, 2\)"):
    dsec.read_rectify_map(path)
  with h5py.File(path, "r+") as file:
    file["rectify_map"][3, 3, 1] = np.nan
  with pytest.raises(errors.BadFileError, match="finite"):
    dsec.read_rectify_map(path, SIZE)
  with h5py.File(path, "w") as file:
    file["other"] = wanted
  with pytest.raises(errors.BadFileError, match="no data set rectify_map"):
    dsec.read_rectify_map(path, SIZE)


def test_disparity_of_dsec(tmp_path):
  wanted = np.random.default_rng(0).integers(0, 65536, SIZE).astype(np.uint16)
  wanted[:3] = 0
  Image.fromarray(wanted).save(tmp_path / "a.png")
  found = dsec.read_disparity(tmp_path / "a.png")
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, wanted / 256.0)


@pytest.mark.parametrize("text", ["5\n4\n", "1.5\n", "x\n", f"{2**63}\n", f"{2**62}\n"])
def test_stamps_of_dsec(text, tmp_path):
  path = tmp_path / "timestamps.txt"
  path.write_text(f"{T0}\n{T0 + 1}\n")
  np.testing.assert_array_equal(dsec.read_timestamps(path), [T0, T0 + 1])
  path.write_text(text)
  with pytest.raises(errors.BadFileError):
    dsec.read_timestamps(path)


# Writing DSEC's layout


def test_written_pieces_are_a_file_of_dsec(tmp_path):
  wanted = stream(1000)
  cuts = [0, 0, 1, 400, 400, 777, 1000]
  pieces = [Events(*(c[a:b] for c in wanted)) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
  path, offset = tmp_path / "folder" / "events.h5", int(wanted.t[0]) - 2500
  assert list(dsec.write_pieces(path, pieces, SIZE, offset)) == [0, 1, 399, 0, 377, 223]
  with h5py.File(path) as file:
    kinds_found = {name: file[f"events/{name}"].dtype.name for name in "xytp"}
    assert kinds_found == {"x": "uint16", "y": "uint16", "t": "uint32", "p": "uint8"}
    t = file["events/t"][()].astype(np.int64)
    np.testing.assert_array_equal(t, wanted.t - offset)
    np.testing.assert_array_equal(file["events/x"], wanted.x)
    np.testing.assert_array_equal(file["events/y"], wanted.y)
    np.testing.assert_array_equal(file["events/p"], wanted.p.astype(int))
    assert file["t_offset"][()] == offset
    index = file["ms_to_idx"][()]
    assert len(index) == t[-1] // 1000 + 1
    np.testing.assert_array_equal(index, [(t < 1000 * m).sum() for m in range(len(index))])
  with open_events(path) as file:
    assert file.size == SIZE
    equal(file.read(0, 1000), wanted)
    times = _times(wanted)
    np.testing.assert_array_equal(file.find(times), np.searchsorted(wanted.t, times))


def test_nothing_is_written_where_events_fail(tmp_path):
  path = tmp_path / "events.h5"
  path.write_bytes(b"older")

  def fails():
    yield stream(10)
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    dsec.write_events(path, fails(), SIZE, T0)
  with pytest.raises(errors.UserError, match="do not fit"):
    dsec.write_events(path, [stream(10)], SIZE)
  with pytest.raises(errors.UserError, match="do not fit"):
    dsec.write_events(path, [stream(10)], SIZE, T0 + 10**6)
  with pytest.raises(errors.UserError, match="event 10 at .* comes after"):
    dsec.write_events(path, [stream(10, t0=T0 + 10**6), stream(10)], SIZE, T0)
  assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_clear_line(tmp_path, capfd):
  """HDF5 itself crashes when it closes a file that it could not write."""
  resource = pytest.importorskip("resource")
  path, before = tmp_path / "events.h5", resource.getrlimit(resource.RLIMIT_FSIZE)
  pieces = [stream(70_000, i, t0=T0 + 30_000 * i) for i in range(3)]
  dsec.write_events(path, pieces, SIZE, T0)
  whole = path.stat().st_size
  path.unlink()
  for limit in (100, 3000, whole // 3, whole // 2, whole - 5000, whole - 1000, whole - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
      with pytest.raises(errors.UserError, match="events.h5 cannot be written: .") as caught:
        dsec.write_events(path, pieces, SIZE, T0)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
  assert capfd.readouterr() == ("", "")


def test_a_file_is_read_a_window_at_a_time(tmp_path):
  """Memory does not grow with the file."""
  many = stream(400_000, length=4_000_000)
  for kind in ("mvsec", "dsec"):
    if kind == "dsec":
      dsec.write_events(tmp_path / "b.h5", [many], SIZE, int(many.t[0]))
    path = tmp_path / "b.h5" if kind == "dsec" else write(tmp_path, kind, many)
    tracemalloc.start()
    try:
      with open_events(path) as file:
        seen = 0
        for begin in range(int(file.first), int(file.last) + 1, 50_000):
          start, stop = file.find(np.array([begin, begin + 50_000]))
          seen += len(file.read(int(start), int(stop)).t)
      most = tracemalloc.get_traced_memory()[1]
    finally:
      tracemalloc.stop()
    assert seen == 400_000
    assert most < 6 << 20  # the whole of it takes 13 MB as float64
