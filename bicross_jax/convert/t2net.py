"""Rules of T2Net's blocks, which the networks of Akada et al. are made of.

Their one PReLU is an entry of a state dict wherever a layer ends with it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from bicross_jax.convert.naming import Rule, batch_norm, conv, pattern

Places = Sequence[tuple[str, str]]  # templates: a convolution, and the slope behind it


def down(theirs: str, ours: str) -> list[Rule]:
  """Rules of `models.t2net.Down`."""
  return [
    *conv(f"{theirs}.model.0", f"params/{ours}/conv1"),
    *batch_norm(f"{theirs}.model.1", f"{ours}/norm1"),
    *conv(f"{theirs}.model.3", f"params/{ours}/conv2"),
    *batch_norm(f"{theirs}.model.4", f"{ours}/norm2"),
  ]


def residual(theirs: str, ours: str) -> list[Rule]:
  """Rules of `models.t2net.Residual`."""
  return [
    *conv(f"{theirs}.layer{{}}.1", f"params/{ours}/conv1_{{}}"),
    *batch_norm(f"{theirs}.norm1", f"{ours}/norm1"),
    *conv(f"{theirs}.branch1x1.1", f"params/{ours}/conv2"),
    *batch_norm(f"{theirs}.norm2", f"{ours}/norm2"),
  ]


def up(theirs: str, ours: str) -> list[Rule]:
  """Rules of `models.t2net.Up`."""
  return [
    *conv(f"{theirs}.model.1", f"params/{ours}/conv1"),
    *batch_norm(f"{theirs}.model.2", f"{ours}/norm1"),
    *conv(f"{theirs}.model.4", f"params/{ours}/transposed", "transposed_conv"),
    *batch_norm(f"{theirs}.model.5", f"{ours}/norm2"),
  ]


def after_down(theirs: str) -> Places:
  """Where the slope stands in a `Down`."""
  return [(f"{theirs}.model.{i}", f"{theirs}.model.{i + 2}") for i in (0, 3)]


def after_residual(theirs: str) -> Places:
  """Where the slope stands in a `Residual`."""
  return [(f"{theirs}.branch1x1.1", f"{theirs}.nonlinearity")]


def after_up(theirs: str) -> Places:
  """Where the slope stands in an `Up`."""
  return [(f"{theirs}.model.{i}", f"{theirs}.model.{i + 2}") for i in (1, 4)]


def slopes(ours: str, first: str, places: Places) -> list[Rule]:
  """Rules of the one slope of a network: its path, the name it is written under, all its names."""
  names = [first, *(slope for _, slope in places)]
  return [Rule(f"{name}.weight", f"params/{ours}", shared=True) for name in names]


def repeated(
  published: Mapping[str, np.ndarray], first: str, places: Places
) -> dict[str, np.ndarray]:
  """The slope under all its other names, of a state dict that holds it under the first."""
  out = {}
  for before, slope in places if f"{first}.weight" in published else ():
    matches = (pattern(f"{before}.weight").fullmatch(name) for name in published)
    names = [f"{slope}.weight".format(*match.groups()) for match in matches if match]
    out.update(dict.fromkeys(names, published[f"{first}.weight"]))
  return out
