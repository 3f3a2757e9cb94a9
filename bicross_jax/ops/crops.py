"""The published crops of a frame: which part of it is compared. NumPy alone."""

import numpy as np

# Fractions of the frame: top, bottom (of its height), left, right (of its width).
CROPS = {
  "none": (0.0, 1.0, 0.0, 1.0),
  "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
  "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}


def box(crop: str, height: int, width: int) -> tuple[int, int, int, int]:
  """First and end row, first and end column of a crop, in pixels (fractions rounded down).

  Args:
    crop: "none", "garg" (Garg et al. 2016) or "eigen" (Eigen et al. 2014, as commonly evaluated on
      375-row KITTI frames).
    height, width: of the frame, in pixels.

  Raises:
    ValueError: for an unknown crop.
  """
  if crop not in CROPS:
    raise ValueError(f"unknown crop {crop!r}; known: {', '.join(CROPS)}")
  top, bottom, left, right = CROPS[crop]
  return int(top * height), int(bottom * height), int(left * width), int(right * width)


def mask(crop: str, height: int, width: int) -> np.ndarray:
  """bool[height, width], True inside the crop (see `box`)."""
  top, bottom, left, right = box(crop, height, width)
  inside = np.zeros((height, width), bool)
  inside[top:bottom, left:right] = True
  return inside
