"""Damaged files: every reader returns what it promises or raises BadFileError, nothing else."""

from collections.abc import Callable, Iterator
import contextlib
import io
import pathlib
import struct
import subprocess
import sys
import tracemalloc
from typing import NamedTuple
import zipfile
import zlib

import imageio.v3 as iio
import numpy as np
from PIL import Image
import pytest
import safetensors.numpy
import scipy.io

from bicross_jax import errors
from bicross_jax.convert import files as weights
from bicross_jax.data.formats import depth, image, kitti, mat, npy, pfm, rig, spikes, video

RANDOM, RANDOM_NIGHTLY = 80, 2000
SWEPT = 60  # bytes of a header, each of which is replaced by every one of PUT
PUT = (0, ord("."), 255)
SLACK = 4 << 20  # bytes of memory that any reader may take, however short the file
GROWN = 96 << 20  # bytes by which the process may grow in all mutations of a format
NUMBERS = (0, 1, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


class Case(NamedTuple):
  """A format and one reader of it.

  Attributes:
    good: () -> bytes of a whole file (or of its part that is damaged, see `around`).
    read: path -> array.
    dtype: of the array; None: any plain numbers.
    shapes: the promised shape; -1 stands for any length. Several where there is a choice.
    head: length of the header, which every other mutation hits.
    growth: most bytes of memory for a byte of the file. Unpacked bits and their copies take 32;
      deflate and JPEG make 1100 bytes of one, and three copies of those are allowed.
    around: what is put around damaged bytes: valid checksums, a valid archive.
    name: of the file.
    chosen: (old, new) bytes: damages that chance finds rarely
    tail: bytes at the end that are swept like the header: lists of archives.
  """

  good: Callable[[], bytes]
  read: Callable[[pathlib.Path], np.ndarray]
  dtype: str | None
  shapes: tuple[tuple[int, ...], ...]
  head: int = 128
  growth: int = 32
  around: Callable[[bytes], bytes] = bytes
  name: str = "file"
  chosen: tuple[tuple[bytes, bytes], ...] = ()
  tail: int = 0


def _stream(shape=(16, 8, 24)):
  return np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)


def _npy(array):
  out = io.BytesIO()
  np.save(out, array)
  return out.getvalue()


def _npz(array):
  out = io.BytesIO()
  np.savez_compressed(out, array)
  return out.getvalue()


def _zip(data, name="arr_0.npy"):
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(name, data)
  return out.getvalue()


def _picture(kind, array, **options):
  out = io.BytesIO()
  Image.fromarray(array).save(out, kind, **options)
  return out.getvalue()


def _png_sums(data):
  """A PNG with every chunk's checksum put right, so that what it says is looked at."""
  data, at = bytearray(data), 8
  while at + 12 <= len(data):
    length = int.from_bytes(data[at : at + 4], "big")
    end = at + 8 + length
    if end + 4 > len(data):
      break
    data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
    at = end + 4
  return bytes(data)


def _pfm(shape):
  head = f"{'PF' if len(shape) == 3 else 'Pf'}\n{shape[1]} {shape[0]}\n-1.0\n".encode()
  return head + np.random.default_rng(0).random(shape).astype("<f4").tobytes()


def _colour():
  return np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)


def _depth():
  return np.arange(600, dtype=np.uint16).reshape(20, 30)


def _mat(compressed=False):
  out = io.BytesIO()
  grid = np.random.default_rng(0).random((5, 30, 4))
  scipy.io.savemat(out, {"other": np.arange(3), "grid": grid}, do_compression=compressed)
  return out.getvalue()


def _huge_mat():
  """An array of 64 numbers that says that it has 10^18."""
  return _mat().replace(struct.pack("<iii", 5, 30, 4), struct.pack("<iii", *[10**6] * 3))


def _scan():
  return np.random.default_rng(0).random((40, 4)).astype("<f4").tobytes()


