import os
import subprocess
import sys

from matplotlib.backends.backend_agg import FigureCanvasAgg
import numpy as np
from PIL import Image
import pytest

from bicross_jax.viz import colour, panels

BAR = panels.Bar("metres", colour.Ramp("magma"), colour.Scale(1, 9, "log"))
OTHER = panels.Bar("share", colour.Ramp("viridis"), colour.Scale(0, 1))


def _cell(seed=0, bar=None, caption="", shape=(24, 40)):
  rng = np.random.default_rng(seed)
  return panels.Cell(rng.integers(0, 255, (*shape, 3), dtype=np.uint8), bar, caption)


def _words(drawing):
  return [t.get_text() for t in drawing.texts]


def _images(drawing):
  """The pictures of the grid, without colour bars."""
  return [a.images[0].get_array() for a in drawing.axes if not a.axison and a.images]


def test_columns_stand_by_their_places_whatever_row_has_them():
  rows = [
    {(3, "c"): _cell(1), (0, "a"): _cell(2)},
    {(1, "b"): _cell(3), (0, "a"): _cell(4), (3, "d"): _cell(5)},
  ]
  drawing = panels.lay_out(rows, ["one", None])
  assert _words(drawing) == ["a", "b", "c", "d", "one"]
  drawn = _images(drawing)
  want = [rows[0][0, "a"], rows[0][3, "c"], rows[1][0, "a"], rows[1][1, "b"], rows[1][3, "d"]]
  for image, cell in zip(drawn, want, strict=True):
    np.testing.assert_array_equal(image, cell.picture)


def test_neighbours_with_equal_bars_share_one():
  row = {(i, str(i)): _cell(i, bar) for i, bar in enumerate([BAR, BAR, OTHER, None, BAR])}
  bars = [a.get_xlabel() for a in panels.lay_out([row], [None]).axes if a.axison]
  assert bars == ["metres", "share", "metres"]


def test_captions_and_legends_are_written():
  legend = panels.Legend(("road", "$sky$"), ((1, 2, 3), (4, 5, 6)))
  drawing = panels.lay_out([{(0, "x"): _cell(0, legend, "AbsRel 0.25")}], [None])
  assert _words(drawing) == ["x", "AbsRel 0.25"]
  (axes,) = [a for a in drawing.axes if a.texts]
  assert [t.get_text() for t in axes.texts] == ["road", "$sky$"]
  assert [p.get_facecolor()[:3] for p in axes.patches] == [
    pytest.approx((1 / 255, 2 / 255, 3 / 255)),
    pytest.approx((4 / 255, 5 / 255, 6 / 255)),
  ]


@pytest.mark.parametrize("name", ["$", r"a $\frac{ b$", "a\udcff\nb", "\u5916", "_^{x}", "%s"])
def test_names_are_drawn_as_they_are(tmp_path, name):
  """Not as mathematics, and not at all where nobody can print them."""
  drawing = panels.lay_out([{(0, name): _cell(0, BAR, name)}], [name])
  panels.save(tmp_path / "a.png", drawing, dpi=40)
  assert all(not t.get_parse_math() for t in drawing.texts)
  want = "a\ufffd\ufffdb" if "\udcff" in name else name
  assert _words(drawing) == [want] * 3


def test_nothing_overlaps_and_nothing_is_cut():
  """Names as long as KITTI's above wide pictures: all words lie in the figure, apart."""
  key = "2011_09_26/2011_09_26_drive_0009_sync/0000000001"
  row = {
    (i, "spikes, mean of 16 steps"): _cell(i, BAR, "AbsRel 0.100", (35, 121)) for i in range(4)
  }
  drawing = panels.lay_out([row] * 3, [key] * 3)
  canvas = FigureCanvasAgg(drawing)
  canvas.draw()
  boxes = [t.get_window_extent() for t in drawing.texts]
  boxes += [a.get_tightbbox() for a in drawing.axes]
  for i, a in enumerate(boxes):
    assert a.x0 >= 0 and a.y0 >= 0 and a.x1 <= drawing.bbox.x1 and a.y1 <= drawing.bbox.y1
    for b in boxes[i + 1 :]:
      apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
      assert apart


def test_png(tmp_path):
  row = {(i, str(i)): _cell(i, BAR) for i in range(4)}
  panels.save(tmp_path / "panel.png", panels.lay_out([row], ["k"]), dpi=50)
  assert [p.name for p in tmp_path.iterdir()] == ["panel.png"]
  with Image.open(tmp_path / "panel.png") as picture:
    assert picture.format == "PNG" and picture.width > 3 * picture.height
    assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_nothing_to_draw():
  with pytest.raises(ValueError, match="no example"):
    panels.lay_out([{}], ["empty"])


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline_x", "nosuch"])
def test_the_environments_backend_does_not_matter(backend):
  """A notebook passes its own on; the package it names may not be there."""
  code = (
    "import numpy as np; from bicross_jax.viz import panels, film, cells, colour, curves;"
    "row = {(0, 'a'): panels.Cell(np.zeros((9, 9, 3), np.uint8))};"
    "panels.save('/dev/null/..', panels.lay_out([row], ['k'])) if 0 else None;"
    "from bicross_jax.viz import backend; print(len(backend.png(panels.lay_out([row], ['k']), 50)"
    ".getvalue()) > 500)"
  )
  made = subprocess.run(
    [sys.executable, "-c", code],
    env=os.environ | {"MPLBACKEND": backend},
    capture_output=True,
    text=True,
  )
  assert made.stdout.strip() == "True", made.stderr
