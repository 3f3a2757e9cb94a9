"""Checkpoints of a run: <run>/checkpoints/<step>/{state,variables,meta}, by Orbax.

`state` is the whole TrainState, for going on; `variables` what one would deploy, a nested dict
{"params", "batch_stats"} that Orbax alone restores; `meta` is JSON. All arrays are saved from host
memory, so that they open on any number of devices. A checkpoint is written beside its place and
renamed when it is whole.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import os
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from bicross_jax import errors, files
from bicross_jax.train import arrays, metadata, runs
from bicross_jax.train.state import TrainState, Variables

# item -> a file in it that every checkpoint has
ITEMS = {"state": arrays.METADATA, "variables": arrays.METADATA, "meta": "metadata"}
PUBLISHED = ("variables", "meta")  # enough of them to read what a checkpoint publishes
_NUMBER = re.compile("0|[1-9][0-9]*")


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
    found = arrays.read(folder / "state", unchecked=[("frozen",)])
    found = {".".join(path): x for path, x in found.items() if x is not None}
    here = {
      jax.tree_util.keystr(path, simple=True, separator="."): x
      for path, x in jax.tree_util.tree_leaves_with_path(like)
    }
    shown = lambda tree, name: _kind(tree[name]) if name in tree else "nothing"
    changed = [
      f"{name}: {shown(found, name)} there, {shown(here, name)} here"
      for name in sorted(found.keys() | here.keys())
      if shown(found, name) != shown(here, name)
    ]
    if changed:
      more = f"; and {len(changed) - 4} more" if changed[4:] else ""
      raise errors.UserError(
        f"{folder} does not fit (another version, or another number of devices?): "
        f"{'; '.join(changed[:4])}{more}"
      )
    state = jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in here])
    if state.step != step:
      raise errors.BadFileError(folder, f"is named {step}, and its state is that of {state.step}")
    return state

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
  if which not in ("best", "last"):
    raise errors.UserError(f"which={which!r}: choose best or last")
  with _reading(path):
    return _find(pathlib.Path(path).absolute(), which)


def _find(path, which):
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
  with _reading(folder):
    meta = metadata.read(folder)
    return _variables(folder / "variables"), meta


def restore_part(folder: str | os.PathLike, path: Sequence[str]) -> dict[str, Any] | None:
  """One part of the saved state, such as the student beside a published teacher.

  Nothing else of the state is read.

  Args:
    folder: of one checkpoint, from `find`.
    path: where it stands in the state, ("params", "student").

  Returns:
    A nested dict of NumPy arrays, or None where the state has no such part.

  Raises:
    errors.BadFileError: there is no state, or it cannot be read.
  """
  folder = pathlib.Path(folder).absolute() / "state"
  with _reading(folder):
    if not folder.is_dir():
      raise errors.BadFileError(folder, "is not there: this checkpoint holds no state")
    found = arrays.read(folder, tuple(path), unchecked=[("frozen",)])
  if not found:
    return None
  return arrays.nest({name[len(path) :]: x for name, x in found.items()})


def _variables(folder):
  """What is published, checked: float32 parameters, statistics that may also be counters."""
  found = arrays.read(folder)
  for path, x in found.items():
    if path[0] not in ("params", "batch_stats") or (len(path) == 1 and x is not None):
      raise errors.BadFileError(folder, f"holds {'.'.join(path)}", "params and batch_stats alone")
    floats = x is None or x.dtype == np.float32
    if not floats and (path[0] == "params" or x.dtype.kind not in "biu"):
      raise errors.BadFileError(folder, f"{'.'.join(path)} has dtype {x.dtype}", "float32")
  if not any(path[0] == "params" for path in found):
    raise errors.BadFileError(folder, "holds no params")
  return arrays.nest(found)


@contextlib.contextmanager
def _reading(path) -> Iterator[None]:
  """Makes what the file system refuses a BadFileError."""
  try:
    yield
  except OSError as error:
    raise errors.BadFileError(
      error.filename or path, f"cannot be read: {errors.reason(error)}"
    ) from error


def _best(folder, steps):
  """The step with the best value of the metric, the earliest of equals; or the last one judged."""
  found = []
  for step in steps:
    metric = metadata.read(folder / str(step))["metric"]
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
  return [p for p in folder.iterdir() if _NUMBER.fullmatch(p.name) and p.is_dir()]


def _complete(folder):
  """Steps of the whole checkpoints in a folder, in order."""
  if not folder.is_dir():
    return []
  return sorted(int(p.name) for p in _numbered(folder) if not _missing(p))


def _missing(folder):
  return [item for item, file in ITEMS.items() if not (folder / item / file).is_file()]


def _kind(x):
  return f"{jnp.result_type(x)}{list(jnp.shape(x))}"
