"""Depth in pictures: colours on one scale in metres, the error, the uncertainty."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from bicross_jax.viz import cells as common
from bicross_jax.viz import colour, panels

Example = Mapping[str, Any]
SPARSE = 0.3  # depth maps with less than this share of known pixels are drawn with thicker points
# Near depths and large errors are bright; none comes near the black of "no value".
DEPTH = colour.Ramp("magma", 1.0, 0.14)
ERROR = colour.Ramp("inferno", 0.14, 1.0)
ERROR_BAR = panels.Bar("|d - gt| / gt", ERROR, colour.Scale(0.0, 1.0))
WHERE_UNKNOWN = colour.Scale(1.0, 100.0, "log")  # of figures in which no depth is known


class Scales(NamedTuple):
  """What all pictures of a figure or a video share.

  Attributes:
    depth: metres.
    shared: of inputs, uncertainty and features.
  """

  depth: colour.Scale
  shared: common.Scales = common.Scales()


def scales(examples: Sequence[Example], protocol: Any = None) -> Scales:
  """The scales of some examples, by any protocol: `common_scale` of all their depth maps, true and predicted."""
  del protocol
  depths = [e["depth"] for e in examples if "depth" in e]
  depths += [maps["depth"] for e in examples for maps in common.predictions(e).values()]
  return Scales(common_scale(*depths), common.scales(examples))


def cells(example: Example, scales: Scales) -> dict[tuple[int, str], panels.Cell]:
  """The pictures of one example.

  One network: the inputs, pictures made of them, true depth, prediction, error, uncertainty, feature activity. Several:
  the inputs, what each predicts, and the ground truth.

  Args:
    example: any inputs (`viz.cells.inputs`); "depth" float[H, W] metres, the truth, 0 = unknown;
      "prediction" {network: {"depth": float[h, w] metres of the same view, maybe "uncertainty":
      float[h, w], and pictures, `viz.cells.made`}}; "row" {network: what `judge` found}, whose "abs_rel" is written below;
      "feature" float[h, w, C].
    scales: of the figure.

  Returns:
    {(place, title): cell}.
  """
  out = common.inputs(example, scales.shared)
  networks = common.predictions(example)
  truth = np.asarray(example["depth"]) if "depth" in example else None
  several, place = len(networks) > 1, common.FIRST
  if truth is not None:
    title = (place + 9, "ground truth") if several else (place, "depth")
    out[title] = _depth_cell(drawn_truth(truth), scales)
  for name, maps in networks.items():
    out[place + 1, name] = _depth_cell(maps["depth"], scales, _caption(example, name))
    if several:
      continue
    out |= {(place - 1, title): cell for title, cell in common.made(maps).items()}
    if truth is not None:
      fitted = np.asarray(maps["depth"], np.float32)
      fitted = cv2.resize(fitted, truth.shape[::-1], interpolation=cv2.INTER_CUBIC)
      picture = error_picture(fitted, drawn_truth(truth))
      out[place + 2, "error"] = panels.Cell(picture, ERROR_BAR)
    if "uncertainty" in maps:
      out[place + 3, "uncertainty"] = common.uncertainty(maps["uncertainty"], scales.shared)
  if "feature" in example:
    out[place + 4, "feature activity"] = common.feature(example["feature"], scales.shared)
  return out


def common_scale(*depths: np.ndarray, kind: str = "log", share: float = 0.98) -> colour.Scale:
  """One scale for maps that are to be compared: the central `share` of all their values.

  Args:
    depths: float[H, W] metres each; what is not positive and finite is unknown. Where nothing is
      known there is nothing to show, and the scale is `WHERE_UNKNOWN`.
    kind: see `colour.Scale`.
    share: of the values that lie inside the scale.
  """
  values = [np.asarray(d)[_known(d)].ravel() for d in depths]
  values = np.concatenate(values) if values else np.zeros(0)
  if not values.size:
    return WHERE_UNKNOWN
  tail = 50 * (1 - share)
  low, high = np.percentile(values, [tail, 100 - tail])
  if high <= low * 1.01:  # a plane at one depth
    low, high = low / 1.1, high * 1.1
  return colour.Scale(float(low), float(high), kind)


def depth_picture(depth: np.ndarray, scale: colour.Scale) -> np.ndarray:
  """Depth in metres as colours: uint8[H, W, 3]; what is not positive and finite is black."""
  return colour.paint(depth, DEPTH, scale, _known(depth))


def error_picture(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """|d - gt| / gt clipped at 1 as colours: uint8[H, W, 3]; black where the truth is unknown.

  A prediction that is NaN counts as 1.
  """
  error, known = relative_error(prediction, truth)
  return colour.paint(error, ERROR, ERROR_BAR.scale, known)


def relative_error(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """|d - gt| / gt clipped at 1, float[H, W], and where the truth is known, bool[H, W]."""
  if prediction.shape != truth.shape:
    raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ")
  known = _known(truth)
  safe = np.where(known, truth, 1.0)
  error = np.abs(np.nan_to_num(prediction, nan=np.inf) - safe) / safe
  return np.where(known, np.minimum(error, 1.0), 0.0), known


def drawn_truth(truth: np.ndarray) -> np.ndarray:
  """Ground truth as it is drawn: points of sparse depth are thicker than they are."""
  return thicken(truth) if np.mean(_known(truth)) < SPARSE else truth


def thicken(depth: np.ndarray, radius: int = 1) -> np.ndarray:
  """Gives unknown pixels (0) the nearest depth within `radius` pixels, to make sparse maps visible.

  For pictures only: float32[H, W] metres in and out; known pixels keep their value.
  """
  depth = np.where(_known(depth), depth, 0).astype(np.float32)
  window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
  nearest = cv2.erode(np.where(depth > 0, depth, np.float32(1e30)), window)
  return np.where(depth > 0, depth, np.where(nearest < 1e30, nearest, 0)).astype(np.float32)


def _depth_cell(depth, scales, caption=""):
  bar = panels.Bar("metres (black: unknown)", DEPTH, scales.depth)
  return panels.Cell(depth_picture(np.asarray(depth), scales.depth), bar, caption)


def _caption(example, network):
  """ "AbsRel 0.123", or nothing where nothing was compared."""
  error = example.get("row", {}).get(network, {}).get("abs_rel", np.nan)
  return "" if np.isnan(error) else f"AbsRel {error:.3f}"


def _known(depth):
  return np.isfinite(depth) & (np.asarray(depth) > 0)