CAMERA = (
  b"calib_time: 09-Jan-2012 13:57:47\nR_rect_00: 1 0 0 0 1 0 0 0 1\n"
  b"P_rect_02: 7.2e+02 0 6.1e+02 4.4e+01 0 7.2e+02 1.7e+02 2e-01 0 0 1 2e-03\n"
)
LASER = b"calib_time: 15-Mar-2012\nR: 1 0 0 0 1 0 0 0 1\nT: 0.1 0.2 0.3\n"
SEQUENCE = (
  b"P2: 7.2e+02 0 6.1e+02 4.4e+01 0 7.2e+02 1.7e+02 2e-01 0 0 1 2e-03\n"
  b"Tr: 1 0 0 0.1 0 1 0 0.2 0 0 1 0.3\n"
)


def _values(path):
  numbers = kitti.read_calibration(path)
  assert numbers and all(v.ndim == 1 and v.size for v in numbers.values())
  return np.concatenate(list(numbers.values()))


def _numbers(camera):
  assert camera.projection.shape == (3, 4) and camera.intrinsics.shape == (3, 3)
  return np.concatenate([camera.projection.ravel(), camera.intrinsics.ravel(), [camera.offset]])


def _raw(path):
  other, content = {
    "calib_cam_to_cam.txt": ("calib_velo_to_cam.txt", LASER),
    "calib_velo_to_cam.txt": ("calib_cam_to_cam.txt", CAMERA),
  }[path.name]
  (path.parent / other).write_bytes(content)
  return _numbers(kitti.raw_calibration(path.parent))


def _upright(path):
  picture = image.read_rgb(path)
  assert image.size(path) == picture.shape[:2]
  return picture


def _video(suffix):
  frames = np.stack([np.roll(_colour(), i, 1) for i in range(3)])
  return iio.imwrite(
    "<bytes>", frames, extension=suffix, plugin="FFMPEG", fps=30, macro_block_size=None
  )


def _frames(path):
  frames = video.open_frames(path)
  assert frames.fps is None or np.isfinite(frames.fps) and frames.fps > 0
  array = np.stack(list(frames.read()))
  assert array.shape[:3] == (len(frames.names), *frames.shape)
  return array


def _weights(legacy=False):
  torch = pytest.importorskip("torch")
  out = io.BytesIO()
  state = {"a.weight": torch.arange(60.0).reshape(3, 20).bfloat16(), "a.n": torch.tensor(3)}
  torch.save({"state_dict": state}, out, _use_new_zipfile_serialization=not legacy)
  return out.getvalue()


def _weights_pickle():
  with zipfile.ZipFile(io.BytesIO(_weights())) as archive:
    return archive.read("archive/data.pkl")


def _weights_around(pickled):
  out = io.BytesIO()
  with zipfile.ZipFile(io.BytesIO(_weights())) as whole, zipfile.ZipFile(out, "w") as archive:
    for name in whole.namelist():
      archive.writestr(name, pickled if name == "archive/data.pkl" else whole.read(name))
  return out.getvalue()


def _safetensors():
  state = {"a.weight": np.arange(60, dtype=np.float32).reshape(3, 20), "a.n": np.array([3])}
  return safetensors.numpy.save(state)


def _google():
  out = io.BytesIO()
  np.savez(out, **{"a/kernel": np.arange(60.0), "a/bias": np.arange(3.0)})
  return out.getvalue()


def _state(path):
  state = weights.read(path)
  assert state and all(v.dtype.kind in "biufc" for v in state.values())
  return np.frombuffer(b" ".join(v.tobytes() for v in state.values()) or b" ", np.uint8)


