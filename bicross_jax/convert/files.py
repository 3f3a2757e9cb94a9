"""Files of weights: PyTorch's .pt, safetensors and NumPy's .npz in, safetensors out."""

from collections.abc import Mapping
import pathlib
import zipfile

import ml_dtypes
import numpy as np

from bicross_jax import errors, files
from bicross_jax.convert import read_pt
from bicross_jax.data.formats import npy

# The names that safetensors has for types of numbers.
_DTYPES = {
  **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16},
  **{"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2, "BOOL": np.bool_},
  **{f"I{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
  **{f"U{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
}
PYTORCH = (".pt", ".pth", ".bin", ".tar")  # .pth.tar
SUFFIXES = (*PYTORCH, ".safetensors", ".npz")


def read(path) -> dict[str, np.ndarray]:
  """A file of weights as {name: array}, without running code that it may hold.

  Args:
    path: .pt, .pth, .pth.tar or .bin (PyTorch), .safetensors, or .npz.

  Raises:
    errors.BadFileError: missing, damaged, of another kind, or without arrays.
    errors.UserError: PyTorch is not installed, for a file of its own kind.
  """
  path = pathlib.Path(path)
  files.size(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise errors.BadFileError(path, "is no known kind of weights", ", ".join(SUFFIXES))
  if suffix in PYTORCH:
    return read_pt.read_pt(path)
  state = read_safetensors(path) if suffix == ".safetensors" else _read_npz(path)
  if not state:
    raise errors.BadFileError(path, "holds no arrays")
  return state


def read_safetensors(path) -> dict[str, np.ndarray]:
  """The arrays of a .safetensors file; floats of 8 and 16 bits become float32.

  Raises:
    errors.BadFileError: damaged, or with numbers of another type.
  """
  import safetensors

  data = files.read(path)
  try:
    entries = safetensors.deserialize(data)
  except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
    raise errors.BadFileError(path, f"cannot be read ({error})", "safetensors") from error
  state = {}
  for name, entry in entries:
    if entry["dtype"] not in _DTYPES:
      known = ", ".join(_DTYPES)
      raise errors.BadFileError(path, f"{name!r} has numbers of type {entry['dtype']}", known)
    array = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    small = entry["dtype"].startswith(("F8", "F16", "BF16"))
    state[name] = array.astype(np.float32) if small else array
  return state


def write_safetensors(path, state: Mapping[str, np.ndarray], note: Mapping[str, str]) -> None:
  """Writes {name: array} as a .safetensors file that PyTorch reads; it appears only when complete.

  Args:
    path: the file.
    state: in the layout of PyTorch.
    note: texts to keep in the file's header.

  Raises:
    errors.UserError: the file cannot be written.
  """
  from safetensors import numpy as safetensors

  data = safetensors.save(dict(state), metadata={"format": "pt", **note})
  with files.write_whole(path) as file:
    file.write(data)


def _read_npz(path):
  try:
    with zipfile.ZipFile(path) as archive:
      entries = archive.infolist()
  except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
    raise errors.BadFileError(path, f"is not a whole .npz file: {error}") from error
  read_pt.check_size(path, sum(entry.file_size for entry in entries))
  names = [entry.filename.removesuffix(".npy") for entry in entries]
  return {name: npy.read_npz(path, name) for name in names}
