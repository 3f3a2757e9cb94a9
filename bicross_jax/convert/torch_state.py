"""Published weights to our variables and back, by the rules of a naming."""

from collections.abc import Callable, Mapping, Sequence
import re
from typing import Any, NamedTuple

from flax import traverse_util
import flax.linen as nn
import jax
import numpy as np

from bicross_jax import errors, models
from bicross_jax.convert import dpt, dpt_google, dpt_huggingface, naming
from bicross_jax.models import transfer


class _Network(NamedTuple):
  """How one network is converted.

  Attributes:
    namings: those it is read under; it is written under the first.
    example: module -> the shape of an input to initialise it with.
    fit: (module, {path: array}) -> (the same with what depends on sizes adapted, notes on it).
    advise: (missing paths, {path: array}, module) -> what to do about weights that do not fit.
    fill: {published name: array} -> the entries that published files hold besides.
  """

  namings: Sequence[naming.Naming]
  example: Callable[[nn.Module], tuple[int, ...]]
  fit: Callable[[nn.Module, Mapping], tuple[dict, list[str]]]
  advise: Callable[[Sequence[str], Mapping, nn.Module], str]
  fill: Callable[[Mapping], dict]


class _Entry(NamedTuple):
  """An entry of a state dict: its name and shape there, and the array in our layout."""

  name: str
  shape: tuple[int, ...]
  array: np.ndarray


_NETWORKS = {
  "dpt": _Network(
    (dpt.PUBLISHED, dpt_huggingface.NAMING, dpt.TIMM, dpt_google.NAMING),
    dpt.example,
    dpt.resized,
    dpt.advice,
    dpt.fillers,
  )
}


class Converted(NamedTuple):
  """What became of published weights.

  Attributes:
    variables: {"params": ...}, perhaps {"batch_stats": ...}; float32 NumPy arrays.
    naming: how the weights were named.
    unused: names of entries that stand for no part of the network.
    notes: what was changed on the way, in words.
  """

  variables: dict[str, Any]
  naming: naming.Naming
  unused: list[str]
  notes: list[str]


def from_torch(
  name: str, state_dict: Mapping[str, Any], *, inflate: bool = False, **options
) -> dict[str, Any]:
  """The variables of `models.create(name, **options)` out of a published state dict.

  Args:
    name: the network; "dpt".
    state_dict: published name -> array, in the layout it is published in. For "dpt", as told by
      its names: isl-org's DPT and MiDaS, BiCross, Hugging Face's `DPTForDepthEstimation`; and
      backbones alone: timm's `vit_base_r50_s16_384`, `vit_base_patch16_384` and
      `vit_large_patch16_384` and Google's .npz of them. A prefix "module." on every name (as
      DataParallel leaves it) is dropped, `num_batches_tracked` is passed over, and a grid of
      positions of another size is resized bilinearly.
    inflate: make a network for spikes out of one for RGB (`models.transfer.inflate_stem`).
    **options: as for `models.create`; they must fit the state dict.

  Returns:
    {"params": ...}, plus {"batch_stats": ...} where the network has them; float32 NumPy arrays.
    Of a backbone alone, {"params": {"backbone": ...}}, which `models.transfer.adopt` puts into
    fresh variables.

  Raises:
    errors.UserError: unknown network or option, names of no known kind, or entries that are
      unknown, missing, of the wrong shape or not finite; the message lists them.
  """
  return convert(name, models.create(name, **options), state_dict, inflate).variables


def convert(
  name: str, module: nn.Module, state_dict: Mapping[str, Any], inflate: bool = False
) -> Converted:
  """As `from_torch`, for a module, and with an account of it."""
  if not inflate:
    return _convert(name, module, state_dict)
  rgb = _convert(name, module.clone(in_channels=3, stem_bins=0), state_dict)
  variables = transfer.inflate_stem(rgb.variables, module.in_channels, module.stem_bins)
  note = f"RGB stem inflated to {module.stem_bins or module.in_channels} channels"
  return rgb._replace(variables=jax.tree.map(np.asarray, variables), notes=[*rgb.notes, note])