CAMERAS = CAMERA + (
  b"S_rect_02: 1242 375\nS_rect_03: 1242 375\n"
  b"P_rect_03: 7.2e+02 0 6.1e+02 -3.4e+02 0 7.2e+02 1.7e+02 2e+00 0 0 1 2e-03\n"
)
MIDDLEBURY = (
  b"cam0=[999.4 0 294.1; 0 999.4 252.9; 0 0 1]\ncam1=[999.4 0 326.9; 0 999.4 252.9; 0 0 1]\n"
  b"doffs=32.8\nbaseline=193.001\nwidth=741\nheight=497\n"
)
OPENCV = b"""%YAML:1.0
---
imageSize: [ 640, 480 ]
Q: !!opencv-matrix
   rows: 4
   cols: 4
   dt: d
   data: [ 1., 0., 0., -320., 0., 1., 0., -240., 0., 0., 0., 500., 0., 0., 8.3, 0. ]
"""


def _rig(path):
  found = rig.read_rig(path)
  assert found.baseline > 0 and (found.size is None or min(found.size) > 0)
  numbers = np.array([*found.intrinsics.ravel(), found.baseline, found.doffs])
  assert np.isfinite(numbers).all()
  return numbers


LIST = 81  # bytes of the list of files at the end of an archive that holds one, arr_0.npy
STREAM, RGB = ((-1, -1, -1),), ((-1, -1, 3),)
PICTURE = 3 * 1100
CASES = {
  "dat": Case(
    lambda: spikes.dat_bytes(_stream()),
    lambda p: spikes.read_dat(p, 8, 24),
    "uint8",
    ((-1, 8, 24),),
  ),
  "dat_part": Case(
    lambda: spikes.dat_bytes(_stream((16, 8, 40))),
    lambda p: spikes.read_dat(p, 8, 24, row_head=16, flip=False, start=3, steps=8),
    "uint8",
    ((8, 8, 24),),
  ),
  "dat_by_suffix": Case(
    lambda: spikes.dat_bytes(_stream()),
    lambda p: spikes.read(p, height=8, width=24),
    "uint8",
    ((-1, 8, 24),),
    name="file.dat",
  ),
  "npy": Case(lambda: _npy(_stream()), spikes.read_npy, "uint8", STREAM),
  "npy_by_suffix": Case(
    lambda: _npy(_stream()),
    lambda p: spikes.read(p, steps=8),
    "uint8",
    ((8, -1, -1),),
    name="file.NPY",
  ),
  "npy_float": Case(lambda: _npy(_stream().astype(np.float64)), spikes.read_npy, "uint8", STREAM),
  "npy_naive": Case(
    lambda: _npy(_stream()), lambda p: spikes.read_npy(p, naive=True), "uint8", STREAM
  ),
  "npy_any": Case(
    lambda: _npy(np.arange(60, dtype=np.int16)),
    lambda p: npy.open_npy(p).view(np.ndarray),
    None,
    (),
  ),
  "npz": Case(lambda: _npz(_stream()), spikes.read_npz, "uint8", STREAM, 64, PICTURE, tail=LIST),
  "npz_time_first": Case(
    lambda: _npz(_stream()),
    lambda p: spikes.read_npz(p, axes="THW", steps=8),
    "uint8",
    ((8, -1, -1),),
    64,
    PICTURE,
  ),
  "npz_inside": Case(
    lambda: _npy(_stream()), spikes.read, "uint8", STREAM, 128, PICTURE, _zip, "file.npz"
  ),
  "npz_any": Case(
    lambda: _npy(np.arange(60, dtype=np.int16)), npy.read_npz, None, (), 128, PICTURE, _zip
  ),
  "png16": Case(
    lambda: _picture("PNG", _depth()),
    lambda p: depth.read_png16(p, 256),
    "float32",
    ((-1, -1),),
    40,
    PICTURE,
  ),
  "png16_sums": Case(
    lambda: _picture("PNG", _depth()),
    lambda p: depth.read_png16(p, 100, unknown=65535),
    "float32",
    ((-1, -1),),
    40,
    PICTURE,
    _png_sums,
  ),
  "png": Case(lambda: _picture("PNG", _colour()), image.read_rgb, "uint8", RGB, 40, PICTURE),
  "png_sums": Case(
    lambda: _picture("PNG", _colour()), image.read_rgb, "uint8", RGB, 40, PICTURE, _png_sums
  ),
  "palette_sums": Case(
    lambda: _picture("PNG", np.array(Image.fromarray(_colour()).quantize(9))),
    image.read_rgb,
    "uint8",
    RGB,
    80,
    PICTURE,
    _png_sums,
  ),
  "grey_sums": Case(
    lambda: _picture("PNG", _colour()[..., 0]),
    image.read_grey,
    "uint8",
    ((-1, -1),),
    40,
    PICTURE,
    _png_sums,
  ),
  "jpg": Case(lambda: _picture("JPEG", _colour()), image.read_rgb, "uint8", RGB, 640, PICTURE),
  "jpg_grey": Case(
    lambda: _picture("JPEG", _colour()[..., 0]), image.read_grey, "uint8", ((-1, -1),), 340, PICTURE
  ),
  "jpg_turned": Case(
    lambda: _picture(
      "JPEG", _colour(), exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"
    ),
    lambda p: _upright(p),
    "uint8",
    RGB,
    60,
    PICTURE,
  ),
  "progressive": Case(
    lambda: _picture("JPEG", _colour(), progressive=True),
    image.read_rgb,
    "uint8",
    RGB,
    640,
    PICTURE,
  ),
  "size_png": Case(
    lambda: _picture("PNG", _colour()),
    lambda p: np.array(image.size(p)),
    "int64",
    ((2,),),
    40,
    around=_png_sums,
  ),
  "size_jpg": Case(
    lambda: _picture("JPEG", _colour()), lambda p: np.array(image.size(p)), "int64", ((2,),), 640
  ),
  "pfm": Case(
    lambda: _pfm((9, 7)),
    pfm.read_pfm,
    "float32",
    ((-1, -1), (-1, -1, 3)),
    12,
    chosen=((b"-1.0", b"-0.0"), (b"-1.0", b"1e999"), (b"7 9", b"0 9")),
  ),
  "pfm_colour": Case(lambda: _pfm((5, 7, 3)), pfm.read_pfm, "float32", ((-1, -1), (-1, -1, 3)), 12),
  "mat": Case(_mat, lambda p: mat.read(p, "grid"), None, (), head=400),
  "mat_compressed": Case(
    lambda: _mat(compressed=True), lambda p: mat.read(p, "grid"), None, (), 200, PICTURE
  ),
  "velodyne": Case(_scan, kitti.read_velodyne, "float32", ((-1, 4),)),
  "calibration": Case(
    lambda: CAMERA + LASER,
    _values,
    "float64",
    ((-1,),),
    growth=256,
    chosen=((b"7.2e+02", b"7.2e+999"), (b"0.1", b"nan")),
  ),
  "calibration_camera": Case(
    lambda: CAMERA, _raw, "float64", ((22,),), growth=256, name="calib_cam_to_cam.txt"
  ),
  "calibration_laser": Case(
    lambda: LASER, _raw, "float64", ((22,),), growth=256, name="calib_velo_to_cam.txt"
  ),
  "calibration_sequence": Case(
    lambda: SEQUENCE,
    lambda p: _numbers(kitti.odometry_calibration(p)),
    "float64",
    ((22,),),
    growth=256,
  ),
  "rig_kitti": Case(lambda: CAMERAS, _rig, "float64", ((11,),), growth=256),
  "rig_middlebury": Case(lambda: MIDDLEBURY, _rig, "float64", ((11,),), growth=256),
  "rig_opencv": Case(
    lambda: OPENCV,
    _rig,
    "float64",
    ((11,),),
    growth=1024,
    name="file.yml",
    chosen=((b"8.3", b"0."), (b"8.3", b".nan"), (b"500.", b"1e-320"), (b"640", b"[]")),
  ),
  "rig_lines": Case(
    lambda: b"700 700 320.5 240.5\n0.12\n640 480\n", _rig, "float64", ((11,),), growth=256
  ),
  "depth_npy": Case(
    lambda: _npy(np.ones((6, 8), np.float16)), depth.read_npy, "float32", ((-1, -1),)
  ),
  "depth_npz": Case(
    lambda: _npz(np.ones((6, 8), np.float32)),
    depth.read_npy,
    "float32",
    ((-1, -1),),
    64,
    PICTURE,
    name="file.npz",
    tail=LIST,
  ),
  "frames_of_a_folder": Case(
    lambda: _picture("PNG", _colour()),
    lambda p: _frames(p.parent),
    "uint8",
    ((1, -1, -1, 3),),
    40,
    PICTURE,
    _png_sums,
    "a.png",
  ),
  "mp4": Case(lambda: _video(".mp4"), _frames, "uint8", ((-1, -1, -1, 3),), 200, 1 << 15),
  "avi": Case(lambda: _video(".avi"), _frames, "uint8", ((-1, -1, -1, 3),), 300, 1 << 15),
  "pt": Case(_weights, _state, "uint8", ((-1,),), 200, 64, name="file.pt"),
  "pt_inside": Case(
    _weights_pickle,
    _state,
    "uint8",
    ((-1,),),
    128,
    64,
    _weights_around,
    "file.pt",
    (  # a stride beyond the storage, a storage that is not there, one described by too little
      (b"K\x14K\x01\x86", b"K\x39K\x01\x86"),
      (b"X\1\0\0\0000q", b"X\1\0\0\0007q"),
      (b"X\3\0\0\0cpuq\x08K<tq", b"K<tq"),
    ),
  ),
  "pt_legacy": Case(
    lambda: _weights(legacy=True), _state, "uint8", ((-1,),), 128, 64, name="file.pt"
  ),
  "safetensors": Case(_safetensors, _state, "uint8", ((-1,),), name="file.safetensors"),
  "weights_npz": Case(_google, _state, "uint8", ((-1,),), 128, PICTURE, name="file.npz", tail=22),
}


