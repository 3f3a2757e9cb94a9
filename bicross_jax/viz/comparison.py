"""The strip of the papers: what went in, what each of several networks says, and the truth."""

from collections.abc import Iterable, Iterator, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np

from bicross_jax.viz import colour, panels


def figure(examples: Sequence[panels.Example], scales: panels.Scales | None = None) -> Figure:
  """A figure with a row for each example: RGB, spikes, every prediction, ground truth.

  All depth maps share one scale and one colour bar, in metres.

  Args:
    examples: as for `panels.figure`, with "prediction" {name: map} (the columns stand in the
      order of the names) and maybe "abs_rel" {name: number}, written below.
    scales: of a sequence that these examples are part of; by default their own.

  Raises:
    ValueError: there is nothing to draw.
  """
  scales = scales or panels.shared_scales(examples)
  rows = []
  for example in examples:
    row = panels.inputs(example, scales)
    for name, depth in panels.predictions(example).items():
      picture = colour.depth_picture(np.asarray(depth), scales.depth)
      row[2, name] = panels.Cell(picture, "depth", panels.abs_rel(example, name))
    if "depth" in example:
      truth = panels.drawn_truth(np.asarray(example["depth"]))
      row[3, "ground truth"] = panels.Cell(colour.depth_picture(truth, scales.depth), "depth")
    rows.append(row)
  return panels.lay_out(rows, scales, [e.get("key") for e in examples])


def frames(
  examples: Iterable[panels.Example], scales: panels.Scales, dpi: int = 100
) -> Iterator[np.ndarray]:
  """One frame of a video for each example, all on one scale.

  Args:
    examples: as for `figure` where "prediction" is {name: map}, else as for `panels.figure`; all
      with the same fields and shapes.
    scales: of the whole sequence (`panels.shared_scales`).
    dpi: pixels an inch.

  Yields:
    uint8[H, W, 3], all of one size.
  """
  for example in examples:
    several = len(panels.predictions(example)) > 1
    drawing = figure([example], scales) if several else panels.figure([example], scales=scales)
    drawing.set_dpi(dpi)
    canvas = FigureCanvasAgg(drawing)
    canvas.draw()
    yield np.asarray(canvas.buffer_rgba())[..., :3].copy()