def to_torch(name: str, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Variables of ours as the state dict of the published PyTorch network.

  `from_torch` gives exactly the same variables back. Published entries that no output depends on
  are there as zeros, so that strict loading is content.

  Args:
    name: the network; "dpt", which comes out under the names of isl-org's DPT and BiCross.
    variables: of a whole network, {"params": ...}.

  Raises:
    errors.UserError: no such network, or variables that are not of it; the message lists them.
  """
  network = _network(name)
  out, unknown = {}, []
  for path, value in traverse_util.flatten_dict(variables, sep="/").items():
    found = naming.name_of(network.namings[0], path)
    if found is None:
      unknown.append(path)
      continue
    key, rule = found
    out[key] = naming.to_theirs(rule.layout, np.asarray(value, np.float32))
  _complain(f"these variables are not of {name}", {"unknown": unknown})
  return {**out, **network.fill(out)}


def _network(name) -> _Network:
  if name not in _NETWORKS:
    raise errors.UserError(f"no conversion for {name!r}; there is {', '.join(sorted(_NETWORKS))}")
  return _NETWORKS[name]


def _convert(name, module, state_dict) -> Converted:
  network, state_dict = _network(name), _without_prefix(state_dict)
  named = naming.recognise(network.namings, state_dict)
  if named is None:
    titles = ", ".join(n.title for n in network.namings)
    first = ", ".join(list(state_dict)[:4]) or "none"
    raise errors.UserError(
      f"these are no weights of {name} under any known naming ({titles}); their names are {first}"
    )
  expected = {
    path: shape
    for path, shape in _expected(module, network.example(module)).items()
    if path.startswith(named.part + "/")
  }
  entries, unknown, unused = _sorted(named, state_dict, expected)
  found, misshapen, missing = {}, [], []
  for path, shape in expected.items():
    pieces = entries.get(path, {})
    if None in pieces:
      found[path] = pieces[None].array
    elif len(pieces) < naming.PIECES:
      there = _listed(p.name for p in pieces.values())
      missing.append(path + (f" (there is only {there})" if there else ""))
    else:
      part = (*shape[:-1], shape[-1] // naming.PIECES)
      wrong = [p for p in pieces.values() if p.array.shape != part]
      misshapen += [f"{p.name} {p.shape} for a part of {path} {shape}" for p in wrong]
      if not wrong:
        found[path] = np.concatenate([pieces[i].array for i in range(naming.PIECES)], axis=-1)
  found, notes = network.fit(module, found)
  for path, array in found.items():
    if array.shape != expected[path]:
      entry = entries[path][None]
      misshapen.append(f"{entry.name} {entry.shape} for {path} {expected[path]}")
  infinite = [
    p.name for pieces in entries.values() for p in pieces.values() if not np.isfinite(p.array).all()
  ]
  _complain(
    f"these weights (names of {named.title}) do not fit {name} with these options",
    {"unknown": unknown, "missing": missing, "misshapen": misshapen, "not finite": infinite},
    network.advise(missing, found, module),
  )
  return Converted(traverse_util.unflatten_dict(found, sep="/"), named, unused, notes)


def _sorted(named, state_dict, expected):
  """({path: {piece: entry}}, names without a path, names of unused entries)."""
  entries, unknown, unused = {}, [], []
  for key, value in state_dict.items():
    if key.endswith("num_batches_tracked"):
      continue
    if re.fullmatch(named.unused, key):
      unused.append(key)
      continue
    path, rule = naming.path_of(named, key) or (None, None)
    if path not in expected or rule.piece in entries.get(path, {}):
      unknown.append(key)
      continue
    value = np.asarray(value, np.float32)
    entry = _Entry(key, value.shape, naming.to_ours(rule.layout, value))
    entries.setdefault(path, {})[rule.piece] = entry
  return entries, unknown, unused


def _expected(module, shape) -> dict[str, tuple[int, ...]]:
  """Path -> shape of every variable of the module."""
  x = jax.ShapeDtypeStruct(shape, np.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), x)
  return {k: v.shape for k, v in traverse_util.flatten_dict(variables, sep="/").items()}


def _without_prefix(state_dict):
  prefix = "module."
  if state_dict and all(key.startswith(prefix) for key in state_dict):
    return {key[len(prefix) :]: value for key, value in state_dict.items()}
  return state_dict


def _complain(claim, problems, advice=""):
  """One error for all entries that do not fit, each kind with at most a dozen of them."""
  lines = [
    f"{len(entries)} {kind}: {_listed(entries)}" for kind, entries in problems.items() if entries
  ]
  if lines:
    raise errors.UserError("; ".join([claim, *lines, *filter(None, [advice])]))


def _listed(entries, most=12):
  """At most a dozen of them, and how many more there are."""
  entries = list(entries)
  more = f" and {len(entries) - most} more" if len(entries) > most else ""
  return ", ".join(entries[:most]) + more