def mutate(data: bytes, rng: np.random.Generator, head: int = 200) -> bytes:
  """One of: bits flipped, bytes or numbers replaced, cut, lengthened, a piece repeated or left out.

  Half of the places are in the header, some in the last 64 bytes (where archives and videos keep
  their lists), the rest anywhere.
  """
  data, kind, near = bytearray(data), rng.integers(7), rng.random()

  def where():
    size = len(data)
    if near < 0.5:
      return int(rng.integers(min(size, head)))
    return int(rng.integers(max(0, size - 64) if near < 0.65 else 0, size))

  if kind == 0:
    for _ in range(rng.integers(1, 9)):
      data[where()] ^= 1 << int(rng.integers(8))
  elif kind == 1:
    for _ in range(rng.integers(1, 9)):
      data[where()] = int(rng.choice([0, 10, 32, 45, 48, 57, 127, 128, 255]))
  elif kind == 2:
    del data[where() :]
  elif kind == 3:
    data += rng.bytes(int(rng.integers(1, 400)))
  elif kind == 4:
    begin = where()
    data[begin:begin] = data[begin : begin + int(rng.integers(1, 20))] * int(rng.integers(1, 4))
  elif kind == 5:
    begin = where()
    del data[begin : begin + int(rng.integers(1, 20))]
  else:
    begin, order = where(), rng.choice(["<", ">"])
    data[begin : begin + 4] = struct.pack(f"{order}I", rng.choice(NUMBERS))
  return bytes(data)


