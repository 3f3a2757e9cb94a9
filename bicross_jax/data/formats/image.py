"""Pictures: PNG and JPEG files <-> arrays, decoded by Pillow.

Every reader gives a picture upright, as viewers and OpenCV show it: where its EXIF orientation says
that the camera was turned or mirrored, the pixels are turned back, and its size is that of the
upright picture.
"""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

from bicross_jax import errors, files

# What a damaged file can raise inside Pillow's PNG and JPEG readers.
_DAMAGE = (
  OSError,
  SyntaxError,
  ValueError,
  EOFError,
  IndexError,
  KeyError,
  TypeError,
  OverflowError,
  struct.error,
  zlib.error,
  Image.DecompressionBombError,
)
_PLAIN_MODES = ("RGB", "RGBA", "L", "LA", "P", "1")
_MOST_BYTES_A_BYTE = 1100  # neither deflate nor JPEG makes a picture smaller by more than this
_ALWAYS_FINE = 1 << 20
_EXIF_IFD, _FOCAL_35MM = 0x8769, 0xA405
_LONGEST = 10_000  # mm; no lens is longer
_ORIENTATION = 0x0112  # EXIF; 1 is upright
_UPRIGHT = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


def read_rgb(path) -> np.ndarray:
  """An 8-bit picture in colour; grey is repeated, transparency dropped.

  Args:
    path: a PNG or JPEG file.

  Returns:
    uint8[H, W, 3], sRGB.

  Raises:
    errors.BadFileError: missing, damaged, of another kind, or with more than 8 bits a value.
  """
  return decode(
    path,
    lambda image: np.array(image.convert("RGB")),
    _PLAIN_MODES,
    "an 8-bit colour or grey picture",
  )


def read_grey(path) -> np.ndarray:
  """An 8-bit grey picture (also for label maps): uint8[H, W]; errors as for `read_rgb`."""
  return decode(path, np.array, ("L",), "an 8-bit grey picture")


def read_classes(path) -> np.ndarray:
  """A map of classes uint8[H, W]: the values of an 8-bit grey PNG, or the indices of one with a palette."""
  return decode(
    path, np.array, ("L", "P"), "an 8-bit map of classes, grey or with a palette", ("PNG",)
  )


def size(path) -> tuple[int, int]:
  """(height, width) of a PNG or JPEG file as it is read, from its header alone."""
  files.size(path)
  try:
    with _open(path, ("PNG", "JPEG")) as image:
      turned = _orientation(image) >= 5
      return (image.width, image.height) if turned else (image.height, image.width)
  except _DAMAGE as error:
    raise errors.BadFileError(path, f"cannot be decoded: {error}", "PNG or JPEG") from error


def focal_35mm(path) -> float | None:
  """The focal length that the EXIF block of a picture gives for 35 mm film, in millimetres.

  A lens of f mm sees what one of f / 36 of the width sees, on pictures that lie.

  Args:
    path: a PNG or JPEG file.

  Returns:
    FocalLengthIn35mmFilm; None where nobody has written it down (0 means that, too).

  Raises:
    errors.BadFileError: the file cannot be read, its EXIF block is damaged, or there is no such lens.
  """
  files.size(path)
  try:
    with _open(path, ("PNG", "JPEG")) as image:
      data = image.info.get("exif")
  except _DAMAGE as error:
    raise errors.BadFileError(path, f"cannot be decoded: {error}", "PNG or JPEG") from error
  if not data:
    return None
  exif = Image.Exif()
  try:
    with warnings.catch_warnings(record=True) as told:  # Pillow reads on behind what is damaged
      warnings.simplefilter("always")
      exif.load(data)
      found = exif.get_ifd(_EXIF_IFD).get(_FOCAL_35MM)
  except _DAMAGE as error:
    raise errors.BadFileError(path, f"has a damaged EXIF block: {_brief(error)}") from error
  if found is None and told:
    raise errors.BadFileError(path, f"has a damaged EXIF block: {_brief(told[0].message)}")
  if found is None or found == 0:
    return None
  if not isinstance(found, int) or not 0 < found <= _LONGEST:
    raise errors.BadFileError(
      path, f"has a damaged EXIF block: its focal length in 35 mm film is {str(found)[:40]!r}"
    )
  return float(found)


