"""MATLAB's files, as SciPy writes them, and as the format's page describes them."""

import io
import struct

import numpy as np
import pytest
import scipy.io

from bicross_jax import errors
from bicross_jax.data.formats import mat

RNG = np.random.default_rng(0)
ARRAYS = {
  "Position3DGrid": RNG.uniform(-5, 80, (7, 9, 4)),
  "single": RNG.random((3, 4)).astype(np.float32),
  "i": np.array([[-3, 4]], np.int16),
  "bytes": RNG.integers(0, 256, (2, 3, 2), np.uint8),
  "long": np.array([[2**60, -5]], np.int64),
}


def _file(path, arrays, **options):
  scipy.io.savemat(path, arrays, **options)
  return path


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_is_read(tmp_path, compressed):
  path = _file(tmp_path / "a.mat", ARRAYS, do_compression=compressed)
  for name, want in ARRAYS.items():
    got = mat.read(path, name)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("order", "<>")
def test_whole_numbers_may_be_stored_in_fewer_bytes(tmp_path, order):
  """As MATLAB does with doubles; columns come first, and either byte order may be."""

  def element(kind, body):
    return struct.pack(f"{order}II", kind, len(body)) + body + bytes(-len(body) % 8)

  numbers = bytes(range(6))
  content = b"".join(
    [
      element(6, struct.pack(f"{order}II", 6, 0)),  # class double
      element(5, struct.pack(f"{order}ii", 2, 3)),
      struct.pack(f"{order}I", 1 << 16 | 1) + b"x\0\0\0",  # a name in the tag
      element(2, numbers),  # uint8
    ]
  )
  mark = struct.pack(f"{order}HH", 0x0100, 0x4D49)
  path = tmp_path / "a.mat"
  path.write_bytes(bytes(124) + mark + element(14, content))
  got = mat.read(path, "x")
  assert got.dtype == np.float64
  np.testing.assert_array_equal(got, [[0, 2, 4], [1, 3, 5]])


def test_what_is_not_there_is_named(tmp_path):
  path = _file(tmp_path / "a.mat", {"grid": np.ones(3), "depth": np.ones(2)})
  with pytest.raises(errors.BadFileError, match="has no variable Position3DGrid .*grid, depth"):
    mat.read(path, "Position3DGrid")
  with pytest.raises(errors.BadFileError, match="no such file"):
    mat.read(tmp_path / "b.mat", "grid")


@pytest.mark.parametrize(
  "value", [np.ones((2, 2)) * 1j, "text", {"field": 1.0}, np.array([1, "a"], object)]
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path, value):
  path = _file(tmp_path / "a.mat", {"x": value})
  with pytest.raises(errors.BadFileError, match="no array of real numbers"):
    mat.read(path, "x")


def test_other_versions_are_refused(tmp_path):
  old = _file(tmp_path / "4.mat", {"x": np.ones(200)}, format="4")
  data = io.BytesIO()
  scipy.io.savemat(data, {"x": np.ones(3)})
  new = bytearray(data.getvalue())
  new[124:126] = 0, 2  # 7.3, which is HDF5 behind this head
  (tmp_path / "73.mat").write_bytes(new)
  for path in (old, tmp_path / "73.mat"):
    with pytest.raises(errors.BadFileError, match="no MATLAB file of version 5 to 7"):
      mat.read(path, "x")
