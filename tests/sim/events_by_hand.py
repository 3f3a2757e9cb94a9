"""An event camera in float64, one pixel and one event after the other, to compare with."""

import numpy as np

from bicross_jax.sim import event_camera


def events(frames, times, level, thresholds, sensor) -> list[tuple[int, int, int, float, bool]]:
  """All events of a video, pixel by pixel: (interval, row, column, seconds, whether it is ON).

  Args:
    frames: [K, H, W], light.
    times: [K], seconds.
    level: [H, W], log intensity that the pixels remember at first.
    thresholds: ON and OFF, [H, W] each.
    sensor: the others of its parameters are read.
  """
  log = np.log(np.asarray(frames, np.float64) + event_camera.DARK)
  found = []
  for row, column in np.ndindex(log.shape[1:]):
    up, down = (float(t[row, column]) for t in thresholds)
    last, at = -np.inf, float(level[row, column])
    for i, seconds in enumerate(np.diff(times)):
      begin, end = log[i : i + 2, row, column]
      slope = (end - begin) / seconds + sensor.leak * up  # seen from the level
      step = up if slope > 0 else -down
      above, after = begin - at, (begin - at) + slope * seconds
      at -= sensor.leak * up * seconds
      while (after >= step) if slope > 0 else (after <= step):
        time = times[i] + (step - above) / slope
        if time - last >= sensor.refractory:
          found.append((i, row, column, time, slope > 0))
          last = time
        at, above, after = at + step, above - step, after - step
  return found


def counts(found, intervals: int, bins: int, shape: tuple[int, int]) -> np.ndarray:
  """int[H, W, bins, 2]: how many of the events are in each bin of whole intervals: ON, OFF."""
  out = np.zeros((*shape, bins, 2), int)
  for interval, row, column, _, on in found:
    out[row, column, interval * bins // intervals, int(not on)] += 1
  return out
