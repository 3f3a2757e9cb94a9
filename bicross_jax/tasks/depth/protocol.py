"""How a prediction meets its ground truth: resize, paste, scale, cap and crop, image by image."""

from typing import NamedTuple

import numpy as np

from bicross_jax import errors
from bicross_jax.ops import crops
from bicross_jax.tasks import maps
from bicross_jax.tasks.depth import metrics

SCALINGS = ("none", "median", "stereo")
SPACES = ("depth", "disparity")
TINY = 1e-8  # keeps quotients of depths and disparities finite
LARGEST = 16384  # pixels of a side
_WHITE = 255  # the highest level of 8 bits


class Protocol(NamedTuple):
  """Which pixels are compared, and in which units. The defaults are BiCross's, outdoors.

  Attributes:
    min_depth, max_depth: metres. Pixels with min < truth < max count; predictions are clipped
      to these values after they are scaled.
    crop: of the whole frame: "garg", "eigen" or "none" (`ops.crops.box`).
    scaling: what predictions are multiplied by, for networks without metric scale: "none",
      "median" (of each image, median(truth) / median(prediction) over the pixels that count) or
      "stereo" (`factor`).
    factor: metres for one unit of a network that was trained with a stereo baseline of another
      length: 5.4 where 0.54 m was called 0.1 (Godard et al. 2019).
    interpolation: how a prediction is brought to the size of its view in the frame: "bicubic",
      "bilinear" or "nearest".
    space: what is resized, "depth" or "disparity" (1 / depth).
    flip: the prediction is averaged with that of the mirrored input (`postprocess.flipped`).
    cutoffs: the mean depth error is also taken over the pixels with truth below 10, 20 and 30 m
      (`metrics.CUTOFFS`).
    truth_size: (height, width) that truth is brought to before it is compared, by nearest neighbour
      (`maps.nearest`); (): as it is.
    all_truth: every known pixel counts, nearer than min_depth and farther than max_depth too.
    grey: the prediction is first rounded down to one of 256 levels from 0 to so many metres, as one that was
      saved as a grey picture of 8 bits; 0: it is not.
  """

  min_depth: float = 1e-3
  max_depth: float = 80.0
  crop: str = "garg"
  scaling: str = "none"
  factor: float = 5.4
  interpolation: str = "bicubic"
  space: str = "depth"
  flip: bool = False
  cutoffs: bool = False
  truth_size: tuple[int, ...] = ()
  all_truth: bool = False
  grey: float = 0.0


_KITTI = Protocol(interpolation="bilinear", space="disparity")
_AKADA = Protocol(min_depth=1.0, interpolation="bilinear")
_MAKE3D = Protocol(
  max_depth=70.0, crop="none", scaling="median", interpolation="nearest", truth_size=(21, 305)
)
PROTOCOLS = {
  # BiCross on outdoor sets, and on indoor ones with the cap that NYU v2 is evaluated to.
  "bicross_outdoor": Protocol(),
  "bicross_indoor": Protocol(max_depth=10.0),
  # Eigen et al. 2014 in the form of Godard et al. 2019; the cap of 50 m begins at 1 m (Garg 2016).
  "kitti_eigen": _KITTI,
  "kitti_eigen_median": _KITTI._replace(scaling="median"),
  "kitti_eigen_stereo": _KITTI._replace(scaling="stereo"),
  "kitti_eigen_50": _KITTI._replace(min_depth=1.0, max_depth=50.0),
  # As Peng et al. 2021 evaluate: truth of every frame is brought to 375x1242.
  "kitti_eigen_375": _KITTI._replace(truth_size=(375, 1242)),
  # KITTI's official ground truth of the Eigen frames (Uhrig et al. 2017), as Godard et al. 2019.
  "kitti_benchmark": _KITTI._replace(crop="none", all_truth=True),
  # Networks of another scale on NYU v2 as Peng et al. 2021 test them.
  "nyu": Protocol(0.1, 10.0, "none", "median", interpolation="bilinear", all_truth=True),
  # Make3D's criterion C1, truth below 70 m: the central 21 of its 55 rows, or all of them (set `make3d`).
  "make3d_c1": _MAKE3D,
  "make3d_c1_whole": _MAKE3D._replace(truth_size=(55, 305)),
  # As Akada et al. 2022 evaluate, on metres and (legacy) on pictures of 8 bits; and while training.
  "akada_kitti": _AKADA,
  "akada_kitti_50": _AKADA._replace(max_depth=50.0),
  "akada_kitti_eigen": _AKADA._replace(crop="eigen"),
  "akada_kitti_legacy": _AKADA._replace(grey=80.0),
  "akada_validation": _AKADA._replace(min_depth=1e-3),
  "akada_make3d_legacy": _MAKE3D._replace(grey=80.0),
  # Mean depth errors of MVSEC: no crop, and no cap below what a lidar sees.
  "mvsec": Protocol(max_depth=1000.0, crop="none", cutoffs=True),
  # Depth of DSEC, which is judged by disparity where it is published: as on MVSEC.
  "dsec": Protocol(max_depth=1000.0, crop="none", cutoffs=True),
}


