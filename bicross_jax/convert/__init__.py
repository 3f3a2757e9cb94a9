"""Other frameworks' weights to our variables."""

from bicross_jax.convert.torch_state import from_torch

__all__ = ["from_torch"]
