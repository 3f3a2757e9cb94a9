"""Other frameworks' weights to our variables, and ours to PyTorch."""

from bicross_jax.convert.torch_state import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