def check(protocol: Protocol) -> None:
  """Nothing, or an error that names a field that makes no sense.

  Raises:
    errors.UserError: the error.
  """
  for field, choices in (
    ("crop", crops.CROPS),
    ("scaling", SCALINGS),
    ("interpolation", maps.INTERPOLATIONS),
    ("space", SPACES),
  ):
    if (value := getattr(protocol, field)) not in choices:
      raise errors.UserError(f"protocol.{field}={value!r}: choose from {', '.join(choices)}")
  for field in ("min_depth", "max_depth", "factor"):
    if not 0 < (value := getattr(protocol, field)) < np.inf:
      raise errors.UserError(f"protocol.{field}={value!r} is not a positive number")
  size = protocol.truth_size
  if size and (len(size) != 2 or not all(type(n) is int and 0 < n <= LARGEST for n in size)):
    raise errors.UserError(
      f"protocol.truth_size={size!r} is no height and width of 1 to {LARGEST} pixels"
    )
  if not 0 <= protocol.grey < np.inf:
    raise errors.UserError(f"protocol.grey={protocol.grey!r} is neither 0 nor a number of metres")
  if protocol.min_depth >= protocol.max_depth:
    raise errors.UserError(
      f"protocol.min_depth={protocol.min_depth} is not below max_depth={protocol.max_depth}"
    )


def known_depth(depth: np.ndarray) -> np.ndarray:
  """Truth with NaN and infinities set to 0, which means unknown: float32[H, W] metres."""
  return np.where(np.isfinite(depth), depth, 0).astype(np.float32)


def valid_pixels(truth: np.ndarray, protocol: Protocol) -> np.ndarray:
  """bool[H, W]: pixels of the whole frame that count."""
  if protocol.all_truth:
    in_range = truth > 0
  else:
    in_range = (truth > protocol.min_depth) & (truth < protocol.max_depth)
  return in_range & crops.mask(protocol.crop, *truth.shape)


def compared_truth(
  truth: np.ndarray, view: tuple[int, int, int, int], protocol: Protocol
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
  """The truth in the size in which it is compared, and where the view lies in that.

  Args:
    truth: float32[h, w] metres of the whole frame.
    view: as in `paste`.
    protocol: its `truth_size`.

  Returns:
    (float32[H, W], (top, left, height, width) in whole pixels of it).
  """
  if not protocol.truth_size or truth.shape == tuple(protocol.truth_size):
    return truth, view
  top, left, height, width = map(int, view)
  spans = (top, top + height), (left, left + width)
  (top, bottom), (left, right) = (
    [(2 * edge * new + old) // (2 * old) for edge in span]  # rounded
    for span, new, old in zip(spans, protocol.truth_size, truth.shape, strict=True)
  )
  return maps.nearest(truth, protocol.truth_size), (top, left, bottom - top, right - left)


def paste(
  prediction: np.ndarray,
  shape: tuple[int, int],
  view: tuple[int, int, int, int],
  interpolation: str = "bicubic",
  space: str = "depth",
) -> np.ndarray:
  """The prediction at its place in a whole frame, 0 elsewhere: float32[H, W].

  Args:
    prediction: float[h, w], of what the network saw; resized to its view where it differs.
    shape: (H, W) of the whole frame.
    view: top, left, height, width of what the network saw, in pixels of the whole frame.
    interpolation, space: as in `Protocol`.

  Raises:
    ValueError: the view does not lie in the frame.
  """
  top, left, height, width = map(int, view)
  inside = top >= 0 and left >= 0 and top + height <= shape[0] and left + width <= shape[1]
  if prediction.ndim != 2 or not inside or height < 1 or width < 1:
    raise ValueError(f"prediction {prediction.shape} of view {tuple(view)} in a frame of {shape}")
  if space == "disparity":
    disparity = maps.resize(_inverse(prediction), (height, width), interpolation)
    prediction = _inverse(disparity)
  else:
    prediction = maps.resize(np.asarray(prediction, np.float32), (height, width), interpolation)
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
    prediction: float[h, w] metres, or any unit where the protocol scales.
    truth: float32[H, W] metres, whole frame, 0 = unknown; in the size that is compared.
    view: as in `paste`.
    protocol: what to do.

  Returns:
    (float32[H, W] in min_depth..max_depth, bool[H, W] where it was NaN, the factor of the scaling).
  """
  prediction = np.asarray(prediction, np.float32)
  prediction = np.where(np.isposinf(prediction), protocol.max_depth, prediction)
  prediction = np.where(np.isneginf(prediction), protocol.min_depth, prediction)
  if protocol.grey:
    prediction = _saved_as_grey(prediction, protocol.grey)
  frame = paste(prediction, truth.shape, view, protocol.interpolation, protocol.space)
  missing = np.isnan(frame)
  factor = _factor(frame, truth, valid_pixels(truth, protocol) & ~missing, protocol)
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
    `metrics.measure`, `metrics.mde` at every cut-off (NaN without a pixel below it) and "pixels",
    "nan_pixels"; "scale" too with scaling "median".
  """
  truth, view = compared_truth(known_depth(truth), view, protocol)
  frame, missing, factor = predicted_frame(prediction, truth, view, protocol)
  valid = valid_pixels(truth, protocol)
  row = metrics.measure(frame, truth, valid)
  for cutoff in metrics.CUTOFFS if protocol.cutoffs else ():
    row[f"mde_{cutoff}"] = metrics.mde(frame, truth, valid & (truth < cutoff))
  row |= {"pixels": int(valid.sum()), "nan_pixels": int((valid & missing).sum())}
  if protocol.scaling == "median":
    row["scale"] = factor
  return row


def _factor(frame, truth, compared, protocol):
  """What the scaling of the protocol multiplies a prediction by."""
  if protocol.scaling == "stereo":
    return protocol.factor
  if protocol.scaling == "median" and compared.any():
    return float(np.median(truth[compared]) / max(np.median(frame[compared]), TINY))
  return 1.0


def _saved_as_grey(metres, white):
  """float32, the metres of the grey levels that stand in a picture; what is beyond its levels is cut off."""
  return (np.floor(np.clip(metres, 0, white) * (_WHITE / white)) * (white / _WHITE)).astype(
    np.float32
  )


def _inverse(x):
  return 1 / np.maximum(np.asarray(x, np.float32), np.float32(TINY))
