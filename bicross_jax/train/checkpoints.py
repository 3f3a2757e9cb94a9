"""Checkpoints of a run: <run>/checkpoints/<step>/{state,variables,meta}, by Orbax.

`state` is the whole TrainState, for going on; `variables` what one would deploy, a nested dict
{"params", "batch_stats"} that Orbax alone restores; `meta` is JSON. All arrays are saved from host
memory, so that they open on any number of devices. A checkpoint is written beside its place and
renamed when it is whole.
"""

from collections.abc import Mapping
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import tensorstore

from bicross_jax import errors, files
from bicross_jax.train import runs
from bicross_jax.train.state import TrainState, Variables

# item -> a file in it that every checkpoint has
ITEMS = {"state": "_METADATA", "variables": "_METADATA", "meta": "metadata"}
PUBLISHED = ("variables", "meta")  # enough of them to read what a checkpoint publishes


class _Keep:
  """Orbax preservation policy: the last checkpoint and the best one."""

  best: int | None = None

  def should_preserve(self, checkpoints, *, context):
    del context
    last = max(c.step for c in checkpoints)
    return [c.step in (last, self.best) for c in checkpoints]


class Checkpoints:
  """Writes and restores the checkpoints of one run. A context manager; leaving it waits."""

  def __init__(self, workdir: str | os.PathLike):
    """Opens <workdir>/checkpoints; what a killed save left there is removed."""
    self.folder = (pathlib.Path(workdir) / runs.CHECKPOINTS).absolute()
    self._keep = _Keep()
    self._manager = ocp.CheckpointManager(
      self.folder,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=self._keep, cleanup_tmp_directories=True
      ),
      item_handlers={
        "state": ocp.StandardCheckpointHandler(),
        "variables": ocp.StandardCheckpointHandler(),
        "meta": ocp.JsonCheckpointHandler(),
      },
    )

  def latest(self) -> int | None:
    """The step of the last whole checkpoint, or None."""
    return max(_complete(self.folder), default=None)

  def save(
    self,
    step: int,
    state: TrainState,
    variables: Variables,
    meta: Mapping[str, Any],
    best: int | None,
  ) -> None:
    """Saves in the background; afterwards only this checkpoint and that of step `best` are kept.

    Args:
      step: of this checkpoint. One that is there already is replaced (it is deleted first: a
        process killed in between leaves the ones before).
      state: NumPy arrays (`devices.gather`).
      variables: NumPy arrays.
      meta: JSON.
      best: the step of the best checkpoint so far, possibly this one; None: there is none yet.

    Raises:
      errors.UserError: later checkpoints stand in the way.
      TypeError: typed PRNG keys in the state.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path((state, variables)):
      if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise TypeError(f"{jax.tree_util.keystr(path)} is a typed PRNG key; store its key data")
    self._keep.best = best
    if step in self._manager.all_steps():
      self._manager.wait_until_finished()
      self._manager.delete(step)
    saved = self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        variables=ocp.args.StandardSave(variables),
        meta=ocp.args.JsonSave(files.jsonable(meta)),
      ),
    )
    if not saved:
      raise errors.UserError(
        f"checkpoint {step} was not written: {self.folder} holds later ones "
        f"({', '.join(map(str, self._manager.all_steps()))})"
      )

  def restore(self, step: int, like: TrainState) -> TrainState:
    """The state saved at `step`.

    Args:
      step: see `latest`.
      like: a state of the same structure, shapes and dtypes (arrays or their shapes).

    Returns:
      NumPy arrays.

    Raises:
      errors.UserError: what was saved is damaged, or not of that structure; the differences are
        listed.
    """
    folder = self.folder / str(step)
    check_arrays(folder / "state")
    there = _leaves(self._manager.item_metadata(step)["state"].tree)
    here = _leaves(like)
    changed = [
      f"{name}: {there.get(name, 'nothing')} there, {here.get(name, 'nothing')} here"
      for name in sorted(there.keys() | here.keys())
      if there.get(name) != here.get(name)
    ]
    if changed:
      more = f"; and {len(changed) - 4} more" if changed[4:] else ""
      raise errors.UserError(
        f"{folder} does not fit (another version, or another number of devices?): "
        f"{'; '.join(changed[:4])}{more}"
      )
    target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), like)
    args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
    return self._manager.restore(step, args=args)["state"]

  def wait(self) -> None:
    """Returns when what was saved is on disk."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits and ends Orbax's threads."""
    self._manager.close()

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self.close()


