"""The reader of PyTorch checkpoint files; the one place of the package that imports torch."""

from collections.abc import Mapping
import importlib.util
import mmap
import pathlib
import pickle
import struct
import warnings
import zipfile

import numpy as np

from bicross_jax import errors, files

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_ARCHIVE = b"PK\x03\x04"
_LARGEST = 16  # times the length of a file: more than weights can be compressed
# What a damaged file can raise inside torch.load and its unpickler.
_DAMAGE = (
  pickle.UnpicklingError,
  struct.error,
  RuntimeError,
  EOFError,
  OSError,
  ValueError,
  LookupError,
  TypeError,
  AttributeError,
  AssertionError,
  ImportError,
  OverflowError,
  zipfile.BadZipFile,
)


def read_pt(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Reads a `.pt` or `.pth` file to {name: array}, without running code that it may hold.

  A checkpoint that wraps the state dict under "state_dict", "model_state_dict" or "model" is
  unwrapped. Of one that holds those of several networks beside other things, {"encoder": {...},
  "epoch": 3, ...}, names become "encoder.<name>" and the rest is left out. Floating point tensors become float32, as bfloat16 has no NumPy type.

  Raises:
    errors.BadFileError: missing or damaged, or not a dict of tensors.
    errors.UserError: PyTorch is not installed.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise errors.BadFileError(path, "no such file", "a PyTorch checkpoint")
  if importlib.util.find_spec("torch") is None:
    raise errors.UserError('reading .pt files needs PyTorch: pip install "bicross_jax[convert]"')
  import torch

  try:
    with (
      open(path, "rb") as file,
      mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
      warnings.catch_warnings(action="ignore"),
    ):  # torch talks of pickles it did not write
      if view[:4] == _ARCHIVE:
        with zipfile.ZipFile(path) as archive:
          check_size(path, sum(entry.file_size for entry in archive.infolist()))
      # A file without archive is read through the map, which gives no more than there is.
      source = path if view[:4] == _ARCHIVE else view
      with torch.serialization.safe_globals(_numbers()):
        content = torch.load(source, map_location="cpu", weights_only=True)
  except _DAMAGE as e:
    reason = (str(e).strip() or type(e).__name__).splitlines()[0]
    raise errors.BadFileError(path, f"cannot be read ({reason})", "a checkpoint of weights") from e
  for wrapper in _WRAPPERS:
    if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
      content = content[wrapper]
      break
  content = _networks(content)
  if not isinstance(content, Mapping) or not content:
    raise errors.BadFileError(path, f"holds {type(content).__name__}", "a dict of tensors")
  for name, tensor in content.items():
    if not isinstance(name, str):
      raise errors.BadFileError(path, f"entry {name!r} has no text for a name", "a dict of tensors")
    if not isinstance(tensor, torch.Tensor):
      raise errors.BadFileError(path, f"entry {name!r} is no tensor", "a dict of tensors")
  check_size(path, sum(tensor.numel() * tensor.element_size() for tensor in content.values()))
  return {name: _array(path, name, tensor) for name, tensor in content.items()}


def _numbers() -> list:
  """NumPy's scalars, which older checkpoints keep metrics in; making one runs no code of theirs."""
  kinds = [type(np.dtype(kind)) for kind in ("float32", "float64", "int64", "bool")]
  scalar = np._core.multiarray.scalar
  return [np.dtype, *kinds, scalar, (scalar, "numpy.core.multiarray.scalar")]


def _networks(content):
  """The state dicts of several networks as one; anything else as it is."""
  import torch

  if not isinstance(content, Mapping):
    return content
  tensors = lambda x: isinstance(x, Mapping) and x and all(map(torch.is_tensor, x.values()))
  found = {name: x for name, x in content.items() if isinstance(name, str) and tensors(x)}
  if not found or any(map(torch.is_tensor, content.values())):
    return content
  return {f"{name}.{key}": value for name, x in found.items() for key, value in x.items()}


def check_size(path, total: int) -> None:
  """Raises errors.BadFileError where a file is too short for `total` bytes of weights."""
  size = files.size(path)
  if total > _LARGEST * size:
    raise errors.BadFileError(path, f"has {size} bytes and declares {total}", "weights")


def _array(path: pathlib.Path, name: str, tensor) -> np.ndarray:
  """A tensor's numbers, of which each has its own place in the file."""
  try:
    whole = tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
    if whole:
      tensor = tensor.detach()
      array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
      if array.dtype.kind in "biuf":
        return array
      raise TypeError(f"its numbers are {array.dtype}")
  except (RuntimeError, TypeError) as e:  # sparse, quantised, and other types without an array
    problem = (str(e).strip() or type(e).__name__).splitlines()[0]
    raise errors.BadFileError(path, f"entry {name!r} is no array ({problem})") from e
  raise errors.BadFileError(
    path, f"entry {name!r} declares more numbers than are there: shape {tuple(tensor.shape)}"
  )
