"""Published weights to our variables and back, by the rules of a naming."""

from collections.abc import Mapping
import re
from typing import Any, NamedTuple

from flax import traverse_util
import flax.linen as nn
import jax
import numpy as np

from bicross_jax import errors, models
from bicross_jax.convert import naming
from bicross_jax.convert import network as networks

_COUNTER = "num_batches_tracked"  # of PyTorch's batch norms; nothing of ours depends on it


class _Entry(NamedTuple):
  """An entry of a state dict: its name and shape there, and the array in our layout."""

  name: str
  shape: tuple[int, ...]
  array: np.ndarray


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
    name: the network.
    state_dict: published name -> array, in the layout it is published in. For "dpt", as told by
      its names: isl-org's DPT and MiDaS, BiCross, Hugging Face's `DPTForDepthEstimation`; and
      backbones alone: timm's `vit_base_r50_s16_384`, `vit_base_patch16_384` and
      `vit_large_patch16_384` and Google's .npz of them. A network that is published nowhere has the
      names that `to_torch` gives it. A prefix "module." on every name (as DataParallel leaves it)
      is dropped, `num_batches_tracked` is passed over, and a grid of positions of another size is
      resized bilinearly.
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
  return convert(models.create(name, **options), state_dict, inflate=inflate).variables


def convert(
  module: nn.Module,
  state_dict: Mapping[str, Any],
  *,
  inflate: bool = False,
  like: Mapping[str, Any] | None = None,
) -> Converted:
  """As `from_torch`, for a module, and with an account of it.

  Args:
    module: the network.
    state_dict, inflate: as for `from_torch`.
    like: a tree with the shapes of the module's variables; needed only for a network that says
      nowhere what input it takes (`network.Network.example`).
  """
  if not inflate:
    return _convert(module, state_dict, like)
  kind = type(module)
  inflation = networks.find(kind).inflate
  if inflation is None:
    raise errors.UserError(
      f"a network for spikes out of one for RGB: {networks.title(kind)} has none"
    )
  rgb, make, note = inflation(module)
  converted = _convert(rgb, state_dict, None)
  variables = jax.tree.map(np.asarray, make(converted.variables))
  return converted._replace(variables=variables, notes=[*converted.notes, note])