def _brief(message) -> str:
  return " ".join(str(message).split())[:100]


def resize(picture: np.ndarray, size: tuple[int, int], kernel: str = "lanczos") -> np.ndarray:
  """A picture in another size, as Pillow resizes it: means of its pixels.

  Args:
    picture: uint8[h, w, C], C of any number.
    size: (height, width).
    kernel: "lanczos", or "bicubic" (a = -0.5).
  """
  if picture.shape[:2] == tuple(size):
    return picture
  how = Image.Resampling[kernel.upper()]
  bands = [picture] if picture.shape[2] == 3 else [picture[..., c] for c in range(picture.shape[2])]
  resized = [np.array(Image.fromarray(band).resize(size[::-1], how)) for band in bands]
  return np.stack(resized, axis=2) if picture.shape[2] != 3 else resized[0]


def decode(
  path, convert, modes: tuple[str, ...], expected: str, formats: tuple[str, ...] = ("PNG", "JPEG")
) -> np.ndarray:
  """Opens a picture, checks what it declares against its length, and converts it upright.

  Args:
    path: the file.
    convert: Pillow image -> array.
    modes: Pillow's names of the pixel types that are taken.
    expected: what to say in the error for another type.
    formats: Pillow's names of the file formats that are taken.
  """
  data = files.read(path)
  try:
    with _open(io.BytesIO(data), formats) as image:
      declared = image.height * image.width * (2 if image.mode.startswith("I") else 3)
      if declared > max(_ALWAYS_FINE, _MOST_BYTES_A_BYTE * len(data)):
        raise errors.BadFileError(
          path, f"declares {image.height}x{image.width} pixels in {len(data)} bytes"
        )
      if image.mode not in modes:
        raise errors.BadFileError(path, f"has pixels of type {image.mode}", expected)
      turn = _UPRIGHT.get(_orientation(image))
      return convert(image if turn is None else image.transpose(turn))
  except _DAMAGE as error:
    raise errors.BadFileError(path, f"cannot be decoded: {error}", " or ".join(formats)) from error


def _open(source, formats: tuple[str, ...]) -> Image.Image:
  with warnings.catch_warnings():  # of large pictures, which `decode` compares with the file, and
    warnings.simplefilter("ignore")  # of damaged EXIF blocks, whose pictures are whole
    return Image.open(source, formats=formats)


def _orientation(image: Image.Image) -> int:
  """1 .. 8, as the EXIF block before the pixels says; 1 where none says it, or not readably."""
  data = image.info.get("exif")
  if not data:
    return 1
  exif = Image.Exif()
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      exif.load(data)
      found = exif.get(_ORIENTATION, 1)
  except _DAMAGE:
    return 1
  return found if isinstance(found, int) and 1 <= found <= 8 else 1


def write_png(path, array: np.ndarray) -> None:
  """Writes uint8[H, W, 3], uint8[H, W] or uint16[H, W] without loss."""
  kinds = {("uint8", 3), ("uint8", 2), ("uint16", 2)}
  if (array.dtype.name, array.ndim) not in kinds or array.ndim == 3 and array.shape[2] != 3:
    raise ValueError(f"no PNG of {array.dtype}{array.shape}")
  encoded = io.BytesIO()  # Pillow's own errors do not say why a disk does not take the bytes
  # The first level of compression takes a fifth of the usual one's time, and a tenth more bytes.
  Image.fromarray(np.ascontiguousarray(array)).save(encoded, "PNG", compress_level=1)
  with files.write_whole(path) as file:
    file.write(encoded.getbuffer())


def write_jpeg(path, array: np.ndarray, quality: int) -> None:
  """Writes uint8[H, W, 3] as JPEG whose colours have half the resolution (4:2:0).

  Args:
    path: the file, which appears only when it is whole.
    array: sRGB.
    quality: 1 .. 95, of the tables of libjpeg.
  """
  if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
    raise ValueError(f"no JPEG of {array.dtype}{array.shape}")
  encoded = io.BytesIO()
  Image.fromarray(array).save(encoded, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
  with files.write_whole(path) as file:
    file.write(encoded.getbuffer())
