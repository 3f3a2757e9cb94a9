"""Figures of the papers' kind: what went in, what came out, and how wrong it was."""

from collections.abc import Mapping, Sequence
import io
from typing import Any

import cv2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np

from bicross_jax.data.formats import files
from bicross_jax.viz import colour

Example = Mapping[str, Any]
SPARSE = 0.3  # depth maps with less than this share of known pixels are drawn with thicker points
WIDTH, GAP, TITLE, BAR = 2.6, 0.06, 0.28, 0.42  # inches: a picture, between two, above, below
LABELS = {"depth": "metres", "error": "|d - gt| / gt", "uncertainty": "uncertainty"}


def save(
    path, examples: Sequence[Example], scale: colour.Scale | None = None, dpi: int = 110
) -> None:
  """Writes `figure(examples, scale)` as a PNG; at no moment is there half a file under `path`."""
  encoded = io.BytesIO()
  FigureCanvasAgg(figure(examples, scale)).figure.savefig(encoded, format="png", dpi=dpi)
  with files.write_whole(path) as file:
    file.write(encoded.getbuffer())


def figure(examples: Sequence[Example], scale: colour.Scale | None = None) -> Figure:
  """A figure with a row for each example and a column for each field that any of them has.

  All depth maps share one scale in metres, and all uncertainties one. All maps of a row show one
  view, so they are drawn with the proportions of the row's first picture.

  Args:
    examples: dicts of any of: "key" (str, the row's name); "rgb" uint8[H, W, 3]; "spike"
      uint8[H, W, T/8], packed, drawn as the mean of its first 16 steps; "depth" float[H, W]
      metres, 0 = unknown; "prediction" float[h, w] metres of the same view, or {name: such a
      map} to compare several; "uncertainty" float[h, w]; "feature" float[h, w, C]. Each
      prediction is followed by its error |d - gt| / gt clipped at 1 where there is a "depth".
    scale: of the depth maps; by default `colour.common_scale` of all of them.

  Raises:
    ValueError: no example has a field to draw.
  """
  depths = [m for e in examples for m in ([e["depth"]] if "depth" in e else [])]
  depths += [m for e in examples for m in _predictions(e).values()]
  scale = scale or (colour.common_scale(*depths) if depths else None)
  uncertainties = [e["uncertainty"] for e in examples if "uncertainty" in e]
  highest = max((float(np.nanpercentile(u, 99)) for u in uncertainties), default=1.0)
  highest = highest if highest > 0 else 1.0
  rows = [_pictures(e, scale, highest) for e in examples]
  titles = _in_order(rows)
  if not titles:
    raise ValueError("no example has a field to draw")
  return _lay_out(rows, titles, {"depth": scale, "error": 1.0, "uncertainty": highest},
                  [e.get("key") for e in examples])


