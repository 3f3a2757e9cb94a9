from matplotlib.backends.backend_agg import FigureCanvasAgg
import numpy as np
from PIL import Image
import pytest

from bicross_jax import errors
from bicross_jax.viz import colour, panels


@pytest.fixture
def example():
  rng = np.random.default_rng(0)
  return {
    "key": "one",
    "rgb": rng.integers(0, 255, (24, 40, 3), dtype=np.uint8),
    "spike": rng.integers(0, 255, (24, 40, 16), dtype=np.uint8),
    "depth": rng.uniform(2, 50, (24, 40)),
    "prediction": rng.uniform(2, 50, (12, 20)),
    "uncertainty": rng.uniform(0, 1, (12, 20)),
    "feature": rng.normal(size=(3, 5, 8)),
  }


def titles(figure):
  return [t.get_text() for t in figure.texts]


def images(figure):
  """The pictures of the grid, without colour bars."""
  return [a.images[0].get_array() for a in figure.axes if not a.axison]


def test_columns_in_order(example):
  figure = panels.figure([example])
  assert titles(figure) == [
    "RGB",
    "spikes, mean of 16 steps",
    "depth",
    "prediction",
    "error",
    "uncertainty",
    "feature activity",
    "one",
  ]
  drawn = images(figure)
  assert len(drawn) == 7
  np.testing.assert_array_equal(drawn[0], example["rgb"])
  np.testing.assert_array_equal(drawn[1], colour.spike_picture(example["spike"]))


def test_one_scale_for_all_depths(example):
  other = {"depth": example["depth"] * 4, "prediction": example["prediction"]}
  scale = colour.common_scale(example["depth"], other["depth"], *[example["prediction"]] * 2)
  drawn = images(panels.figure([example, other]))
  pictures = [colour.depth_picture(e["depth"], scale) for e in (example, other)]
  for picture in pictures:
    assert any(np.array_equal(picture, image) for image in drawn)
  stated = colour.Scale(1, 9, "inverse")
  drawn = images(panels.figure([example], stated))
  np.testing.assert_array_equal(drawn[2], colour.depth_picture(example["depth"], stated))


def test_several_predictions_are_compared(example):
  example["prediction"] = {"a": example["prediction"], "b": example["depth"]}
  figure = panels.figure([example, {"rgb": example["rgb"]}])
  assert titles(figure)[2:7] == ["depth", "a", "a: error", "b", "b: error"]
  no_error = colour.error_picture(example["depth"], example["depth"])
  assert any(np.array_equal(no_error, image) for image in images(figure))


def test_sparse_truth_is_thickened(example):
  sparse = np.zeros((24, 40))
  sparse[5, 5] = 10.0
  scale = colour.Scale(1, 50)
  drawn = images(panels.figure([example | {"depth": sparse}], scale))
  assert (drawn[2].sum(-1) > 0).sum() == 9
  assert (drawn[4].sum(-1) > 0).sum() == 9


def test_a_caption_below_the_prediction(example):
  words = titles(panels.figure([example | {"abs_rel": 0.25}]))
  assert words.count("AbsRel 0.250") == 1
  assert not [w for w in titles(panels.figure([example])) if "AbsRel" in w]


def test_neighbours_of_one_quantity_share_a_bar(example):
  bars = [a.get_xlabel() for a in panels.figure([example]).axes if a.axison]
  assert bars == [panels.LABELS[q] for q in ("depth", "error", "uncertainty", "feature")]


def test_all_rows_share_every_scale(example):
  bright = example | {
    "spike": example["spike"] | 255,
    "feature": 10 * example["feature"],
    "uncertainty": 4 * example["uncertainty"],
  }
  scales = panels.shared_scales([example, bright])
  assert scales.white == 1.0
  assert scales.feature == pytest.approx(
    np.percentile(colour.feature_activity(bright["feature"]), 99), rel=0.05
  )
  drawn = images(panels.figure([example, bright]))
  both = [drawn[:7], drawn[7:]]
  for place, field, picture in (
    (1, "spike", lambda x: colour.spike_picture(x, white=scales.white)),
    (5, "uncertainty", lambda x: colour.uncertainty_picture(x, scales.uncertainty)),
    (6, "feature", lambda x: colour.feature_picture(x, scales.feature)),
  ):
    for row, e in zip(both, (example, bright)):
      np.testing.assert_array_equal(row[place], picture(e[field]))


def test_nothing_overlaps_and_nothing_is_cut():
  """Names as long as KITTI's above wide pictures: all words lie in the figure, apart."""
  rng = np.random.default_rng(0)
  wide = {
    "key": "2011_09_26/2011_09_26_drive_0009_sync/0000000001",
    "abs_rel": 0.1,
    "rgb": rng.integers(0, 255, (35, 121, 3), dtype=np.uint8),
    "depth": rng.uniform(2, 50, (35, 121)),
    "prediction": rng.uniform(2, 50, (35, 121)),
  }
  drawing = panels.figure([wide] * 3)
  canvas = FigureCanvasAgg(drawing)
  canvas.draw()
  boxes = [t.get_window_extent() for t in drawing.texts]
  boxes += [a.get_tightbbox() for a in drawing.axes]
  for i, a in enumerate(boxes):
    assert a.x0 >= 0 and a.y0 >= 0 and a.x1 <= drawing.bbox.x1 and a.y1 <= drawing.bbox.y1
    for b in boxes[i + 1 :]:
      apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
      assert apart


def test_ticks_lie_inside_and_apart():
  for scale in [colour.Scale(2, 60, "inverse"), colour.Scale(0.9, 80), colour.Scale(3, 3.5)]:
    ticks = panels._ticks(scale)
    assert len(ticks) >= 2
    assert all(scale.low <= t <= scale.high for t in ticks)
    assert np.diff(scale.place(ticks)).min() > 0.09


def test_png(tmp_path, example):
  panels.save(tmp_path / "panel.png", [example, example], dpi=50)
  assert [p.name for p in tmp_path.iterdir()] == ["panel.png"]
  with Image.open(tmp_path / "panel.png") as picture:
    assert picture.format == "PNG" and picture.width > 3 * picture.height
    assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_nothing_to_draw():
  with pytest.raises(ValueError, match="no example"):
    panels.figure([{"key": "empty"}])
  with pytest.raises(errors.UserError, match="no depth map"):
    panels.figure([{"depth": np.zeros((3, 4))}])
