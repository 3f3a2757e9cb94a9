"""The reader of PyTorch checkpoint files; the one place of the package that imports torch."""

from collections.abc import Mapping
import importlib.util
import pathlib
import pickle

import numpy as np

from bicross_jax import errors

_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_pt(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Reads a `.pt` or `.pth` file to {name: array}, without running code that it may hold.

  A checkpoint that wraps the state dict under "state_dict", "model_state_dict" or "model" is
  unwrapped. Floating point tensors become float32, as bfloat16 has no NumPy type.

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
    content = torch.load(path, map_location="cpu", weights_only=True)
  except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as e:
    reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
    raise errors.BadFileError(path, f"cannot be read ({reason})", "a checkpoint of weights") from e
  for wrapper in _WRAPPERS:
    if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
      content = content[wrapper]
      break
  if not isinstance(content, Mapping) or not content:
    raise errors.BadFileError(path, f"holds {type(content).__name__}", "a dict of tensors")
  state = {}
  for name, tensor in content.items():
    if not isinstance(tensor, torch.Tensor):
      raise errors.BadFileError(path, f"entry {name!r} is no tensor", "a dict of tensors")
    state[name] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
  return state
