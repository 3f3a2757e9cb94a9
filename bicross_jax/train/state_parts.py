"""Parts of the state that a checkpoint holds, such as the student beside a published teacher."""

from collections.abc import Sequence
import os
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from bicross_jax import errors
from bicross_jax.train import checkpoints


def restore(folder: str | os.PathLike, path: Sequence[str]) -> dict[str, Any] | None:
  """One part of the saved state; nothing else of it is read.

  Args:
    folder: of one checkpoint, from `checkpoints.find`.
    path: where it stands in the state, ("params", "student").

  Returns:
    A nested dict of NumPy arrays, or None where the state has no such part.

  Raises:
    errors.BadFileError: there is no state, or it cannot be read.
  """
  folder = pathlib.Path(folder).absolute() / "state"
  if not folder.is_dir():
    raise errors.BadFileError(folder, "is not there: this checkpoint holds no state")
  handler = ocp.PyTreeCheckpointHandler()
  with ocp.Checkpointer(handler) as reader:
    try:
      part = handler.metadata(folder).tree
      for name in path:
        if name not in part:
          return None
        part = part[name]
      checkpoints.check_arrays(folder, ".".join(path))
      item = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
        part,
        is_leaf=lambda x: hasattr(x, "shape"),
      )
      for name in reversed(path):
        item = {name: item}
      arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
      part = reader.restore(
        folder, args=ocp.args.PyTreeRestore(item=item, restore_args=arrays, partial_restore=True)
      )
    except (OSError, ValueError, KeyError) as error:
      raise errors.BadFileError(folder, f"cannot be restored: {error}") from error
  for name in path:
    part = part[name]
  return part