def damages(name: str, good: bytes, random: int) -> Iterator[bytes]:
  """The damaged versions of a good file: every byte of the header, some chosen, some by chance."""
  case = CASES[name]
  for old, new in case.chosen:
    assert old in good, f"{old} is not in {name}"
    yield good.replace(old, new)
  tail = range(max(SWEPT, len(good) - case.tail), len(good))
  for at in (*range(min(SWEPT, case.head, len(good))), *tail):
    for value in PUT:
      yield good[:at] + bytes([value]) + good[at + 1 :]
  for number in range(random):
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    yield mutate(good, rng, case.head)


def _grown():
  """The most memory this process has held, in bytes, since `_forget`; 0 where nobody counts."""
  with contextlib.suppress(OSError):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
      if line.startswith("VmHWM:"):
        return int(line.split()[1]) << 10
  return 0


def _forget():
  with contextlib.suppress(OSError):
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def _fits(shape, promised):
  return len(shape) == len(promised) and all(
    n > 0 and p in (-1, n) for n, p in zip(shape, promised, strict=True)
  )


@pytest.fixture
def allocated():
  """Bytes that Python and NumPy held at most since it was asked last; counting begins then."""

  def peak():
    if not tracemalloc.is_tracing():
      tracemalloc.start()
    most = tracemalloc.get_traced_memory()[1] - before[0]
    tracemalloc.reset_peak()
    before[0] = tracemalloc.get_traced_memory()[0]
    return most

  before = [0]
  yield peak
  tracemalloc.stop()


