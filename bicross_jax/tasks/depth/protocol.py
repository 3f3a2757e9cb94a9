"""How a prediction meets its ground truth: resize, paste, scale, cap and crop, image by image."""

from typing import NamedTuple

import cv2
import numpy as np

from bicross_jax.losses import masks
from bicross_jax.tasks.depth import metrics

SCALINGS = ("none", "median")


class Protocol(NamedTuple):
  """Which pixels are compared, and in which units (BiCross section 4; defaults: outdoor).

  Attributes:
    min_depth, max_depth: metres. Pixels with min < truth < max count; predictions are clipped
      to these values.
    crop: of the whole frame: "garg", "eigen" or "none" (`losses.masks.crop_box`).
    scaling: "none", or "median": each prediction is multiplied by median(truth) /
      median(prediction) over the pixels that count, for networks without metric scale.
  """

  min_depth: float = 1e-3
  max_depth: float = 80.0
  crop: str = "garg"
  scaling: str = "none"


def check(protocol: Protocol) -> Protocol:
  """The protocol itself, or ValueError for a field that makes no sense."""
  if protocol.crop not in masks.CROPS:
    raise ValueError(f"unknown crop {protocol.crop!r}; known: {', '.join(masks.CROPS)}")
  if protocol.scaling not in SCALINGS:
    raise ValueError(f"unknown scaling {protocol.scaling!r}; known: {', '.join(SCALINGS)}")
  if not 0 < protocol.min_depth < protocol.max_depth < np.inf:
    raise ValueError(f"depth range {protocol.min_depth}..{protocol.max_depth} m is not a range")
  return protocol


def known_depth(depth: np.ndarray) -> np.ndarray:
  """Truth with NaN and infinities set to 0, which means unknown: float32[H, W] metres."""
  return np.where(np.isfinite(depth), depth, 0).astype(np.float32)


def valid_pixels(truth: np.ndarray, protocol: Protocol) -> np.ndarray:
  """bool[H, W]: pixels of the whole frame that count."""
  in_range = (truth > protocol.min_depth) & (truth < protocol.max_depth)
  return in_range & masks.crop_mask(protocol.crop, *truth.shape)


def paste(
  prediction: np.ndarray, shape: tuple[int, int], view: tuple[int, int, int, int]
) -> np.ndarray:
  """The prediction at its place in a whole frame, 0 elsewhere: float32[H, W].

  A prediction of another size than its view is resized with OpenCV's bicubic interpolation, which
  is torch's (a = -0.75, align_corners False, no antialiasing).

  Args:
    prediction: float[h, w], of what the network saw.
    shape: (H, W) of the whole frame.
    view: top, left, height, width of what the network saw, in pixels of the whole frame.

  Raises:
    ValueError: the view does not lie in the frame.
  """
  top, left, height, width = map(int, view)
  inside = top >= 0 and left >= 0 and top + height <= shape[0] and left + width <= shape[1]
  if prediction.ndim != 2 or not inside or height < 1 or width < 1:
    raise ValueError(f"prediction {prediction.shape} of view {tuple(view)} in a frame of {shape}")
  prediction = np.asarray(prediction, np.float32)
  if prediction.shape != (height, width):
    prediction = cv2.resize(prediction, (width, height), interpolation=cv2.INTER_CUBIC)
  frame = np.zeros(shape, np.float32)
  frame[top : top + height, left : left + width] = prediction
  return frame


def predicted_frame(
  prediction: np.ndarray, truth: np.ndarray, view: tuple[int, int, int, int], protocol: Protocol
) -> tuple[np.ndarray, np.ndarray, float]:
  """The prediction as it is compared with the truth.

  Infinities become the cap before the resize, so that they do not spread. NaN is not repaired: a
  NaN pixel, and every pixel whose interpolation touches one, counts with the value min_depth,
  which is an error of nearly 100 %, and is reported.

  Args:
    prediction: float[h, w] metres (or any unit with scaling "median").
    truth: float32[H, W] metres, whole frame, 0 = unknown.
    view: as in `paste`.
    protocol: what to do.

  Returns:
    (float32[H, W] in min_depth..max_depth, bool[H, W] where it was NaN, the factor of "median").
  """
  prediction = np.asarray(prediction, np.float32)
  prediction = np.where(np.isposinf(prediction), protocol.max_depth, prediction)
  prediction = np.where(np.isneginf(prediction), protocol.min_depth, prediction)
  frame = paste(prediction, truth.shape, view)
  factor = 1.0
  compared = valid_pixels(truth, protocol) & ~np.isnan(frame)
  if protocol.scaling == "median" and compared.any():
    factor = float(np.median(truth[compared]) / max(np.median(frame[compared]), 1e-8))
  missing = np.isnan(frame)
  frame = np.where(missing, protocol.min_depth, np.float32(factor) * frame)
  return np.clip(frame, protocol.min_depth, protocol.max_depth), missing, factor


def measure(
  prediction: np.ndarray, truth: np.ndarray, view: tuple[int, int, int, int], protocol: Protocol
) -> dict[str, float]:
  """Metrics of one image, with the numbers of pixels that counted and that were NaN among them.

  Args:
    prediction, view: as in `paste`; metres.
    truth: float[H, W] metres of the whole frame; 0, NaN and infinities are unknown.
    protocol: what to do.

  Returns:
    `metrics.measure` and "pixels", "nan_pixels"; "scale" too with scaling "median".
  """
  truth = known_depth(truth)
  frame, missing, factor = predicted_frame(prediction, truth, view, protocol)
  valid = valid_pixels(truth, protocol)
  row = metrics.measure(frame, truth, valid)
  row |= {"pixels": int(valid.sum()), "nan_pixels": int((valid & missing).sum())}
  if protocol.scaling == "median":
    row["scale"] = factor
  return row
