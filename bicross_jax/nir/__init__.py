"""NIR, the intermediate representation that neuromorphic tools exchange networks in, for JAX.

Pedersen et al. 2024; files are those of the package nir: pip install "bicross_jax[nir]". `load` makes a
network of JAX of a file by any tool, a pure function with trainable parameters. Nothing here but
`stereospike`, which writes networks of ours, and `files`, which words errors, needs the rest of this package.

Which time step and which side of a threshold is meant, tools differ in; see `layers`.
"""

from bicross_jax.nir.files import load, read, write
from bicross_jax.nir.graph import GraphError
from bicross_jax.nir.network import Network, create

__all__ = ["GraphError", "Network", "create", "load", "read", "write"]
