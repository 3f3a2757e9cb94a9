"""Maps of numbers as colour pictures: float[H, W] -> uint8[H, W, 3], on a stated scale.

All colour maps are perceptually uniform. Near depths, large errors and large uncertainties are
bright; pixels without a value are black.
"""

from typing import NamedTuple

import cv2
import matplotlib
import numpy as np

from bicross_jax import errors

# Matplotlib's name, and the stretch of it that is used: none comes near the black of "no value".
MAPS = {
  "depth": ("magma", 1.0, 0.14),
  "error": ("inferno", 0.14, 1.0),
  "uncertainty": ("viridis", 0.0, 1.0),
  "feature": ("cividis", 0.0, 1.0),
}


class Scale(NamedTuple):
  """The range of depths that a picture shows, and how colours spread over it.

  Attributes:
    low, high: metres; values beyond take the colour of the end.
    kind: "log" (equal ratios look equally far apart), "inverse" (in 1 / depth, as disparity) or
      "linear".
  """

  low: float
  high: float
  kind: str = "log"

  def place(self, depth: np.ndarray) -> np.ndarray:
    """Where positive depths (metres) lie on the scale, from 0 at `low` to 1 at `high`; clipped."""
    curves = {"log": np.log, "inverse": lambda x: -1 / x, "linear": lambda x: x}
    if self.kind not in curves:
      raise ValueError(f"unknown kind of scale {self.kind!r}; known: {', '.join(curves)}")
    if not 0 < self.low < self.high < np.inf:
      raise ValueError(f"a depth scale needs 0 < low < high, got {self.low}..{self.high} m")
    depth = np.clip(np.asarray(depth, np.float64), self.low, self.high)
    low, high, x = (curves[self.kind](v) for v in (self.low, self.high, depth))
    return (x - low) / (high - low)


def common_scale(*depths: np.ndarray, kind: str = "log", share: float = 0.98) -> Scale:
  """One scale for maps that are to be compared: the central `share` of all their values.

  Args:
    depths: float[H, W] metres each; what is not positive and finite is unknown.
    kind: see `Scale`.
    share: of the values that lie inside the scale.

  Raises:
    errors.UserError: no map has a known depth.
  """
  values = np.concatenate([d[_known(d)].ravel() for d in map(np.asarray, depths)])
  if not values.size:
    raise errors.UserError("nothing to show: no depth map has a known depth")
  tail = 50 * (1 - share)
  low, high = np.percentile(values, [tail, 100 - tail])
  if high <= low * 1.01:  # a plane at one depth
    low, high = low / 1.1, high * 1.1
  return Scale(float(low), float(high), kind)


def depth_picture(depth: np.ndarray, scale: Scale) -> np.ndarray:
  """Depth in metres as colours: uint8[H, W, 3]; what is not positive and finite is black."""
  known = _known(depth)
  return paint(scale.place(np.where(known, depth, scale.low)), "depth", known)


def error_picture(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """|d - gt| / gt clipped at 1 as colours: uint8[H, W, 3]; black where the truth is unknown.

  A prediction that is NaN counts as 1.
  """
  error, known = relative_error(prediction, truth)
  return paint(error, "error", known)


def relative_error(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """|d - gt| / gt clipped at 1, float[H, W], and where the truth is known, bool[H, W]."""
  if prediction.shape != truth.shape:
    raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ")
  known = _known(truth)
  safe = np.where(known, truth, 1.0)
  error = np.abs(np.nan_to_num(prediction, nan=np.inf) - safe) / safe
  return np.where(known, np.minimum(error, 1.0), 0.0), known


def uncertainty_picture(uncertainty: np.ndarray, high: float = 1.0) -> np.ndarray:
  """Uncertainty from 0 to `high` as colours: uint8[H, W, 3]; NaN is black."""
  return paint(uncertainty / high, "uncertainty", ~np.isnan(uncertainty))


def feature_picture(feature: np.ndarray, high: float | None = None) -> np.ndarray:
  """How active a feature map is, from 0 to `high` (by default its own 99th percentile).

  Args:
    feature: float[h, w, C].
    high: the highest activity that is shown.

  Returns:
    uint8[h, w, 3].
  """
  activity = feature_activity(feature)
  high = float(np.percentile(activity, 99)) if high is None else high
  return paint(activity / max(high, 1e-12), "feature", np.isfinite(activity))


def feature_activity(feature: np.ndarray) -> np.ndarray:
  """Root mean square over the channels of a feature map: float[h, w, C] -> float32[h, w]."""
  return np.sqrt(np.mean(np.square(np.asarray(feature, np.float32)), axis=-1))


def spike_picture(spike: np.ndarray, steps: int = 16, white: float | None = None) -> np.ndarray:
  """Mean of the first steps of a spike stream as a grey picture: uint8[H, W, 3].

  Args:
    spike: uint8[H, W, T / 8], packed along time, bit t % 8 (little) of byte t // 8.
    steps: how many to average, a multiple of 8; all, where the stream is shorter.
    white: the firing rate that is white; by default `spike_white` of this stream.
  """
  rate = firing_rate(spike, steps)
  white = spike_white(spike, steps) if white is None else white
  grey = (255 * np.minimum(rate / white, 1)).round().astype(np.uint8)
  return np.repeat(grey[..., None], 3, axis=-1)


def spike_white(spike: np.ndarray, steps: int = 16) -> float:
  """The 99.5th percentile of the firing rates (few pixels fire at every step), more than 0."""
  return max(float(np.percentile(firing_rate(spike, steps), 99.5)), 1e-12)


def firing_rate(spike: np.ndarray, steps: int = 16) -> np.ndarray:
  """Share of the first steps at which a pixel fires: float64[H, W]; see `spike_picture`."""
  if spike.dtype != np.uint8 or spike.ndim != 3 or steps % 8 or steps < 8:
    raise ValueError(
      f"packed spikes uint8[H, W, T/8] and steps of 8 are needed, got"
      f" {spike.dtype} {spike.shape}, {steps} steps"
    )
  return np.unpackbits(spike[..., : steps // 8], axis=-1, bitorder="little").mean(-1)


def thicken(depth: np.ndarray, radius: int = 1) -> np.ndarray:
  """Gives unknown pixels (0) the nearest depth within `radius` pixels, to make sparse maps visible.

  For pictures only: float32[H, W] metres in and out; known pixels keep their value.
  """
  depth = np.where(_known(depth), depth, 0).astype(np.float32)
  window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
  nearest = cv2.erode(np.where(depth > 0, depth, np.float32(1e30)), window)
  return np.where(depth > 0, depth, np.where(nearest < 1e30, nearest, 0)).astype(np.float32)


def paint(x: np.ndarray, quantity: str, shown: np.ndarray) -> np.ndarray:
  """Numbers 0..1 (clipped) in the colour map of a quantity, black where not `shown`.

  Args:
    x: float[H, W].
    quantity: a key of `MAPS`.
    shown: bool[H, W].

  Returns:
    uint8[H, W, 3].
  """
  name, start, end = MAPS[quantity]
  x = start + (end - start) * np.clip(np.where(shown, np.asarray(x, np.float64), 0.0), 0.0, 1.0)
  painted = matplotlib.colormaps[name](x, bytes=True)[..., :3]
  return np.where(shown[..., None], painted, np.uint8(0))


def _known(depth):
  return np.isfinite(depth) & (np.asarray(depth) > 0)
