import numpy as np
from PIL import Image
import pytest

from bicross_jax import errors
from bicross_jax.viz import colour
from bicross_jax.viz import panels


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
      "RGB", "spikes, mean of 16 steps", "depth", "prediction", "error", "uncertainty",
      "feature activity", "one"]
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


def test_strip_has_the_height_of_the_first():
  a, b = np.full((10, 6, 3), 9, np.uint8), np.full((20, 8, 3), 200, np.uint8)
  got = panels.strip([a, b, a], gap=1)
  assert got.shape == (10, 6 + 1 + 4 + 1 + 6, 3)
  np.testing.assert_array_equal(got[:, 7:11], 200)
  np.testing.assert_array_equal(got[:, 6], 0)
