"""What a person sees of a training: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Mapping
import sys
from typing import Any

import jax
import numpy as np
import tqdm


class Progress:
  """Shows how far a training is, on standard error; messages go to standard output.

  Only process 0 shows anything. A context manager.
  """

  def __init__(self, start: int, steps: int, label: str = ""):
    """Shows nothing yet.

    Args:
      start: steps already made.
      steps: steps in all.
      label: what is trained.
    """
    self._start, self._steps, self._label = start, steps, label
    self._silent = jax.process_index() != 0
    self._bar = None

  def begin(self) -> None:
    """Shows the bar (on a terminal); the time left is counted from here."""
    if not self._silent and sys.stderr.isatty():
      self._bar = tqdm.tqdm(
        total=self._steps,
        initial=self._start,
        desc=self._label,
        unit="step",
        dynamic_ncols=True,
        smoothing=0.1,
        file=sys.stderr,
      )

  def advance(self) -> None:
    """One step more."""
    if self._bar is not None:
      self._bar.update()

  def log(self, step: int, values: Mapping[str, Any], images: float, seconds: float) -> None:
    """Shows the metrics.

    Args:
      step: how many steps are made.
      values: means since the last call; "loss", or the first scalar, is shown.
      images: rows trained on in a second.
      seconds: how long a step takes.
    """
    if self._silent:
      return
    name = "loss" if "loss" in values else next((k for k in values if np.ndim(values[k]) == 0), "")
    shown = f"{name} {values[name]:.4g}" if name else ""
    rate = f"{images:.1f} images/s"
    if self._bar is not None:
      self._bar.set_postfix_str(", ".join(filter(None, (shown, rate))))
      return
    left = clock((self._steps - step) * seconds)
    parts = [f"step {step}/{self._steps}", shown, rate, f"{left} left"]
    print("  ".join(filter(None, [self._label, *parts])), file=sys.stderr, flush=True)

  def message(self, text: str) -> None:
    """One line that stays, above the bar."""
    if self._silent:
      return
    if self._bar is not None:
      self._bar.write(text, file=sys.stdout)
    else:
      print(text, flush=True)

  def close(self) -> None:
    """Leaves the bar as it stands."""
    if self._bar is not None:
      self._bar.close()
      self._bar = None

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self.close()


def clock(seconds: float) -> str:
  """A duration as 0:42, 12:05 or 1:02:30."""
  total = max(0, round(seconds))
  hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
  return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