@pytest.mark.parametrize("name", CASES)
def test_damaged_file_is_read_or_refused(name, tmp_path, allocated):
  _check(name, RANDOM, tmp_path, allocated)


@pytest.mark.nightly
@pytest.mark.parametrize("name", CASES)
def test_many_damaged_files_are_read_or_refused(name, tmp_path, allocated):
  _check(name, RANDOM_NIGHTLY, tmp_path, allocated)


def _check(name, random, tmp_path, allocated):
  case = CASES[name]
  path, good = tmp_path / case.name, case.good()
  path.write_bytes(case.around(good))
  case.read(path)
  _forget()
  size, refused = _grown(), 0
  for i, damaged in enumerate(damages(name, good, random)):
    bad = case.around(damaged)
    path.unlink()  # a map of the last one may be open
    path.write_bytes(bad)
    allocated()
    try:
      array = case.read(path)
    except errors.BadFileError as error:
      refused += 1
      assert str(error).startswith(str(path)) and "\n" not in str(error)
    else:
      assert isinstance(array, np.ndarray)
      if case.dtype is None:
        assert array.dtype.kind in "biuf" and array.size
      else:
        assert array.dtype == case.dtype and any(_fits(array.shape, s) for s in case.shapes)
    assert allocated() <= case.growth * len(bad) + SLACK, f"damage {i}"
  assert 0 < refused
  assert _grown() - size < GROWN


def test_decoders_of_video_add_nothing_to_the_one_clear_line(tmp_path):
  rng = np.random.default_rng(0)
  paths = []
  for suffix in (".mp4", ".avi"):
    good = _video(suffix)
    for i in range(60):
      paths.append(tmp_path / f"{i}{suffix}")
      paths[-1].write_bytes(mutate(good, rng, 300))
  code = (
    "import sys\n"
    "from bicross_jax import errors\n"
    "from bicross_jax.data.formats import video\n"
    "for path in sys.argv[1:]:\n"
    "  try: list(video.open_frames(path).read())\n"
    "  except errors.BadFileError: print('refused')"
  )
  done = subprocess.run(
    [sys.executable, "-c", code, *map(str, paths)], check=True, capture_output=True, text=True
  )
  assert done.stderr == "" and done.stdout.count("refused") > 30


@pytest.mark.parametrize("name", CASES)
def test_missing_folder_and_empty_file_are_refused(name, tmp_path):
  if name == "frames_of_a_folder" or name.startswith("pt"):
    pytest.skip("takes folders, or is tested beside its reader")
  reader = CASES[name].read
  (tmp_path / "empty").mkdir()
  empty = tmp_path / "empty" / CASES[name].name
  empty.write_bytes(b"")
  places = [tmp_path / CASES[name].name, empty]
  if not name.startswith("calibration_"):
    places += [tmp_path, pathlib.Path("a\0b")]
  for path in places:
    with pytest.raises(errors.BadFileError):
      reader(path)


