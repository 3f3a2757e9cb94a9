"""The seven depth metrics (Eigen et al. 2014) of one image, its mean error, and a training loss."""

import numpy as np

METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "d1", "d2", "d3", "mde")
CUTOFFS = (10, 20, 30)  # metres; where MVSEC's mean depth errors are cut off (Zhu et al. 2019)


def measure(prediction: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> dict[str, float]:
  """Metrics over the valid pixels of one image, in float64.

  With d the prediction and g the truth: abs_rel = mean |d - g| / g; sq_rel = mean (d - g)^2 / g
  (metres); rmse = sqrt mean (d - g)^2 (metres); rmse_log = sqrt mean (log d - log g)^2; d1, d2,
  d3 = share of pixels with max(d / g, g / d) < 1.25, 1.25^2, 1.25^3; mde as in `mde`; log10 = mean |log10 d - log10 g|
  (Make3D). `sig` is the loss `losses.depth.sig` of this image alone: sqrt(var + 0.15 mean^2) of log(d + 0.1) - log(g + 0.1).

  Args:
    prediction: float[H, W] metres, positive and finite at valid pixels.
    truth: float[H, W] metres, positive at valid pixels.
    valid: bool[H, W].

  Returns:
    {name: float}; all NaN for an image without a valid pixel.
  """
  if not prediction.shape == truth.shape == valid.shape:
    raise ValueError(
      f"prediction {prediction.shape}, truth {truth.shape}, valid {valid.shape} differ"
    )
  d, g = prediction[valid].astype(np.float64), truth[valid].astype(np.float64)
  if not d.size:
    return dict.fromkeys((*METRICS, "log10", "sig"), float("nan"))
  difference, logs = d - g, np.log(d) - np.log(g)
  ratio = np.maximum(d / g, g / d)
  shifted = np.log(d + 0.1) - np.log(g + 0.1)
  spread = shifted.var(ddof=1) if d.size > 1 else 0.0
  return {
    "abs_rel": float(np.mean(np.abs(difference) / g)),
    "sq_rel": float(np.mean(difference**2 / g)),
    "rmse": float(np.sqrt(np.mean(difference**2))),
    "rmse_log": float(np.sqrt(np.mean(logs**2))),
    "d1": float(np.mean(ratio < 1.25)),
    "d2": float(np.mean(ratio < 1.25**2)),
    "d3": float(np.mean(ratio < 1.25**3)),
    "mde": 100 * float(np.mean(np.abs(difference))),
    "log10": float(np.mean(np.abs(logs)) / np.log(10)),
    "sig": float(np.sqrt(spread + 0.15 * shifted.mean() ** 2)),
  }


def mde(prediction: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
  """Mean depth error over the valid pixels of one image in centimetres; NaN where there is none.

  Args:
    prediction, truth: float[H, W] metres, finite at valid pixels.
    valid: bool[H, W].
  """
  difference = prediction[valid].astype(np.float64) - truth[valid]
  return 100 * float(np.mean(np.abs(difference))) if difference.size else float("nan")