def find(path: str | os.PathLike, which: str = "best") -> pathlib.Path:
  """The folder of one checkpoint.

  Args:
    path: a run's folder, or the folder of one checkpoint (then `which` does not matter), with
      `variables` and `meta` at least.
    which: "best" (by the metric of the run's recipe) or "last".

  Raises:
    errors.UserError: nothing there, or not a whole checkpoint; it says what is missing.
  """
  path = pathlib.Path(path).absolute()
  if which not in ("best", "last"):
    raise errors.UserError(f"which={which!r}: choose best or last")
  if not path.is_dir():
    problem = "is a file" if path.exists() else "does not exist"
    raise errors.BadFileError(path, problem, "a run's folder or the folder of a checkpoint")
  if any((path / item).exists() for item in ITEMS):
    missing = [item for item in _missing(path) if item in PUBLISHED]
    if missing:
      raise errors.BadFileError(path, f"is no whole checkpoint: no {', '.join(missing)}")
    return path
  folder = path if path.name == runs.CHECKPOINTS else path / runs.CHECKPOINTS
  if not folder.is_dir():
    raise errors.BadFileError(
      path,
      f"holds no {runs.CHECKPOINTS}",
      "a run's folder, or the folder of a checkpoint with variables and meta",
    )
  steps = _complete(folder)
  if not steps:
    partial = [f"{p.name} lacks {', '.join(_missing(p))}" for p in _numbered(folder)]
    raise errors.BadFileError(
      folder, "holds no whole checkpoint" + (f" ({'; '.join(partial)})" if partial else "")
    )
  return folder / str(max(steps) if which == "last" else _best(folder, steps))


def read_meta(folder: str | os.PathLike) -> dict[str, Any]:
  """The `meta` of the checkpoint in `folder`: step, which, metric, metrics, config, versions, ...

  Raises:
    errors.BadFileError: it cannot be read.
  """
  meta = files.read_json(pathlib.Path(folder) / "meta" / "metadata")
  lacking = [k for k in ("step", "which", "metric", "metrics", "config") if k not in meta]
  if lacking:
    raise errors.BadFileError(
      folder, f"is no checkpoint of this package: meta has no {', '.join(lacking)}"
    )
  return meta


def restore_variables(folder: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
  """What a checkpoint publishes.

  Args:
    folder: of one checkpoint, from `find`.

  Returns:
    ({"params", "batch_stats"} of NumPy arrays, meta).

  Raises:
    errors.BadFileError: it cannot be read.
  """
  folder = pathlib.Path(folder).absolute()
  meta = read_meta(folder)
  check_arrays(folder / "variables")
  with ocp.StandardCheckpointer() as reader:
    try:
      return reader.restore(folder / "variables"), meta
    except (OSError, ValueError, KeyError) as error:
      raise errors.BadFileError(folder / "variables", f"cannot be restored: {error}") from error


def check_arrays(folder: pathlib.Path, within: str = "") -> None:
  """Reads the arrays of a store, one after the other.

  Orbax reads them all at once; where one is damaged, the rest go on and their threads report
  errors when nobody listens any more, with tracebacks past the one clear line.

  Args:
    folder: `state` or `variables` of a checkpoint.
    within: only arrays whose names, joined with dots, begin so.

  Raises:
    errors.BadFileError: one cannot be read, or there is none.
  """
  files.read_json(folder / "_METADATA")
  store = {"driver": "ocdbt", "base": f"file://{folder}/"}
  try:
    keys = tensorstore.KvStore.open(store).result().list().result()
    names = [
      name
      for name, _, last in (key.decode().rpartition("/") for key in keys)
      if last == ".zarray" and name.startswith(within)
    ]
    if not names:
      raise ValueError("there are no arrays in it")
    for name in names:
      array = {"driver": "zarr", "kvstore": {**store, "path": f"{name}/"}}
      tensorstore.open(array, open=True, read=True).result().read().result()
  except (OSError, ValueError) as error:
    raise errors.BadFileError(folder, f"cannot be restored: {error}") from error


def _best(folder, steps):
  """The step with the best value of the metric, the earliest of equals; or the last one judged."""
  found = []
  for step in steps:
    metric = read_meta(folder / str(step))["metric"]
    if metric["value"] is not None:
      rank = {"min": metric["value"], "max": -metric["value"], "last": -step}
      found.append((rank[metric["mode"]], step))
  if not found:
    raise errors.UserError(
      f"no checkpoint in {folder} has been validated yet; "
      f"take the last one, {folder / str(max(steps))}"
    )
  return min(found)[1]


def _numbered(folder):
  return [p for p in folder.iterdir() if p.is_dir() and p.name.isdecimal()]


def _complete(folder):
  """Steps of the whole checkpoints in a folder, in order."""
  if not folder.is_dir():
    return []
  return sorted(int(p.name) for p in _numbered(folder) if not _missing(p))


def _missing(folder):
  return [item for item, file in ITEMS.items() if not (folder / item / file).is_file()]


def _leaves(tree):
  """name -> "dtype[shape]" of every array of a tree, by Orbax's names (joined with dots)."""
  leaf = lambda x: hasattr(x, "shape") and hasattr(x, "dtype")
  return {
    jax.tree_util.keystr(path, simple=True, separator="."): f"{x.dtype}{list(x.shape)}"
    for path, x in jax.tree_util.tree_leaves_with_path(tree, is_leaf=leaf)
  }
