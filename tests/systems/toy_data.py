"""A data set of a plug-in: squares that move over a textured wall, in recordings of four windows.

Two cameras and an event camera see them. Everything follows from NumPy's random numbers.
"""

import hashlib
import pathlib
import zlib

import numpy as np

from bicross_jax import errors
from bicross_jax.data import dataset, sets

WINDOWS = 4  # of a recording
BINS = 2  # of events in a window
FOCAL, BASELINE, WALL = 32.0, 0.5, 8.0  # pixels, metres, metres
MARGIN = (4, 8)  # what frames have beyond the view, rows and columns
DIGEST = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:10]
NEAR, FAR, IGNORED = 1, 2, 255  # classes of the squares, and of the frame's last column


class Squares(dataset.DataSet):
  """Two squares, a near and a far one, that pass each other."""

  name = "squares"
  domains = ("plain", "dark")

  def check(self, config, section):
    if min(config[part] for part in dataset.PARTS) < 1:
      raise errors.UserError(f"config.{section}: every part needs an example")

  def fields(self, config):
    h, w = _frame(config)
    return {
      "rgb": dataset.Stored((h, w, 3), "uint8"),
      "rgb_right": dataset.Stored((h, w, 3), "uint8"),
      "events": dataset.Stored((h, w, BINS, 2), "uint8"),
      "depth": dataset.Stored((h, w), "float32"),
      "label": dataset.Stored((h, w), "uint8"),
      "attention": dataset.Stored((h, w), "uint8"),
      "intrinsics": dataset.Stored((3, 3), "float32"),
      "baseline": dataset.Stored((), "float32"),
    }

  def build(self, config, section, part):
    del section, part
    from bicross_jax.data.builders import storage
    from tests.systems import toy_builder  # TensorFlow is needed from here on

    sizes = {name: config[name] for name in dataset.PARTS}
    made = toy_builder.SquaresConfig(domain=config.domain, frame=_frame(config), **sizes)
    return storage.prepare(toy_builder.Squares, made, storage.root(config.data_dir))


def _frame(config):
  return config.height + MARGIN[0], config.width + MARGIN[1]


def example(domain: str, frame: tuple[int, int], part: str, number: int) -> dict:
  """One window: what the cameras see, and the truth, in a frame of (height, width)."""
  recording, window = divmod(number, WINDOWS)
  rng = np.random.default_rng([zlib.crc32(part.encode()), recording])
  h, w = frame
  bright = 1.0 if domain == "plain" else 0.4
  wall = rng.integers(40, 120, (h, w + 32, 3))
  paint = {NEAR: rng.integers(150, 256, (8, 8, 3)), FAR: rng.integers(0, 40, (6, 6, 3))}
  place = {NEAR: rng.integers(0, h - 8), FAR: rng.integers(0, h - 6)}
  start = {NEAR: rng.integers(0, w - 20), FAR: rng.integers(12, w - 8)}
  step = {NEAR: 3, FAR: -2}
  depth_of = {NEAR: 2.0, FAR: 4.0}

  def view(time, shift):
    """(image, depth, label) of a camera that stands `shift` metres to the right."""
    moved = round(FOCAL * shift / WALL)
    image = wall[:, 16 + moved : 16 + moved + w].copy()
    depth = np.full((h, w), WALL, np.float32)
    label = np.zeros((h, w), np.uint8)
    for kind in (FAR, NEAR):
      side = len(paint[kind])
      left = start[kind] + round(step[kind] * time - FOCAL * shift / depth_of[kind])
      columns = np.arange(max(left, 0), min(left + side, w))
      rows = slice(place[kind], place[kind] + side)
      image[rows, columns] = paint[kind][:, columns - left]
      depth[rows, columns] = depth_of[kind]
      label[rows, columns] = kind
    return np.round(bright * image).astype(np.uint8), depth, label

  times = [window + bin / BINS for bin in range(BINS + 1)]
  grey = [view(time, 0.0)[0].astype(int).sum(-1) for time in times]
  changes = [b - a for a, b in zip(grey, grey[1:], strict=False)]
  events = np.stack([np.stack([c > 20, c < -20], -1) for c in changes], -2)
  rgb, depth, label = view(window, 0.0)
  label[:, -1] = IGNORED
  return {
    "rgb": rgb,
    "rgb_right": view(window, BASELINE)[0],
    "events": 3 * events.astype(np.uint8),
    "depth": depth,
    "label": label,
    "attention": np.where(label == NEAR, 2, 1).astype(np.uint8),
    "intrinsics": np.array([[FOCAL, 0, w / 2], [0, FOCAL, h / 2], [0, 0, 1]], np.float32),
    "baseline": np.float32(BASELINE),
  }


SET = sets.register(Squares())
