"""Reads the arrays of an Orbax item (`state`, `variables`), each checked before it is believed.

Orbax reads all of them at once: where one is damaged, the rest go on and their threads report
errors, with tracebacks, past the one clear line. It takes an array whose data are gone for zeros,
and opens its folder by an unescaped URL.
"""

from collections.abc import Iterable, Mapping, Sequence
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
import tensorstore

from bicross_jax import errors, files

METADATA = "_METADATA"
_DRIVERS = {False: ("zarr", ".zarray"), True: ("zarr3", "zarr.json")}  # by use_zarr3
# No more bytes than that come out of one stored byte: Zstandard writes 128 KiB of zeros as 4 bytes.
_RATIO = 40_000

Path = tuple[str, ...]


def read(
  folder: pathlib.Path, within: Path = (), unchecked: Sequence[Path] = ()
) -> dict[Path, np.ndarray | None]:
  """The arrays of an item by where they stand in its tree, None where a branch ends empty.

  Args:
    folder: of the item.
    within: the branch that is read; nothing else is.
    unchecked: branches whose numbers need not be finite.

  Raises:
    errors.UserError: there is no item, it is damaged, a number in it is not finite, or the
      folder cannot be named (`files.check_storage_name`).
  """
  files.check_storage_name(folder)
  metadata = files.read_json(folder / METADATA)
  tree = _tree(folder, metadata)
  wanted = {path: leaf for path, leaf in tree.items() if path[: len(within)] == within}
  zarr3, ocdbt = bool(metadata.get("use_zarr3")), metadata.get("use_ocdbt", True)
  # As a path: in the URL of a folder, # and ? would have to be escaped.
  store = {"driver": "file", "path": f"{folder}/"}
  if ocdbt:
    store = {"driver": "ocdbt", "base": store}
  try:
    there = {key.decode() for key in tensorstore.KvStore.open(store).result().list().result()}
    stored = sum(p.stat().st_size for p in folder.rglob("*"))
    out = {}
    for path, is_array in wanted.items():
      if not is_array:
        out[path] = None
        continue
      name = ".".join(path)
      if f"{name}/{_DRIVERS[zarr3][1]}" not in there:
        raise errors.BadFileError(folder, f"cannot be restored: there is no array {name}")
      out[path] = _array(folder, store, name, zarr3, stored)
      if not path_in(path, unchecked) and not _finite(out[path]):
        raise errors.BadFileError(folder, f"cannot be restored: {name} is not finite")
  except (OSError, ValueError) as error:
    raise errors.BadFileError(folder, f"cannot be restored: {_line(error)}") from error
  return out


def nest(leaves: Mapping[Path, Any]) -> dict[str, Any]:
  """{path: array} as nested dicts; None becomes an empty dict."""
  out: dict[str, Any] = {}
  for path, value in leaves.items():
    node = out
    for name in path[:-1]:
      node = node.setdefault(name, {})
    if path:
      node[path[-1]] = {} if value is None else value
  return out


def path_in(path: Path, branches: Iterable[Path]) -> bool:
  """Whether a path stands in one of some branches."""
  return any(path[: len(branch)] == branch for branch in branches)


def _tree(folder, metadata):
  """{path: whether an array is there} of an item's metadata."""
  try:
    out = {}
    for leaf in metadata["tree_metadata"].values():
      path = tuple(str(key["key"]) for key in leaf["key_metadata"])
      out[path] = not leaf["value_metadata"]["skip_deserialize"]
  except (AttributeError, KeyError, TypeError) as error:
    raise errors.BadFileError(
      folder, f"cannot be restored: {METADATA} is not the list of its arrays"
    ) from error
  if not any(out.values()):
    raise errors.BadFileError(folder, "cannot be restored: there are no arrays in it")
  ends = set(out)
  inside = [path for path in out if any(path[:n] in ends for n in range(len(path)))]
  if inside:
    raise errors.BadFileError(
      folder, f"cannot be restored: {'.'.join(inside[0])} stands inside of another array"
    )
  return out


def _array(folder, store, name, zarr3, stored):
  if store["driver"] == "file":
    place = {"driver": "file", "path": f"{folder}/{name}/"}
  else:
    place = {**store, "path": f"{name}/"}
  # What is equal to the fill value is stored too: what is missing was lost.
  spec = {"driver": _DRIVERS[zarr3][0], "kvstore": place, "fill_missing_data_reads": False}
  array = tensorstore.open(spec, open=True, read=True).result()
  dtype = array.dtype.numpy_dtype
  if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
    raise errors.BadFileError(folder, f"cannot be restored: {name} has dtype {dtype}")
  if array.size * dtype.itemsize > _RATIO * stored:
    raise errors.BadFileError(
      folder, f"cannot be restored: {name} of shape {list(array.shape)} is not in {stored} bytes"
    )
  return np.asarray(array.read().result())


def _finite(array):
  return not jnp.issubdtype(array.dtype, jnp.floating) or bool(np.all(np.isfinite(array)))


def _line(error):
  """An error of TensorStore in one line, without where in its source it arose."""
  return " ".join(str(error).split(" [source locations=")[0].split())[:300]
