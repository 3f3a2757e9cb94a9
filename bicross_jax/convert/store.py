"""Converted weights as a checkpoint: a folder with `variables` and `meta`, which `load` opens.

It is a run's checkpoint without the state of an optimiser. One of a backbone alone is for a stage
to start from and cannot predict.
"""

from collections.abc import Mapping
import os
import pathlib
import shutil
from typing import Any
import uuid

import orbax.checkpoint as ocp

from bicross_jax import cameras, errors, files
from bicross_jax.convert.torch_state import Converted
from bicross_jax.train import runs
from bicross_jax.train.state import Recipe


def check_free(path: str | os.PathLike) -> pathlib.Path:
  """The path, where nothing is yet.

  Raises:
    errors.UserError: something is there.
  """
  path = pathlib.Path(path).absolute()
  if path.exists():
    raise errors.UserError(f"{path} is there already; choose another place or delete it")
  return path


def write(
  folder: str | os.PathLike,
  converted: Converted,
  config: Mapping[str, Any],
  recipe: Recipe,
  source: str,
) -> None:
  """Writes a checkpoint of converted weights; the folder appears only when it is complete.

  Args:
    folder: where nothing is yet.
    converted: from `torch_state.networks_from_torch`, for `recipe.networks`.
    config: says what network it is; kept in `meta`.
    recipe: of the config.
    source: of the weights, kept in `meta`.

  Raises:
    errors.UserError: something is there already, or the place cannot be written.
  """
  folder = check_free(folder)
  unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
  name, mode = recipe.metric
  meta = {
    "step": 0,
    "which": "converted",
    "metric": {"name": name, "mode": mode, "value": None},
    "metrics": {},
    "config": runs.plain(config),
    "config_hash": runs.config_hash(config),
    "versions": runs.versions(),
    "source": {"file": source, "naming": converted.naming.title, "notes": converted.notes},
    "part": converted.naming.part,
    "camera": cameras.trained(config, recipe),
  }
  try:
    with errors.writing(folder):
      (unfinished / "meta").mkdir(parents=True)
      files.write_json(unfinished / "meta" / "metadata", meta)
      with ocp.StandardCheckpointer() as writer:
        writer.save(unfinished / "variables", converted.variables)
      os.replace(unfinished, folder)
  except PermissionError as error:
    raise errors.UserError(f"{folder} cannot be written: {error.strerror}") from error
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)