def _huge_npy(shape, kind="|u1"):
  head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
  return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(64)


def _huge_png(width, height, colour=2):
  good = bytearray(_picture("PNG", _colour() if colour == 2 else _depth()))
  good[16:24] = struct.pack(">II", width, height)
  return _png_sums(good)


def _huge_jpg(side=65535):
  good = bytearray(_picture("JPEG", _colour()))
  at = good.index(b"\xff\xc0") + 5
  good[at : at + 4] = struct.pack(">HH", side, side)
  return bytes(good)


def _huge_zip():
  """An archive whose list says that its one array has 3 GB."""
  good = bytearray(_npz(_stream()))
  for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
    begin = good.index(mark) + at
    good[begin : begin + 4] = struct.pack("<I", 3_000_000_000)
  return bytes(good)


def _huge_weights(legacy=False):
  """A small tensor that is repeated ten thousand million times without taking space."""
  torch = pytest.importorskip("torch")
  out = io.BytesIO()
  repeated = torch.zeros(1, dtype=torch.bfloat16).expand(10**10)
  torch.save({"a": repeated}, out, _use_new_zipfile_serialization=not legacy)
  return out.getvalue()


def _huge_avi():
  """Plain pictures of 600 pixels that the header says to have 256 million."""
  frames = np.stack([_colour()] * 3)
  good = bytearray(
    iio.imwrite(
      "<bytes>",
      frames,
      extension=".avi",
      plugin="FFMPEG",
      fps=30,
      codec="rawvideo",
      pixelformat="bgr24",
      macro_block_size=None,
    )
  )
  at = good.index(b"strf") + 12
  good[at : at + 8] = struct.pack("<II", 16_000, 16_000)
  return bytes(good)


HUGE = {
  "npy_stream": (lambda: _huge_npy((10**6, 10**6, 10**3)), spikes.read_npy),
  "npy_overflow": (lambda: _huge_npy((2**32, 2**32, 2**32), "<f8"), npy.open_npy),
  "npy_header": (
    lambda: b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + bytes(64),
    npy.open_npy,
  ),
  "npz": (lambda: _zip(_huge_npy((10**6, 10**6, 10**3))), spikes.read_npz),
  "npz_list": (_huge_zip, npy.read_npz),
  "png": (lambda: _huge_png(20_000, 9_000), image.read_rgb),
  "png_grey": (lambda: _huge_png(20_000, 9_000, 0), lambda p: depth.read_png16(p, 256)),
  "png_bomb": (lambda: _huge_png(2**31 - 1, 2**31 - 1), image.read_rgb),
  "jpg": (_huge_jpg, image.read_rgb),
  "jpg_smaller": (lambda: _huge_jpg(12_000), image.read_rgb),
  "pfm": (lambda: b"PF\n999999999 999999999\n-1.0\n" + bytes(64), pfm.read_pfm),
  "mat": (_huge_mat, lambda p: mat.read(p, "grid")),
  "calibration": (lambda: b"P2: " + b"1 " * 600_000, kitti.read_calibration),
  "dat_part": (lambda: bytes(240), lambda p: spikes.read_dat(p, 8, 24, steps=10**12)),
  "dat_size": (lambda: bytes(240), lambda p: spikes.read_dat(p, 10**6, 10**6)),
  "avi": (_huge_avi, video.open_frames),
  "pt": (_huge_weights, weights.read_pt.read_pt),
  "pt_legacy": (lambda: _huge_weights(legacy=True), weights.read_pt.read_pt),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_header_that_declares_a_huge_size_costs_nothing(name, tmp_path, allocated):
  make, read = HUGE[name]
  path = tmp_path / "file"
  path.write_bytes(make())
  _forget()
  size = _grown()
  allocated()
  with pytest.raises(errors.BadFileError):
    read(path)
  assert allocated() < 4 << 20
  assert _grown() - size < 32 << 20
