"""Depth in metres: metrics, protocols, baselines, uncertainty, files and pictures.

Predictions are "depth" float[h, w] metres and, where a network has it, "uncertainty" float[h, w].
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bicross_jax import errors, tasks
from bicross_jax.tasks import maps
from bicross_jax.tasks.depth import baselines, metrics, postprocess
from bicross_jax.tasks.depth import protocol as protocols

COLUMNS = {
  **dict.fromkeys(("abs_rel", "sq_rel", "rmse", "rmse_log"), "min"),
  **dict.fromkeys(("d1", "d2", "d3"), "max"),
  **dict.fromkeys(("mde", *(f"mde_{cutoff}" for cutoff in metrics.CUTOFFS)), "min"),
}
TITLES = {
  "abs_rel": "AbsRel",
  "sq_rel": "SqRel",
  "rmse": "RMSE",
  "rmse_log": "RMSElog",
  "mde": "MDE [cm]",
  **{f"mde_{cutoff}": f"MDE < {cutoff} m" for cutoff in metrics.CUTOFFS},
}


def judge(predictions: tasks.Maps, truth: tasks.Truth, protocol: protocols.Protocol) -> tasks.Row:
  """Metrics of one image (`protocol.measure`)."""
  return protocols.measure(predictions["depth"], truth["depth"], truth["crop"], protocol)


def summarise(rows: Sequence[tasks.Row]) -> dict[str, float]:
  """Means over the images that have ground truth.

  Returns:
    The mean of each metric (of those at a cut-off over the images with a pixel below it), "images"
    (how many have ground truth), "images_without_truth", "nan_pixels" (their sum).

  Raises:
    errors.UserError: there is no image with a pixel to compare.
  """
  counted = [row for row in rows if row["pixels"]]
  if not counted:
    raise errors.UserError(
      f"nothing to compare: none of {len(rows)} images has a pixel of known depth in range and crop"
    )
  found = [name for name in (*COLUMNS, "log10", "sig", "scale") if name in counted[0]]
  return {name: _mean([row[name] for row in counted]) for name in found} | {
    "images": len(counted),
    "images_without_truth": len(rows) - len(counted),
    "nan_pixels": sum(row["nan_pixels"] for row in counted),
  }


def predictor(predict: tasks.Predict, protocol: protocols.Protocol, own) -> tasks.Predict:
  """The predictor as the protocol asks for it: with `flip` it sees the mirrored input too."""
  return postprocess.flipped(predict, own) if protocol.flip else predict


def fit(predictions: tasks.Maps, size: tuple[int, int]) -> dict[str, np.ndarray]:
  """Every map of one image in another size, (H, W), by bicubic interpolation."""
  return {
    name: maps.resize(np.asarray(x, np.float32), size, "bicubic") for name, x in predictions.items()
  }


def blind(
  truths: Iterable[tasks.Maps], protocol: protocols.Protocol
) -> Mapping[str, tasks.Predict]:
  """The best constant and the per-pixel median of training depths (`baselines.fit`)."""
  return baselines.fit((truth["depth"] for truth in truths), protocol).predictors()


def _mean(values):
  known = [value for value in values if not np.isnan(value)]
  return float(np.mean(known)) if known else float("nan")


TASK = tasks.Task(
  name="depth",
  truth=("depth",),
  judged=("depth",),
  protocol=protocols.Protocol,
  protocols=protocols.PROTOCOLS,
  check=protocols.check,
  judge=judge,
  summarise=summarise,
  columns=COLUMNS,
  titles=TITLES,
  baselines=blind,
  predictor=predictor,
  fit=fit,
  write=tasks.late(f"{__name__}.files", "write"),
  scales=tasks.late(f"{__name__}.pictures", "scales"),
  cells=tasks.late(f"{__name__}.pictures", "cells"),
)
