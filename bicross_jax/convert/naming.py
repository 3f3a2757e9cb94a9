"""Rules that pair the names and layouts of published arrays with paths of ours.

A network may be published under several namings; a naming is a list of rules, told by a name that
only it has. Rules are pairs of templates, so that they can be read in both directions.
"""

from collections.abc import Iterable, Mapping, Sequence
import functools
import re
from typing import NamedTuple

import numpy as np

PIECES = 3  # query, key and value, along the last axis of our one array


class Rule(NamedTuple):
  """One array or a family of arrays.

  Attributes:
    theirs: published name; `{}` stands for any number.
    ours: path of ours, with as many `{}` for the same numbers.
    layout: a key of TRANSPOSED or RESHAPED, what the published array is.
    piece: which of PIECES equal parts of our array it is, or None for all of it.
    shared: whether several published entries may be this array; they must be equal. It is written under
      the name of the first rule; `Network.fill` gives the others.
  """

  theirs: str
  ours: str
  layout: str = "same"
  piece: int | None = None
  shared: bool = False


class Naming(NamedTuple):
  """How a network, or its backbone alone, is published.

  Attributes:
    title: who names it so, for messages.
    mark: pattern of a name that every state dict of this naming has, and no other naming.
    rules: the first that fits a name or a path counts.
    unused: pattern of names that stand for no part of our network.
    part: the module that it names everything of, "backbone"; "": the whole network.
  """

  title: str
  mark: str
  rules: Sequence[Rule]
  unused: str
  part: str = ""


# Layout -> the transposition that makes it ours ...
TRANSPOSED = {
  "linear": (1, 0),  # [out, in] -> [in, out]
  "conv": (2, 3, 1, 0),  # OIHW -> HWIO
  "transposed_conv": (2, 3, 0, 1),  # IOHW -> HWIO
}
# ... or the same for any number of axes ...
KERNEL = "kernel"  # [out, in, ...] -> [..., in, out]
# ... or our shape as a function of the published one.
RESHAPED = {
  "same": lambda shape: shape,
  "heads_last": lambda shape: (*shape[:-2], -1),  # [..., heads, channels of a head] -> [..., C]
  "heads_first": lambda shape: (-1, *shape[2:]),  # [heads, channels of a head, C] -> [C, C]
  "channels": lambda shape: shape[-1:] if set(shape[:-1]) <= {1} else shape,  # [1, 1, 1, C] -> [C]
}


def linear(theirs: str, ours: str, layout: str = "linear") -> list[Rule]:
  """A PyTorch layer with a weight, which is a kernel of ours, and perhaps a bias."""
  return [
    Rule(theirs + ".weight", ours + "/kernel", layout),
    Rule(theirs + ".bias", ours + "/bias"),
  ]


def conv(theirs: str, ours: str, layout: str = "conv") -> list[Rule]:
  """A PyTorch convolution."""
  return linear(theirs, ours, layout)


def norm(theirs: str, ours: str) -> list[Rule]:
  """A PyTorch normalisation."""
  return [Rule(theirs + ".weight", ours + "/scale"), Rule(theirs + ".bias", ours + "/bias")]


def batch_norm(theirs: str, ours: str) -> list[Rule]:
  """A PyTorch batch normalisation; `ours` is the path without "params" and "batch_stats".

  Its `num_batches_tracked` has no part in any output: it is passed over, and written as 0.
  """
  return [
    *norm(theirs, f"params/{ours}"),
    Rule(theirs + ".running_mean", f"batch_stats/{ours}/mean"),
    Rule(theirs + ".running_var", f"batch_stats/{ours}/var"),
  ]


_GENERIC = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}


def generic(shapes: Mapping[str, tuple[int, ...]]) -> Naming:
  """The naming that PyTorch would give a network with modules called as ours are.

  Path by path: slashes become dots, a kernel [..., in, out] a `weight` [out, in, ...], a norm's scale
  a `weight`, running statistics `running_mean` and `running_var`. What would have the name of
  another variable keeps its whole path.

  Args:
    shapes: path of ours ("params/...", "batch_stats/...") -> shape.
  """
  rules, taken = [], set()
  for path, shape in shapes.items():
    _, *owner, name = path.split("/")
    theirs = ".".join([*owner, _GENERIC.get(name, name)])
    if theirs in taken:
      theirs = path.replace("/", ".")
    taken.add(theirs)
    rules.append(Rule(theirs, path, KERNEL if name == "kernel" and len(shape) > 1 else "same"))
  return Naming("generic", "|".join(re.escape(rule.theirs) for rule in rules), rules, r"(?!)")


def recognise(namings: Iterable[Naming], names: Iterable[str]) -> Naming | None:
  """The naming whose mark is among the names, or None."""
  names = list(names)
  for naming in namings:
    if any(re.fullmatch(naming.mark, name) for name in names):
      return naming
  return None


def path_of(naming: Naming, name: str) -> tuple[str, Rule] | None:
  """(path of ours, rule) of a published name, or None where no rule fits."""
  for rule in naming.rules:
    match = pattern(rule.theirs).fullmatch(name)
    if match:
      return rule.ours.format(*match.groups()), rule
  return None


def name_of(naming: Naming, path: str) -> tuple[str, Rule] | None:
  """(published name, rule) of a path of ours, or None where no rule fits."""
  for rule in naming.rules:
    match = pattern(rule.ours).fullmatch(path)
    if match:
      return rule.theirs.format(*match.groups()), rule
  return None


def to_ours(layout: str, array: np.ndarray) -> np.ndarray:
  """A published array in our layout; one with another number of axes stays as it is."""
  if layout in RESHAPED:
    return array.reshape(RESHAPED[layout](array.shape))
  axes = _axes(layout, array.ndim)
  return array.transpose(axes) if array.ndim == len(axes) else array


def to_theirs(layout: str, array: np.ndarray) -> np.ndarray:
  """An array of ours in a published layout, "same" or one that is a transposition."""
  return np.asarray(array.transpose(np.argsort(_axes(layout, array.ndim))), order="C")


def _axes(layout, ndim):
  """The transposition that makes an array of a published layout ours."""
  if layout == KERNEL:
    return (*range(2, ndim), 1, 0) if ndim > 1 else range(ndim)
  return TRANSPOSED[layout] if layout != "same" else range(ndim)


@functools.cache
def pattern(template: str) -> re.Pattern:
  """What a template fits; `{}` stands for any number."""
  return re.compile(re.escape(template).replace(r"\{\}", r"(\d+)"))
