"""Spike streams in files: the camera's .dat, and .npy and .npz arrays.

Every reader returns the stream as uint8[T, H, W] of 0 and 1, upright and left to right;
`pack_time` turns it into the packed form of a batch. A part of a long file is read without the
rest of it: `start` and `steps` choose the part, or `open_stream` gives part after part.
"""

from collections.abc import Callable
import functools
import pathlib
from typing import NamedTuple

import numpy as np

from bicross_jax import errors, files
from bicross_jax.data.formats import npy

SUFFIXES = (".dat", ".npy", ".npz")


class Stream(NamedTuple):
  """A stream whose parts are read when they are asked for.

  Attributes:
    path: the file.
    steps: its length T.
    shape: (height, width).
    read: (start, steps) -> uint8[steps, H, W]; what it holds and costs does not depend on T. (A
      .npz cannot be read in parts: it is unpacked at the first call and held whole, a bit a step.)
  """

  path: pathlib.Path
  steps: int
  shape: tuple[int, int]
  read: Callable[[int, int], np.ndarray]


def dat_step_bytes(height: int, width: int) -> int:
  """The bytes of one step in a .dat file; UserError where the pixels do not fill whole bytes."""
  if height < 1 or width < 1 or height * width % 8:
    raise errors.UserError(
      f"a .dat stream cannot be {height}x{width}: the number of pixels must be a multiple of 8"
    )
  return height * width // 8


def dat_steps(path, height: int, width: int, *, row_head: int = 0) -> int:
  """The number of steps in a .dat file; arguments as for `read_dat`."""
  size = files.size(path)
  step = dat_step_bytes(height, width + row_head)
  if not size or size % step:
    raise errors.BadFileError(
      path,
      f"{size} bytes are no whole number of steps",
      f"a multiple of {step} bytes: {height} rows of {width + row_head} pixels, one bit each",
    )
  return size // step


def read_dat(
  path,
  height: int,
  width: int,
  *,
  flip: bool = True,
  row_head: int = 0,
  start: int = 0,
  steps: int | None = None,
) -> np.ndarray:
  """A raw stream of the spike camera: H*W/8 bytes a step, pixel x in bit x % 8 (little).

  The order is that of SpikeCV and Spike-Zoo (`load_vidar_dat`): the camera writes the bottom row
  first.

  Args:
    path: the file.
    height, width: of the picture, in pixels (250 and 400 for the usual camera).
    flip: whether the file holds the bottom row first.
    row_head: extra columns at each row's end that are no picture and are dropped (16 in files
      of the first cameras, whose rows are 416 wide).
    start, steps: the part to read; to the end when `steps` is left out.

  Returns:
    uint8[T, H, W].

  Raises:
    errors.BadFileError: missing, cut off, of another size, or shorter than the part asked for.
  """
  total = dat_steps(path, height, width, row_head=row_head)
  start, steps = _part(path, total, start, steps)
  size = dat_step_bytes(height, width + row_head)
  data = np.frombuffer(files.read(path, start * size, steps * size), np.uint8)
  bits = np.unpackbits(data.reshape(steps, size), axis=1, bitorder="little")
  stream = bits.reshape(steps, height, width + row_head)[:, :, :width]
  return np.ascontiguousarray(stream[:, ::-1] if flip else stream)


def dat_bytes(stream: np.ndarray, *, flip: bool = True) -> bytes:
  """The bytes of some steps in a .dat file: uint8[T, H, W] of 0 and 1, H*W a multiple of 8."""
  _check_stream(stream)
  steps, height, width = stream.shape
  dat_step_bytes(height, width)
  stream = stream[:, ::-1] if flip else stream
  return np.packbits(stream.reshape(steps, -1), axis=1, bitorder="little").tobytes()


def write_dat(path, stream: np.ndarray, *, flip: bool = True) -> None:
  """Writes a stream as the camera does; arguments as for `dat_bytes`."""
  data = dat_bytes(stream, flip=flip)
  with files.write_whole(path) as file:
    file.write(data)


