"""Figures of the papers' kind: what went in, what came out, and how wrong it was."""

from collections.abc import Mapping, Sequence
import io
import itertools
from typing import Any, NamedTuple

import cv2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np

from bicross_jax import files
from bicross_jax.viz import colour

Example = Mapping[str, Any]
SPARSE = 0.3  # depth maps with less than this share of known pixels are drawn with thicker points
WIDTH, GAP, TITLE, BAR = 2.6, 0.06, 0.28, 0.42  # inches: a picture, between two, above, below
KEY, CAPTION = 0.16, 0.18  # inches: a row's name above it, words below its pictures
LABELS = {
  "depth": "metres (black: unknown)",
  "error": "|d - gt| / gt",
  "uncertainty": "uncertainty",
  "feature": "root mean square over channels",
}


class Cell(NamedTuple):
  """One picture of a figure.

  Attributes:
    picture: uint8[H, W, 3].
    quantity: a key of `LABELS`, which the column's colour bar is for, or None.
    caption: written below.
  """

  picture: np.ndarray
  quantity: str | None = None
  caption: str = ""


class Scales(NamedTuple):
  """The scales that all pictures of a figure, or of a video, share.

  Attributes:
    depth: metres, or None where there is no depth.
    uncertainty: the highest that is shown.
    feature: the highest activity of a feature map that is shown.
    white: the firing rate that is white.
  """

  depth: colour.Scale | None
  uncertainty: float = 1.0
  feature: float = 1.0
  white: float = 1.0


def save(
  path, examples: Sequence[Example], scale: colour.Scale | None = None, dpi: int = 110
) -> None:
  """Writes `figure(examples, scale)` as a PNG; at no moment is there half a file under `path`."""
  save_figure(path, figure(examples, scale), dpi)


def save_figure(path, drawing: Figure, dpi: int = 110) -> None:
  """Writes a figure as a PNG; at no moment is there half a file under `path`."""
  encoded = io.BytesIO()
  FigureCanvasAgg(drawing).figure.savefig(encoded, format="png", dpi=dpi)
  with files.write_whole(path) as file:
    file.write(encoded.getbuffer())


def shared_scales(examples: Sequence[Example], scale: colour.Scale | None = None) -> Scales:
  """The scales of some examples: `colour.common_scale` of all depth maps, unless one is given."""
  depths = [m for e in examples for m in ([e["depth"]] if "depth" in e else [])]
  depths += [m for e in examples for m in predictions(e).values()]
  scale = scale or (colour.common_scale(*depths) if depths else None)
  highest = [float(np.nanpercentile(e["uncertainty"], 99)) for e in examples if "uncertainty" in e]
  active = [
    float(np.percentile(colour.feature_activity(e["feature"]), 99))
    for e in examples
    if "feature" in e
  ]
  white = [colour.spike_white(e["spike"]) for e in examples if "spike" in e]
  return Scales(scale, _round(highest), _round(active), max(white, default=1.0))


def _round(values):
  """The largest, to two digits; 1 where there is none above 0."""
  highest = max(values, default=1.0)
  return float(f"{highest:.2g}") if highest > 0 else 1.0


def figure(
  examples: Sequence[Example], scale: colour.Scale | None = None, scales: Scales | None = None
) -> Figure:
  """A figure with a row for each example and a column for each field that any of them has.

  All depth maps share one scale in metres, and all uncertainties one. All maps of a row show one
  view, so they are drawn with the proportions of the row's first picture.

  Args:
    examples: dicts of any of: "key" (str, the row's name); "rgb" uint8[H, W, 3]; "spike"
      uint8[H, W, T/8], packed, drawn as the mean of its first 16 steps; "depth" float[H, W]
      metres, 0 = unknown; "prediction" float[h, w] metres of the same view, or {name: such a
      map} to compare several; "abs_rel", a number (or {name: number}) that is written below the
      prediction; "uncertainty" float[h, w]; "feature" float[h, w, C]. Each prediction is followed
      by its error |d - gt| / gt clipped at 1 where there is a "depth".
    scale: of the depth maps; by default `colour.common_scale` of all of them.
    scales: of a sequence that these examples are part of, instead of `scale`.

  Raises:
    ValueError: no example has a field to draw.
  """
  scales = scales or shared_scales(examples, scale)
  rows = [_pictures(e, scales) for e in examples]
  return lay_out(rows, scales, [e.get("key") for e in examples])


def predictions(example: Example) -> Mapping[str, np.ndarray]:
  """{name: map}; a single prediction goes by the name "prediction"."""
  prediction = example.get("prediction", {})
  return prediction if isinstance(prediction, Mapping) else {"prediction": prediction}


def abs_rel(example: Example, name: str) -> str:
  """The caption of a prediction: "AbsRel 0.123", or nothing."""
  value = example.get("abs_rel")
  value = value.get(name) if isinstance(value, Mapping) else value
  return "" if value is None or np.isnan(value) else f"AbsRel {value:.3f}"


