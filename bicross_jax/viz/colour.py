"""Maps of numbers as colour pictures: float[H, W] -> uint8[H, W, 3], on a stated scale.

All colour maps are perceptually uniform; pixels without a value are black.
"""

from typing import NamedTuple

import numpy as np

from bicross_jax.viz import backend


class Ramp(NamedTuple):
  """A stretch of one of Matplotlib's colour maps.

  Attributes:
    name: Matplotlib's.
    start, end: where the stretch begins and ends, 0..1.
  """

  name: str
  start: float = 0.0
  end: float = 1.0


class Scale(NamedTuple):
  """The range of numbers that a picture shows, and how colours spread over it.

  Attributes:
    low, high: in the unit of the numbers; values beyond take the colour of the end.
    kind: "linear", "log" (equal ratios look equally far apart) or "inverse" (in 1 / x, as
      disparity).
  """

  low: float
  high: float
  kind: str = "linear"

  def place(self, x: np.ndarray) -> np.ndarray:
    """Where numbers lie on the scale, from 0 at `low` to 1 at `high`; clipped.

    Raises:
      ValueError: an unknown kind, or ends that the kind cannot have.
    """
    curves = {"log": np.log, "inverse": lambda x: -1 / x, "linear": lambda x: x}
    if self.kind not in curves:
      raise ValueError(f"unknown kind of scale {self.kind!r}; known: {', '.join(curves)}")
    if not self.low < self.high < np.inf or self.kind != "linear" and self.low <= 0:
      need = "low < high" if self.kind == "linear" else "0 < low < high"
      raise ValueError(f"a {self.kind} scale needs {need}, got {self.low}..{self.high}")
    x = np.clip(np.asarray(x, np.float64), self.low, self.high)
    low, high, x = (curves[self.kind](v) for v in (self.low, self.high, x))
    return (x - low) / (high - low)

  def ticks(self) -> list[float]:
    """Numbers to write beside the scale.

    The ends and the middle of a linear one; else round numbers inside it that leave each other
    room, or the ends if there is but one.
    """
    if self.kind == "linear":
      return [self.low, (self.low + self.high) / 2, self.high]
    powers = range(int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high))) + 1)
    ticks = []
    for tick in (s * 10.0**p for p in powers for s in (1, 2, 5)):
      if self.low <= tick <= self.high:
        if not ticks or self.place(tick) - self.place(ticks[-1]) > 0.09:
          ticks.append(tick)
    return ticks if len(ticks) > 1 else [self.low, self.high]


def paint(x: np.ndarray, ramp: Ramp, scale: Scale, shown: np.ndarray | None = None) -> np.ndarray:
  """Numbers in colours, black where they are not shown.

  Args:
    x: float[H, W].
    ramp: the colours.
    scale: of the numbers.
    shown: bool[H, W]; by default where x is not NaN.

  Returns:
    uint8[H, W, 3].
  """
  x = np.asarray(x)
  shown = ~np.isnan(x) if shown is None else shown
  placed = scale.place(np.where(shown, x, scale.low))
  painted = backend.colours(ramp.name, ramp.start + (ramp.end - ramp.start) * placed)
  return np.where(shown[..., None], painted, np.uint8(0))


def display(linear: np.ndarray) -> np.ndarray:
  """Linear light 0..1 (clipped) as a display wants it: uint8 of sRGB (IEC 61966-2-1)."""
  x = np.clip(linear, 0, 1)
  encoded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)
  return np.round(255 * encoded).astype(np.uint8)