def read_npy(path, *, naive: bool = False, start: int = 0, steps: int | None = None) -> np.ndarray:
  """A stream of shape (T, H, W) in a .npy file of any plain type.

  Args:
    path: the file.
    naive: the file holds a .dat unpacked with the bits in big order and no flip, as the
      Respike set does: rows are flipped and every run of 8 columns is reversed.
    start, steps: the part to read.

  Returns:
    uint8[T, H, W].

  Raises:
    errors.BadFileError: not such a file, not 0 and 1 only, or shorter than the part asked for.
  """
  array = _open_npy(path)
  start, steps = _part(path, array.shape[0], start, steps)
  stream = _binary(path, array[start : start + steps])
  return _from_naive(path, stream) if naive else stream


def write_npy(path, stream: np.ndarray) -> None:
  """Writes uint8[T, H, W] of 0 and 1 as a .npy file."""
  _check_stream(stream)
  npy.write_npy(path, np.asarray(stream, np.uint8))


def read_npz(
  path, *, key: str | None = None, axes: str = "HWT", start: int = 0, steps: int | None = None
) -> np.ndarray:
  """A stream in a .npz file.

  Args:
    path: the file.
    key: the array's name; may be left out where there is only one.
    axes: the order of the array's axes, "HWT" (time last, as SpikingSIM's recordings) or "THW".
    start, steps: the part to return.

  Returns:
    uint8[T, H, W].
  """
  if axes not in ("HWT", "THW"):
    raise ValueError(f"axes are HWT or THW, not {axes!r}")
  shape, time_last, swapped = _npz_layout(path, key, axes)
  start, steps = _part(path, shape[2] if time_last else shape[0], start, steps)
  a, b, c = shape
  if time_last:
    stream, at = np.empty((steps, a * b), np.uint8), 0
    for piece in npy.npz_pieces(path, key, c):
      rows = _binary(path, piece.reshape(-1, c)[:, start : start + steps])
      stream[:, at : at + len(rows)] = rows.T
      at += len(rows)
    stream = stream.reshape(steps, a, b)
  else:
    stream, at = np.empty((steps, b * c), np.uint8), 0
    for piece in npy.npz_pieces(path, key, b * c, start * b * c):
      rows = _binary(path, piece.reshape(-1, b * c)[: steps - at])
      stream[at : at + len(rows)] = rows
      at += len(rows)
      if at == steps:
        break
    stream = stream.reshape(steps, b, c)
  return np.ascontiguousarray(stream.swapaxes(1, 2)) if swapped else stream


def _npz_layout(path, key: str | None, axes: str) -> tuple[tuple[int, int, int], bool, bool]:
  """(shape in the file's own order; is time the last axis there?; does width come before height?)."""
  header = npy.npz_header(path, key)
  if len(header.shape) != 3 or not all(header.shape):
    raise errors.BadFileError(path, f"has shape {header.shape}", f"a stream with axes {axes}")
  shape = header.shape[::-1] if header.fortran else header.shape
  return shape, (axes == "HWT") != header.fortran, header.fortran


