"""Damaged files: every reader returns what it promises or raises BadFileError, nothing else."""

import io
import pathlib

import numpy as np
from PIL import Image
import pytest

from bicross_jax import errors
from bicross_jax.data.formats import depth, image, kitti, npy, pfm, spikes

MUTATIONS = 60


def _stream(seed=0, shape=(16, 8, 24)):
  return np.random.default_rng(seed).integers(0, 2, shape).astype(np.uint8)


def _npy(array):
  out = io.BytesIO()
  np.save(out, array)
  return out.getvalue()


def _npz(array):
  out = io.BytesIO()
  np.savez_compressed(out, array)
  return out.getvalue()


def _picture(kind, array, **options):
  out = io.BytesIO()
  Image.fromarray(array).save(out, kind, **options)
  return out.getvalue()


def _pfm(shape):
  head = f"{'PF' if len(shape) == 3 else 'Pf'}\n{shape[1]} {shape[0]}\n-1.0\n".encode()
  return head + np.random.default_rng(0).random(shape).astype("<f4").tobytes()


def _colour():
  return np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)


def _calibration():
  return (b"calib_time: 09-Jan-2012 13:57:47\nR: 1 0 0 0 1 0 0 0 1\nT: 0.1 0.2 0.3\n"
          b"P_rect_02: 7.2e+02 0 6.1e+02 4.4e+01 0 7.2e+02 1.7e+02 2e-01 0 0 1 2e-03\n")


def _values_of(path):
  numbers = kitti.read_calibration(path)
  assert numbers and all(v.ndim == 1 and v.size for v in numbers.values())
  return np.concatenate(list(numbers.values()))


# name: (bytes of a good file, reader, dtype, ranks)
FORMATS = {
    "dat": (spikes.dat_bytes(_stream()), lambda p: spikes.read_dat(p, 8, 24), "uint8", (3,)),
    "npy": (_npy(_stream()), spikes.read_npy, "uint8", (3,)),
    "npy_float": (_npy(_stream().astype(np.float64)), spikes.read_npy, "uint8", (3,)),
    "npy_any": (_npy(np.arange(60, dtype=np.int16)), lambda p: npy.open_npy(p).view(np.ndarray),
                None, None),
    "npz": (_npz(_stream()), spikes.read_npz, "uint8", (3,)),
    "png16": (_picture("PNG", np.arange(600, dtype=np.uint16).reshape(20, 30)),
              lambda p: depth.read_png16(p, 256), "float32", (2,)),
    "png": (_picture("PNG", _colour()), image.read_rgb, "uint8", (3,)),
    "palette": (_picture("PNG", _colour()[..., 0]), image.read_rgb, "uint8", (3,)),
    "jpg": (_picture("JPEG", _colour()), image.read_rgb, "uint8", (3,)),
    "progressive": (_picture("JPEG", _colour(), progressive=True), image.read_rgb, "uint8", (3,)),
    "pfm": (_pfm((9, 7)), pfm.read_pfm, "float32", (2, 3)),
    "pfm_colour": (_pfm((5, 7, 3)), pfm.read_pfm, "float32", (2, 3)),
    "velodyne": (np.random.default_rng(0).random((40, 4)).astype("<f4").tobytes(),
                 kitti.read_velodyne, "float32", (2,)),
    "calibration": (_calibration(), _values_of, "float64", (1,)),
}


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
  """One of: bits flipped, bytes replaced, cut, lengthened, a piece repeated or left out."""
  data = bytearray(data)
  where = lambda: int(rng.integers(min(len(data), 200) if rng.random() < 0.6 else len(data)))
  kind = rng.integers(6)
  if kind == 0:
    for _ in range(rng.integers(1, 9)):
      data[where()] ^= 1 << int(rng.integers(8))
  elif kind == 1:
    for _ in range(rng.integers(1, 9)):
      data[where()] = int(rng.choice([0, 10, 32, 45, 48, 57, 127, 128, 255]))
  elif kind == 2:
    del data[where():]
  elif kind == 3:
    data += rng.bytes(int(rng.integers(1, 400)))
  elif kind == 4:
    begin = where()
    data[begin:begin] = data[begin:begin + int(rng.integers(1, 20))] * int(rng.integers(1, 4))
  else:
    begin = where()
    del data[begin:begin + int(rng.integers(1, 20))]
  return bytes(data)


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_mutated_file_is_read_or_refused(name, tmp_path):
  good, reader, dtype, ranks = FORMATS[name]
  rng = np.random.default_rng(sum(name.encode()))
  path = tmp_path / "file"
  path.write_bytes(good)
  reader(path)
  refused = 0
  for i in range(MUTATIONS):
    bad = tmp_path / f"file{i}"
    bad.write_bytes(mutate(good, rng))
    try:
      array = reader(bad)
    except errors.BadFileError as error:
      refused += 1
      assert str(error).startswith(str(bad)) and "\n" not in str(error)
      continue
    assert isinstance(array, np.ndarray) and array.size
    assert dtype is None or array.dtype == dtype
    assert ranks is None or array.ndim in ranks
    assert array.nbytes < 1 << 21  # nothing like the huge sizes a damaged header can declare
  assert refused


@pytest.mark.parametrize("name", FORMATS)
def test_missing_folder_and_empty_file_are_refused(name, tmp_path):
  reader = FORMATS[name][1]
  (tmp_path / "empty").write_bytes(b"")
  for path in (tmp_path / "nothing", tmp_path, tmp_path / "empty", pathlib.Path("a\0b")):
    with pytest.raises(errors.BadFileError):
      reader(path)
