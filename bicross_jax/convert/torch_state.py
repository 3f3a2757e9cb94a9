"""State dicts of PyTorch networks to our variables, by ordered lists of rules."""

from collections.abc import Callable, Mapping, Sequence
import re
from typing import Any, NamedTuple

import flax.linen as nn
from flax import traverse_util
import jax
import numpy as np

from bicross_jax import errors, models
from bicross_jax.convert import dpt

DROP = ""  # the path of entries that the network does not use

# Layout of a torch tensor -> the transposition that makes it ours.
_LAYOUTS = {
  "same": (0,),
  "linear": (1, 0),  # [out, in] -> [in, out]
  "conv": (2, 3, 1, 0),  # OIHW -> HWIO
  "transposed_conv": (2, 3, 0, 1),  # IOHW -> HWIO
}


class _Network(NamedTuple):
  """How one network is converted.

  Attributes:
    rules: (pattern of a whole torch name, path of ours or DROP, layout); the first match counts.
    example: module -> the shape of an input to initialise it with.
  """

  rules: Sequence[tuple[str, str, str]]
  example: Callable[[nn.Module], tuple[int, ...]]


_NETWORKS = {"dpt": _Network(dpt.RULES, dpt.example)}


def from_torch(name: str, state_dict: Mapping[str, Any], **options) -> dict[str, Any]:
  """The variables of `models.create(name, **options)` out of a published state dict.

  Args:
    name: the network; "dpt".
    state_dict: torch name -> array in torch layout. A prefix "module." on every name (as
      DataParallel leaves it) is dropped, `num_batches_tracked` is passed over.
    **options: as for `models.create`; they must fit the state dict.

  Returns:
    {"params": ...}, plus {"batch_stats": ...} where the network has them; float32 NumPy arrays.

  Raises:
    errors.UserError: unknown network or option, or entries that are unknown, missing or of the
      wrong shape; the message lists them.
  """
  module = models.create(name, **options)
  if name not in _NETWORKS:
    raise errors.UserError(f"no conversion for {name!r}; there is {', '.join(sorted(_NETWORKS))}")
  network = _NETWORKS[name]
  expected = _expected(module, network.example(module))
  found, unknown, misshapen = {}, [], []
  for key, value in _without_prefix(state_dict).items():
    if key.endswith("num_batches_tracked"):
      continue
    path, layout = _translate(key, network.rules)
    if path == DROP:
      continue
    if path not in expected:
      unknown.append(key)
      continue
    value = np.asarray(value, np.float32)
    if value.ndim == len(_LAYOUTS[layout]):
      found[path] = value.transpose(_LAYOUTS[layout])
    elif layout == "same":
      found[path] = value
    if path not in found or found[path].shape != expected[path]:
      misshapen.append(f"{key} {value.shape} for {path} {expected[path]}")
      found[path] = value
  missing = [path for path in expected if path not in found]
  _complain(name, {"unknown": unknown, "missing": missing, "misshapen": misshapen})
  return traverse_util.unflatten_dict(found, sep="/")


def _expected(module, shape) -> dict[str, tuple[int, ...]]:
  """Path -> shape of every variable of the module."""
  x = jax.ShapeDtypeStruct(shape, np.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), x)
  return {k: v.shape for k, v in traverse_util.flatten_dict(variables, sep="/").items()}


def _without_prefix(state_dict):
  prefix = "module."
  if state_dict and all(key.startswith(prefix) for key in state_dict):
    return {key[len(prefix):]: value for key, value in state_dict.items()}
  return state_dict


def _translate(key, rules):
  """(path, layout) by the first rule that matches the whole key; (None, "same") by none."""
  for pattern, path, layout in rules:
    match = re.fullmatch(pattern, key)
    if match:
      return (path if path == DROP else match.expand(path)), layout
  return None, "same"


def _complain(name, problems):
  """One error for all entries that do not fit, each kind with at most a dozen of them."""
  lines = []
  for kind, entries in problems.items():
    if entries:
      more = f" and {len(entries) - 12} more" if len(entries) > 12 else ""
      lines.append(f"{len(entries)} {kind}: {', '.join(entries[:12])}{more}")
  if lines:
    raise errors.UserError(f"this state dict does not fit {name} with these options; "
                           + "; ".join(lines))