def _held_npz(path) -> tuple[tuple[int, int, int], Callable[[int, int], np.ndarray]]:
  """((T, H, W), reader of parts) of a .npz with axes HWT, held as bits when it is first read."""
  shape, time_last, swapped = _npz_layout(path, None, "HWT")
  a, b, c = shape

  @functools.cache
  def held():
    bits, at = np.empty((a * b, -(-c // 8)), np.uint8), 0
    for piece in npy.npz_pieces(path, None, c):
      rows = np.packbits(_binary(path, piece.reshape(-1, c)), axis=1)
      bits[at : at + len(rows)] = rows
      at += len(rows)
    return bits.reshape(a, b, -1)

  def part(start, steps):
    start, steps = _part(path, c if time_last else a, start, steps)
    if time_last:
      stream = np.unpackbits(held()[..., start // 8 : -(-(start + steps) // 8)], axis=2)
      stream = np.moveaxis(stream[..., start % 8 :][..., :steps], 2, 0)
    else:
      stream = np.unpackbits(held()[start : start + steps], axis=2, count=c)
    return np.ascontiguousarray(stream.swapaxes(1, 2) if swapped else stream)

  steps, *size = (c, a, b) if time_last else (a, b, c)
  return (steps, *(size[::-1] if swapped else size)), part


def open_stream(path, *, height: int = 250, width: int = 400) -> Stream:
  """A stream of the kind its suffix names, in that kind's usual layout.

  Args:
    path: the file.
    height, width: of a .dat, which does not say its size.

  Raises:
    errors.BadFileError: missing, cut off, or not such a file.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if suffix == ".dat":
    shape = (dat_steps(path, height, width), height, width)
    part = functools.partial(read_dat, path, height, width)
  elif suffix == ".npy":
    shape = _open_npy(path).shape
    part = functools.partial(read_npy, path)
  elif suffix == ".npz":
    shape, part = _held_npz(path)
  else:
    raise errors.BadFileError(path, f"unknown kind of spike stream {suffix!r}", ", ".join(SUFFIXES))
  return Stream(path, shape[0], shape[1:], lambda start, steps: part(start=start, steps=steps))


def read(
  path, *, height: int = 250, width: int = 400, start: int = 0, steps: int | None = None
) -> np.ndarray:
  """A stream, or a part of it, of the kind its suffix names: uint8[T, H, W].

  `height` and `width` matter for .dat only, which does not say its size.
  """
  stream = open_stream(path, height=height, width=width)
  return stream.read(*_part(path, stream.steps, start, steps))


def pack_time(stream: np.ndarray) -> np.ndarray:
  """The packed form of a batch (see ops.spikes): uint8[T, H, W] -> uint8[H, W, T/8]."""
  _check_stream(stream)
  if stream.shape[0] % 8:
    raise ValueError(f"{stream.shape[0]} steps are not a multiple of 8")
  packed = np.packbits(stream, axis=0, bitorder="little")
  return np.ascontiguousarray(np.moveaxis(packed, 0, -1))


def unpack_time(packed: np.ndarray) -> np.ndarray:
  """The opposite of `pack_time`: uint8[H, W, T/8] -> uint8[T, H, W] of 0 and 1."""
  if packed.ndim != 3:
    raise ValueError(f"a packed stream is [H, W, T/8], not {packed.shape}")
  return np.unpackbits(np.moveaxis(np.asarray(packed), -1, 0), axis=0, bitorder="little")


def _open_npy(path) -> np.ndarray:
  array = npy.open_npy(path)
  if array.ndim != 3:
    raise errors.BadFileError(path, f"has shape {array.shape}", "a stream of shape (T, H, W)")
  return array


def _part(path, total: int, start: int, steps: int | None) -> tuple[int, int]:
  steps = total - start if steps is None else steps
  if start < 0 or steps < 1:
    raise errors.UserError(f"{path}: no part of {total} steps: start {start}, steps {steps}")
  if start + steps > total:
    raise errors.BadFileError(path, f"has {total} steps", f"at least {start + steps}")
  return start, steps


def _binary(path, array: np.ndarray) -> np.ndarray:
  """A copy as uint8, after checking that there are only zeros and ones."""
  few = array.max() <= 1 if array.dtype.kind in "bu" else ((array == 0) | (array == 1)).all()
  if not few:
    raise errors.BadFileError(path, "holds other values than 0 and 1", "a spike stream")
  return np.array(array, np.uint8, order="C")


def _from_naive(path, stream: np.ndarray) -> np.ndarray:
  steps, height, width = stream.shape
  if width % 8:
    raise errors.BadFileError(path, f"is {width} wide", "a multiple of 8 for the naive order")
  groups = stream[:, ::-1].reshape(steps, height, width // 8, 8)
  return np.ascontiguousarray(groups[..., ::-1].reshape(steps, height, width))


def _check_stream(stream: np.ndarray) -> None:
  if stream.ndim != 3 or stream.dtype not in (np.uint8, np.bool_):
    raise ValueError(f"a stream is uint8[T, H, W], not {stream.dtype}{stream.shape}")
