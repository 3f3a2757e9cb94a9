"""Event images: a window's event counts as a picture of two channels (EvDistill).

The repository of EvDistill publishes such pictures, but not what makes them: its PNG files have counts over
the largest one, times 255, cut off, with the negative polarity in red and the positive in green.
"""


def encode(counts):
  """The event image of a window.

  Each polarity is on a scale of its own: v = floor(255 count / largest count). A polarity without any
  event is 0.

  Args:
    counts: whole numbers [..., H, W, 2] below 2^23, NumPy's or JAX's: ON, OFF.

  Returns:
    uint8[..., H, W, 2]: negative (OFF), positive (ON).
  """
  counts = counts[..., ::-1].astype("int32")
  largest = counts.max((-3, -2), keepdims=True)
  return (255 * counts // (largest + (largest == 0))).astype("uint8")
