"""Frames between frames by optical flow (OpenCV's DIS), for video that is slower than spikes."""

import numpy as np


def between(first: np.ndarray, second: np.ndarray, fractions) -> list[np.ndarray]:
  """Frames at some fractions of the way from one frame to the next.

  Both frames are warped to the moment, along the flow approximated there from the flows in both
  directions (Jiang et al., Super SloMo, CVPR 2018, equation 4), and blended by nearness.

  Args:
    first, second: float32[H, W], linear luminance in 0..1.
    fractions: moments in 0..1; 0 is the first frame.

  Returns:
    one float32[H, W] per fraction.
  """
  import cv2

  if first.shape != second.shape or first.ndim != 2:
    raise ValueError(f"two frames of one size are needed, not {first.shape} and {second.shape}")
  if np.array_equal(first, second):  # at rest
    return [first] * len(fractions)
  dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
  grey = [np.round(255 * np.clip(f, 0, 1) ** (1 / 2.2)).astype(np.uint8) for f in (first, second)]
  forward = dis.calc(grey[0], grey[1], None)
  backward = dis.calc(grey[1], grey[0], None)
  height, width = first.shape
  grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)

  def warp(frame, flow):
    xy = grid + flow
    return cv2.remap(
      frame, xy[..., 0], xy[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )

  frames = []
  for t in map(np.float32, fractions):
    to_first = -(1 - t) * t * forward + t * t * backward
    to_second = (1 - t) * (1 - t) * forward - t * (1 - t) * backward
    frames.append((1 - t) * warp(first, to_first) + t * warp(second, to_second))
  return frames
