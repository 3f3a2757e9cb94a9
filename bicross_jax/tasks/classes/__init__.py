"""Semantic classes: mean IoU, accuracy, baselines, files and pictures.

Predictions are "logits" float[h, w, K], or "label" uint8[h, w].
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bicross_jax import errors, tasks
from bicross_jax.tasks import maps
from bicross_jax.tasks.classes import baselines, metrics
from bicross_jax.tasks.classes import protocol as protocols

IOU = [f"iou_{k}" for k in range(protocols.IGNORE)]


def judge(predictions: tasks.Maps, truth: tasks.Truth, protocol: protocols.Protocol) -> tasks.Row:
  """One image: "confusion" int64[K, K + 1], "miou", "accuracy", "pixels", "nan_pixels"."""
  confusion = protocols.confusion(predictions, truth["label"], truth["crop"], protocol)
  counts = {"pixels": int(confusion.sum()), "nan_pixels": int(confusion[:, -1].sum())}
  return metrics.measure(confusion) | counts | {"confusion": confusion}


def summarise(rows: Sequence[tasks.Row]) -> dict:
  """Metrics of the confusion matrix of all images together, as is usual; not means over images.

  Returns:
    "miou", "accuracy", "iou_K" of each class, "images" (how many have ground truth),
    "images_without_truth", "nan_pixels", "absent" (how many classes are in neither truth nor
    prediction: they have no IoU and no part in the mean) and "confusion", int64[K, K + 1].

  Raises:
    errors.UserError: there is no image with a pixel to compare.
  """
  counted = [row for row in rows if row["pixels"]]
  if not counted:
    raise errors.UserError(
      f"nothing to compare: none of {len(rows)} images has a pixel with a known label"
    )
  confusion = np.sum([row["confusion"] for row in counted], axis=0)
  each = metrics.iou(confusion)
  present = {IOU[k]: float(x) for k, x in enumerate(each) if not np.isnan(x)}
  return (
    metrics.measure(confusion)
    | present
    | {
      "images": len(counted),
      "images_without_truth": len(rows) - len(counted),
      "nan_pixels": int(confusion[:, -1].sum()),
      "absent": len(each) - len(present),
      "confusion": confusion,
    }
  )


def blind(
  truths: Iterable[tasks.Maps], protocol: protocols.Protocol
) -> Mapping[str, tasks.Predict]:
  """The most frequent class, of all pixels and of each (`baselines.fit`)."""
  return baselines.predictors(*baselines.fit((truth["label"] for truth in truths), protocol))


def fit(predictions: tasks.Maps, size: tuple[int, int]) -> dict[str, np.ndarray]:
  """The maps of one image in another size, (H, W), with "label" uint8[H, W] for logits.

  Labels take the nearest; all else is resized bilinearly. A pixel without an answer gets 255.
  """
  out = {}
  if not {"logits", "label"}.isdisjoint(predictions):
    label, missing = protocols.label(predictions, size)
    out["label"] = np.where(missing, protocols.IGNORE, label).astype(np.uint8)
  for name, x in predictions.items():
    if name not in ("logits", "label"):
      out[name] = maps.resize(np.asarray(x, np.float32), size, "bilinear")
  return out


def predictor(predict: tasks.Predict, protocol: protocols.Protocol, own) -> tasks.Predict:
  """The predictor as the protocol asks for it: at several scales, and with the mirrored input."""
  if protocol.scales == (1.0,) and not protocol.flip:
    return predict
  from bicross_jax.tasks.classes import averaged  # which needs JAX

  return averaged.predictor(predict, protocol.scales, protocol.flip, own)


def called(protocol: protocols.Protocol) -> dict[str, str]:
  """{"iou_K": what its column is called} of the classes of a protocol that names them."""
  if not protocol.names:
    return {}
  return {IOU[k]: f"IoU {name}" for k, name in enumerate(protocol.titles)}


TASK = tasks.Task(
  name="classes",
  truth=("label",),
  judged=("logits", "label"),
  protocol=protocols.Protocol,
  protocols=protocols.PROTOCOLS,
  check=protocols.check,
  judge=judge,
  summarise=summarise,
  columns=dict.fromkeys(("miou", "accuracy", *IOU), "max"),
  titles={"miou": "mIoU", "accuracy": "accuracy"}
  | {name: f"IoU {k}" for k, name in enumerate(IOU)},
  baselines=blind,
  predictor=predictor,
  fit=fit,
  write=tasks.late(f"{__name__}.files", "write"),
  scales=tasks.late(f"{__name__}.pictures", "scales"),
  cells=tasks.late(f"{__name__}.pictures", "cells"),
  called=called,
  values=lambda protocol: protocol.titles,
  plots=tasks.late(f"{__name__}.pictures", "plots"),
)
