"""How a network is converted, and where that is found.

A network of this package, `models.MODELS[name]`, is converted as `NETWORK` of the module
`bicross_jax.convert.<name>` says, where there is one. Any other class of networks is registered:

    convert.register(MyNet, convert.Network(namings=[...]))

A network that nobody has described has a naming made from its own paths (`naming.generic`).
"""

from collections.abc import Callable, Mapping, Sequence
import importlib
import importlib.util
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from bicross_jax import models
from bicross_jax.convert.naming import Naming

Found = Mapping[str, np.ndarray]  # path of ours -> array
_SIZE = 64  # pixels, of the input that an unknown network is traced with


class Inflated(NamedTuple):
  """How a network for spikes comes out of one for RGB.

  Attributes:
    rgb: the network that the published weights belong to.
    inflate: its variables -> those of the network to be.
    note: what was done, in words.
  """

  rgb: nn.Module
  inflate: Callable[[Mapping[str, Any]], Mapping[str, Any]]
  note: str


def _example(module: nn.Module) -> tuple[int, ...] | None:
  channels = getattr(module, "in_channels", None)
  return None if channels is None else (1, _SIZE, _SIZE, channels)


class Network(NamedTuple):
  """How one network is converted.

  Attributes:
    namings: those it is read under; it is written under the first. None: the generic one.
    example: module -> the shape of an input to trace it with; None: the caller must know the shapes
      of its variables. Unless given, 64x64 pixels of the module's `in_channels`.
    fit: (module, {path: array}) -> (the same with what depends on sizes adapted, notes on it).
    advise: (missing paths, {path: array}, module) -> what to do about weights that do not fit.
    fill: {published name: array} -> the entries that published files hold besides.
    inflate: module -> how it comes out of a network for RGB; None: it does not.
  """

  namings: Sequence[Naming] = ()
  example: Callable[[nn.Module], tuple[int, ...] | None] = _example
  fit: Callable[[nn.Module, Found], tuple[dict, list[str]]] = lambda module, found: (
    dict(found),
    [],
  )
  advise: Callable[[Sequence[str], Found, nn.Module], str] = lambda missing, found, module: ""
  fill: Callable[[Found], dict] = lambda published: {}
  inflate: Callable[[nn.Module], Inflated] | None = None


_REGISTERED: dict[type[nn.Module], Network] = {}


def register(kind: type[nn.Module], network: Network) -> None:
  """Says how networks of a class are converted."""
  _REGISTERED[kind] = network


def find(kind: type[nn.Module]) -> Network:
  """How networks of a class are converted."""
  for base in kind.__mro__:
    if base in _REGISTERED:
      return _REGISTERED[base]
  place = f"{__package__}.{title(kind)}"
  if kind in models.MODELS.values() and importlib.util.find_spec(place):
    return importlib.import_module(place).NETWORK
  return Network()


def title(kind: type[nn.Module]) -> str:
  """The name of a class of networks: the one that `models.create` takes, or that of the class."""
  names = [name for name, known in models.MODELS.items() if known is kind]
  return names[0] if names else kind.__name__
