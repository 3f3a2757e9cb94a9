"""The curves that are drawn are those that were found."""

import numpy as np
from PIL import Image
import pytest

from bicross_jax.tasks.depth import uncertainty
from bicross_jax.viz import curves


def _judged(scale):
  rng = np.random.default_rng(0)
  error = (scale * rng.uniform(0, 1, 4000)).astype(np.float32)
  image = uncertainty.Pixels(error, {"head": error / 2, "variance": rng.uniform(0, 1, 4000)})
  return uncertainty.judge([image], {"head": 2.0, "variance": 0.5})


@pytest.fixture(scope="module")
def judged():
  return {"source": _judged(0.5), "target": _judged(1.0)}


TITLES = {"source": "source: here", "target": "target: there"}


def test_every_curve_is_drawn_from_what_was_found(judged):
  plots = curves.figure(judged, TITLES).axes
  assert len(plots) == 6
  for row, measures in enumerate(judged.values()):
    left, claimed, calibrated = plots[3 * row : 3 * row + 3]
    for line, (name, j) in enumerate(measures.items()):
      np.testing.assert_array_equal(left.lines[line].get_ydata(), j.sparsification.by_uncertainty)
      np.testing.assert_array_equal(claimed.lines[line].get_xdata(), j.reliability.claimed)
      np.testing.assert_array_equal(
        calibrated.lines[line].get_xdata(), j.factor * j.reliability.claimed
      )
      np.testing.assert_array_equal(calibrated.lines[line].get_ydata(), j.reliability.found)
      assert left.lines[line].get_label() == f"{name}: AUSE {j.sparsification.ause:.2f}"
    np.testing.assert_array_equal(
      left.lines[2].get_ydata(), measures["head"].sparsification.by_error
    )


def test_rows_share_their_axes_and_nothing_lies_outside(judged):
  plots = curves.figure(judged, TITLES).axes
  for a, b in zip(plots[:3], plots[3:]):
    assert a.get_xlim() == b.get_xlim() and a.get_ylim() == b.get_ylim()
  for plot in plots:
    for line in plot.lines[:2]:
      assert np.max(line.get_ydata()) <= plot.get_ylim()[1]
      assert np.max(line.get_xdata()) <= plot.get_xlim()[1]
  assert [p.get_title(loc="left") for p in plots[::3]] == list(TITLES.values())


def test_png(judged, tmp_path):
  curves.save(tmp_path / "c.png", judged, TITLES, dpi=50)
  assert [p.name for p in tmp_path.iterdir()] == ["c.png"]
  with Image.open(tmp_path / "c.png") as picture:
    assert picture.format == "PNG" and picture.width > picture.height


def test_more_measures_than_can_be_told_apart():
  one = _judged(1.0)["head"]
  with pytest.raises(ValueError, match="5 measures"):
    curves.figure({"a": {str(i): one for i in range(5)}}, {"a": "a"})
