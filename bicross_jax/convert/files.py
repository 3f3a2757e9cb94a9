"""Files of weights: PyTorch's .pt, safetensors and NumPy's .npz in, safetensors out."""

from collections.abc import Mapping
import pathlib
import zipfile

import numpy as np

from bicross_jax import errors, files
from bicross_jax.convert import read_pt
from bicross_jax.data.formats import npy

PYTORCH = (".pt", ".pth", ".bin")
SUFFIXES = (*PYTORCH, ".safetensors", ".npz")


def read(path) -> dict[str, np.ndarray]:
  """A file of weights as {name: array}, without running code that it may hold.

  Args:
    path: .pt, .pth or .bin (PyTorch), .safetensors, or .npz.

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
  """The arrays of a .safetensors file; 16-bit floats become float32.

  Raises:
    errors.BadFileError: damaged.
  """
  import safetensors

  try:
    with safetensors.safe_open(path, framework="np") as file:
      state = {name: file.get_tensor(name) for name in file.keys()}
  except (safetensors.SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
    raise errors.BadFileError(path, f"cannot be read ({error})", "safetensors") from error
  return {k: np.asarray(v, np.float32) if _is_half(v) else v for k, v in state.items()}


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
      names = [name.removesuffix(".npy") for name in archive.namelist()]
  except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
    raise errors.BadFileError(path, f"is not a whole .npz file: {error}") from error
  return {name: npy.read_npz(path, name) for name in names}


def _is_half(array):
  return array.dtype.itemsize == 2 and array.dtype.kind not in "iu"