def strip(pictures: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
  """Pictures side by side, at the height of the first: uint8[H, W', 3], as one frame of a video.

  Args:
    pictures: uint8[h, w, 3] each.
    gap: black columns between two.
  """
  height = pictures[0].shape[0]
  parts = []
  for picture in pictures:
    width = round(picture.shape[1] * height / picture.shape[0])
    smaller = height < picture.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    parts += [cv2.resize(picture, (width, height), interpolation=how),
              np.zeros((height, gap, 3), np.uint8)]
  return np.concatenate(parts[:-1], axis=1)


def _predictions(example):
  """{name: map}; a single prediction goes by the name "prediction"."""
  prediction = example.get("prediction", {})
  return prediction if isinstance(prediction, Mapping) else {"prediction": prediction}


def _pictures(example, scale, highest):
  """{(place, title): (picture, quantity or None)} of one example; places order the columns."""
  out = {}
  if "rgb" in example:
    out[0, "RGB"] = np.asarray(example["rgb"]), None
  if "spike" in example:
    out[1, "spikes, mean of 16 steps"] = colour.spike_picture(example["spike"]), None
  truth = np.asarray(example["depth"]) if "depth" in example else None
  drawn = colour.thicken if truth is not None and np.mean(truth > 0) < SPARSE else np.asarray
  if truth is not None:
    out[2, "depth"] = colour.depth_picture(drawn(truth), scale), "depth"
  predictions = _predictions(example)
  for name, prediction in predictions.items():
    prediction = np.asarray(prediction, np.float32)
    out[3, name] = colour.depth_picture(prediction, scale), "depth"
    if truth is not None:
      fitted = cv2.resize(prediction, truth.shape[::-1], interpolation=cv2.INTER_CUBIC)
      title = "error" if len(predictions) == 1 else f"{name}: error"
      out[3, title] = colour.error_picture(fitted, drawn(truth)), "error"
  if "uncertainty" in example:
    picture = colour.uncertainty_picture(np.asarray(example["uncertainty"]), highest)
    out[4, "uncertainty"] = picture, "uncertainty"
  if "feature" in example:
    out[5, "feature activity"] = colour.feature_picture(example["feature"]), None
  return out


def _in_order(rows):
  """Columns of all rows, each once: by place, then as they first appear."""
  return sorted(dict.fromkeys(key for row in rows for key in row), key=lambda key: key[0])


def _lay_out(rows, titles, scales, keys):
  """Draws pictures on a grid, with titles above and colour bars below their columns."""
  views = [row[min(row)][0].shape if row else (1, 1) for row in rows]
  left = 0.3 if any(keys) else 0.05
  width = left + len(titles) * (WIDTH + GAP)
  heights = [WIDTH * view[0] / view[1] for view in views]
  height = TITLE + sum(heights) + GAP * len(rows) + BAR
  drawing = Figure(figsize=(width, height))

  def axes(x, y, w, h):  # inches from the upper left corner
    return drawing.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))

  for j, key in enumerate(titles):
    x, y, quantity = left + j * (WIDTH + GAP), TITLE, None
    drawing.text((x + WIDTH / 2) / width, 1 - 0.18 / height, key[1], ha="center", va="center",
                 fontsize=9)
    for i, row in enumerate(rows):
      if key in row:
        picture, quantity = row[key]
        place = axes(x, y, WIDTH, heights[i])
        place.imshow(picture, interpolation="nearest", aspect="auto")
        place.set_axis_off()
      y += heights[i] + GAP
    if quantity is not None:
      _bar(axes(x + 0.15, y + 0.04, WIDTH - 0.3, 0.09), quantity, scales[quantity])
  y = TITLE
  for key, row_height in zip(keys, heights, strict=True):
    if key:
      drawing.text(0.15 / width, 1 - (y + row_height / 2) / height, key, rotation=90,
                   ha="center", va="center", fontsize=8)
    y += row_height + GAP
  return drawing


def _bar(axes, quantity, scale):
  """A colour bar, even in colour, with ticks where their values lie; `scale`: Scale or highest."""
  if isinstance(scale, colour.Scale):
    ticks = _ticks(scale)
    places = scale.place(ticks)
  else:
    ticks, places = [0, scale / 2, scale], [0, 0.5, 1]
  ramp = np.linspace(0, 1, 256)[None]
  axes.imshow(colour.paint(ramp, quantity, ramp >= 0), extent=(0, 1, 0, 1), aspect="auto")
  axes.set_xticks(places, [f"{t:.3g}" for t in ticks])
  axes.set_yticks([])
  axes.tick_params(labelsize=7, length=2, pad=1)
  axes.set_xlabel(LABELS[quantity], fontsize=7, labelpad=0)


def _ticks(scale):
  """Round depths inside the scale that leave each other room; the ends if there is but one."""
  powers = range(int(np.floor(np.log10(scale.low))), int(np.ceil(np.log10(scale.high))) + 1)
  ticks = []
  for tick in (s * 10.0**p for p in powers for s in (1, 2, 5)):
    if scale.low <= tick <= scale.high:
      if not ticks or scale.place(tick) - scale.place(ticks[-1]) > 0.09:
        ticks.append(tick)
  return ticks if len(ticks) > 1 else [scale.low, scale.high]
