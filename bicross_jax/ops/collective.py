"""Sums and means over a mapped axis of devices, and nothing at all where there is one device.

XLA keeps a sum over one device as a step of its own: it is copied, nothing is fused across it, and a
network with batch norms has hundreds, which take a fifth of the time that its step takes to compile. An axis that is not mapped is a NameError, as JAX has it.
"""

from typing import Any

import jax


def total(tree: Any, axis_name: str | None) -> Any:
  """Sums over the axis, leaf by leaf (`jax.lax.psum`); the tree itself without one, None."""
  return jax.lax.psum(tree, axis_name) if _several(axis_name) else tree


def mean(tree: Any, axis_name: str | None) -> Any:
  """Means over the axis, leaf by leaf (`jax.lax.pmean`); the tree itself without one, None."""
  return jax.lax.pmean(tree, axis_name) if _several(axis_name) else tree


def _several(axis_name):
  return axis_name is not None and jax.lax.axis_size(axis_name) > 1