def inputs(example: Example, scales: Scales) -> dict[tuple[int, str], Cell]:
  """{(place, title): cell} of what a network saw, "rgb" and "spike"; places order the columns."""
  out = {}
  if "rgb" in example:
    out[0, "RGB"] = Cell(np.asarray(example["rgb"]))
  if "spike" in example:
    picture = colour.spike_picture(example["spike"], white=scales.white)
    out[1, "spikes, mean of 16 steps"] = Cell(picture)
  return out


def drawn_truth(truth: np.ndarray) -> np.ndarray:
  """Ground truth as it is drawn: points of sparse depth are thicker than they are."""
  return colour.thicken(truth) if np.mean(truth > 0) < SPARSE else truth


def _pictures(example, scales):
  """{(place, title): cell} of one example; places order the columns."""
  out = inputs(example, scales)
  truth = np.asarray(example["depth"]) if "depth" in example else None
  if truth is not None:
    truth, shape = drawn_truth(truth), truth.shape
    out[2, "depth"] = Cell(colour.depth_picture(truth, scales.depth), "depth")
  several = predictions(example)
  for name, prediction in several.items():
    prediction = np.asarray(prediction, np.float32)
    picture = colour.depth_picture(prediction, scales.depth)
    out[3, name] = Cell(picture, "depth", abs_rel(example, name))
    if truth is not None:
      fitted = cv2.resize(prediction, shape[::-1], interpolation=cv2.INTER_CUBIC)
      title = "error" if len(several) == 1 else f"{name}: error"
      out[3, title] = Cell(colour.error_picture(fitted, truth), "error")
  if "uncertainty" in example:
    uncertainty = np.asarray(example["uncertainty"])
    picture = colour.uncertainty_picture(uncertainty, scales.uncertainty)
    out[4, "uncertainty"] = Cell(picture, "uncertainty")
  if "feature" in example:
    picture = colour.feature_picture(example["feature"], scales.feature)
    out[5, "feature activity"] = Cell(picture, "feature")
  return out


def lay_out(
  rows: Sequence[Mapping[tuple[int, str], Cell]], scales: Scales, keys: Sequence[str | None]
) -> Figure:
  """Draws pictures on a grid, with titles above the columns and colour bars below them.

  Columns of one quantity that stand side by side share a colour bar.

  Args:
    rows: {(place, title): cell}; columns stand in the order of their places, then as they come.
    scales: of the colour bars.
    keys: of the rows, each written above its row.

  Raises:
    ValueError: there is nothing to draw.
  """
  columns = sorted(dict.fromkeys(key for row in rows for key in row), key=lambda key: key[0])
  if not columns:
    raise ValueError("no example has a field to draw")
  views = [row[min(row)].picture.shape if row else (1, 1) for row in rows]
  head = KEY if any(keys) else 0.0
  foot = CAPTION if any(cell.caption for row in rows for cell in row.values()) else 0.0
  heights = [WIDTH * view[0] / view[1] for view in views]
  width = GAP + len(columns) * (WIDTH + GAP)
  height = TITLE + sum(heights) + (head + foot + GAP) * len(rows) + BAR
  drawing = Figure(figsize=(width, height))

  def axes(x, y, w, h):  # inches from the upper left corner
    return drawing.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))

  def text(x, y, words, size, **options):
    drawing.text(x / width, 1 - y / height, words, va="center", fontsize=size, **options)

  lefts = [GAP + j * (WIDTH + GAP) for j in range(len(columns))]
  for left, (_, title) in zip(lefts, columns, strict=True):
    text(left + WIDTH / 2, 0.18, title, 9, ha="center")
  y = TITLE
  for key, row, row_height in zip(keys, rows, heights, strict=True):
    if key:
      text(GAP, y + head / 2, key, 7, ha="left", color="0.3")
    y += head
    for left, column in zip(lefts, columns, strict=True):
      if column in row:
        place = axes(left, y, WIDTH, row_height)
        place.imshow(row[column].picture, interpolation="nearest", aspect="auto")
        place.set_axis_off()
        if row[column].caption:
          text(left + WIDTH / 2, y + row_height + foot / 2, row[column].caption, 8, ha="center")
    y += row_height + foot + GAP
  values = {
    "depth": scales.depth,
    "error": 1.0,
    "uncertainty": scales.uncertainty,
    "feature": scales.feature,
  }
  quantities = [next(row[c].quantity for row in rows if c in row) for c in columns]
  j = 0
  for quantity, group in itertools.groupby(quantities):
    n = len(list(group))
    if quantity is not None:
      span = lefts[j + n - 1] + WIDTH - lefts[j]
      w = min(span - 0.3, 2 * WIDTH)
      bar(axes(lefts[j] + (span - w) / 2, y + 0.04, w, 0.09), quantity, values[quantity])
    j += n
  return drawing


def bar(axes, quantity: str, scale: colour.Scale | float) -> None:
  """Draws a colour bar, even in colour, with ticks where their values lie.

  Args:
    axes: Matplotlib's, to draw in.
    quantity: a key of `LABELS`.
    scale: the Scale of depths, else the highest value.
  """
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
