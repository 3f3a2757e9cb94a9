"""Other frameworks' weights to our variables, and ours to PyTorch."""

from bicross_jax.convert.network import Network, register
from bicross_jax.convert.torch_state import from_torch, to_torch

__all__ = ["Network", "from_torch", "register", "to_torch"]