def to_torch(network: str | type[nn.Module], variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Variables of ours as a PyTorch state dict.

  `from_torch` gives exactly the same variables back. Published entries that no output depends on
  are there as zeros, so that strict loading is content.

  Args:
    network: its name, or the class of its module. "dpt" comes out under the names of isl-org's DPT
      and BiCross; a network that is published nowhere under names made from ours
      (`naming.generic`).
    variables: of a whole network, {"params": ...} and perhaps {"batch_stats": ...}.

  Raises:
    errors.UserError: no such network, or variables that are not of it; the message lists them.
  """
  kind = models.find(network) if isinstance(network, str) else network
  entry = networks.find(kind)
  flat = traverse_util.flatten_dict(variables, sep="/")
  named = next(iter(entry.namings), None) or naming.generic(
    {k: np.shape(v) for k, v in flat.items()}
  )
  out, unknown = {}, []
  for path, value in flat.items():
    found = naming.name_of(named, path)
    if found is None:
      unknown.append(path)
      continue
    key, rule = found
    out[key] = naming.to_theirs(rule.layout, np.asarray(value, np.float32))
    if key.endswith(".running_var"):
      out[key.removesuffix("running_var") + _COUNTER] = np.zeros((), np.int64)
  _complain(f"these variables are not of {networks.title(kind)}", {"unknown": unknown})
  return {**out, **entry.fill(out)}


def networks_from_torch(
  modules: Mapping[str, nn.Module],
  state_dict: Mapping[str, Any],
  *,
  inflate: bool = False,
  like: Mapping[str, Any] | None = None,
) -> Converted:
  """As `convert`, for the networks of a recipe.

  Args:
    modules: {name: network}. Of several networks every entry has "<name>." in front.
    state_dict, inflate: as for `from_torch`; with `inflate`, for those networks that can be made so.
    like: a tree with the shapes of the published variables, see `convert`.
  """
  if len(modules) == 1:
    (module,) = modules.values()
    return convert(module, state_dict, inflate=inflate, like=like)
  parts = {name: {} for name in modules}
  for key, value in _without_prefix(state_dict).items():
    name, _, rest = key.partition(".")
    parts.setdefault(name, {})[rest] = value
  names = ", ".join(modules)
  _complain(
    f"these weights are not of the networks {names} (each name has its network's in front)",
    {
      "unknown": [name for name in parts if name not in modules],
      "missing": [name for name in modules if not parts[name]],
    },
  )
  found = {}
  for name, module in modules.items():
    own = like and of_network(modules, like, name)
    able = inflate and networks.find(type(module)).inflate is not None
    found[name] = convert(module, parts[name], inflate=able, like=own)
    if found[name].naming.part:
      raise errors.UserError(
        f"these are weights of a part of {name}, where whole networks are needed"
      )
  collections = {c for converted in found.values() for c in converted.variables}
  return Converted(
    {c: {n: found[n].variables[c] for n in found if c in found[n].variables} for c in collections},
    naming.Naming(", ".join(found[n].naming.title for n in found), "", (), ""),
    [f"{n}.{key}" for n in found for key in found[n].unused],
    [f"{n}: {note}" for n in found for note in found[n].notes],
  )


def networks_to_torch(
  modules: Mapping[str, nn.Module], variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """As `to_torch`, for the networks of a recipe; of several, each name has its network's in front."""
  out = {}
  for name, module in modules.items():
    prefix = "" if len(modules) == 1 else f"{name}."
    state = to_torch(type(module), of_network(modules, variables, name))
    out.update({prefix + key: value for key, value in state.items()})
  return out


def of_network(
  modules: Mapping[str, nn.Module], variables: Mapping[str, Any], name: str
) -> dict[str, Any]:
  """The variables of one network of a recipe."""
  if len(modules) == 1:
    return dict(variables)
  return {c: tree[name] for c, tree in variables.items() if name in tree}


def _convert(module, state_dict, like) -> Converted:
  kind, state_dict = type(module), _without_prefix(state_dict)
  network, name = networks.find(kind), networks.title(kind)
  expected = _expected(module, network, like)
  namings = network.namings or (naming.generic(expected),)
  named = naming.recognise(namings, state_dict)
  if named is None:
    titles = ", ".join(n.title for n in namings)
    first = ", ".join(list(state_dict)[:4]) or "none"
    raise errors.UserError(
      f"these are no weights of {name} under any known naming ({titles}); their names are {first}"
    )
  if named.part:
    inside = lambda path: path.partition("/")[2].startswith(named.part + "/")
    expected = {path: shape for path, shape in expected.items() if inside(path)}
  entries, unknown, unequal, unused = _sorted(named, state_dict, expected)
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
    {
      "unknown": unknown,
      "missing": missing,
      "misshapen": misshapen,
      "not finite": infinite,
      "unequal": unequal,
    },
    network.advise(missing, found, module),
  )
  return Converted(traverse_util.unflatten_dict(found, sep="/"), named, unused, notes)


def _sorted(named, state_dict, expected):
  """({path: {piece: entry}}, names without a path, of shared entries that differ, of unused entries)."""
  entries, unknown, unequal, unused = {}, [], [], []
  for key, value in state_dict.items():
    if key.endswith(_COUNTER):
      continue
    if re.fullmatch(named.unused, key):
      unused.append(key)
      continue
    path, rule = naming.path_of(named, key) or (None, None)
    there = entries.get(path, {}).get(rule.piece) if rule else None
    if path not in expected or there and not rule.shared:
      unknown.append(key)
      continue
    value = np.asarray(value)
    if np.iscomplexobj(value):
      raise errors.UserError(f"{key} holds complex numbers; weights are real")
    value = value.astype(np.float32, copy=False)
    entry = _Entry(key, value.shape, naming.to_ours(rule.layout, value))
    if there and not np.array_equal(there.array, entry.array):
      unequal.append(f"{key} and {there.name}")
    entries.setdefault(path, {})[rule.piece] = entry
  return entries, unknown, unequal, unused


def _expected(module, network, like) -> dict[str, tuple[int, ...]]:
  """Path -> shape of every variable of the module."""
  if like is None:
    shape = network.example(module)
    if shape is None:
      name = networks.title(type(module))
      raise errors.UserError(f"{name} says nowhere what input it takes: its variables are needed")
    x = jax.ShapeDtypeStruct(shape, np.float32)
    like = jax.eval_shape(module.init, jax.random.key(0), x)
  return {k: np.shape(v) for k, v in traverse_util.flatten_dict(like, sep="/").items()}


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
