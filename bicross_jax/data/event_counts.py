"""From events to counts: rectified, cut into windows, counted by pixel, bin and polarity.

As StereoSpike's repository counts them ("legacy"), or as the stamps of the depth maps say
("timestamps"): docs/data.md.
"""

import numpy as np

from bicross_jax.data.formats.events import Events
from bicross_jax.ops import event_image

HOLE = 24  # pixels; smaller holes of a depth map are filled (StereoSpike)


def rectified(events: Events, maps: tuple[np.ndarray, np.ndarray]) -> Events:
  """Events at their rectified pixels, cut off to whole ones as StereoSpike does.

  Those that leave the frame are dropped.

  Args:
    events: in the frame of the maps.
    maps: column and row that each pixel has when rectified, float[H, W] each.
  """
  height, width = maps[0].shape
  x, y = (table[events.y, events.x] for table in maps)
  inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
  return Events(
    x[inside].astype(np.uint16), y[inside].astype(np.uint16), events.t[inside], events.p[inside]
  )


def histogram(
  events: Events, begin: int, end: int, *, bins: int, size: tuple[int, int], strict: bool = False
) -> np.ndarray:
  """Counts of the events of a window.

  Args:
    events: others than those of the window do not count.
    begin, end: microseconds. Bin k holds begin + k d < t <= begin + (k + 1) d, where d is
      (end - begin) / bins.
    bins: T.
    size: (H, W).
    strict: both ends of every bin are left out, as StereoSpike leaves them.

  Returns:
    uint16[H, W, T, 2]: ON, OFF; 65535 is that or more.
  """
  (height, width), offset = size, (events.t - begin) * bins  # whole multiples of the length
  length = end - begin
  inside = (offset > 0) & (offset <= length * bins)
  if strict:
    inside &= offset % length != 0
  slot = (offset[inside] - 1) // length
  place = events.y[inside].astype(np.int64) * width + events.x[inside]
  place = (place * bins + slot) * 2 + ~events.p[inside]
  counts = np.bincount(place, minlength=height * width * bins * 2)
  return np.minimum(counts, 65535).astype(np.uint16).reshape(height, width, bins, 2)


def image(events: Events, begin: int, end: int, *, size: tuple[int, int]) -> np.ndarray:
  """The event image of a window (`ops.event_image`): uint8[H, W, 2], negative and positive.

  Args:
    events, begin, end, size: as for `histogram`.
  """
  return event_image.encode(histogram(events, begin, end, bins=1, size=size)[:, :, 0])


def area_closing(depth: np.ndarray, pixels: int = HOLE) -> np.ndarray:
  """Fills holes of less than `pixels` pixels (4 neighbours) with the least depth around them.

  Grey-scale area closing (Vincent 1993) with unknown pixels as the lowest value. Small near
  things are filled too: it changes known depth, as StereoSpike's labels and test truth have it.

  Args:
    depth: float32[H, W] metres, 0 where unknown.
    pixels: what a component must have to stay.

  Returns:
    float32[H, W].
  """
  from skimage import morphology  # slow to load

  return morphology.area_closing(depth, pixels, connectivity=1).astype(np.float32)
