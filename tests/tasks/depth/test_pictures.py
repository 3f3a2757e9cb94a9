"""Depth in pictures: one scale, the error, the caption, the two layouts."""

import numpy as np
import pytest

from bicross_jax.tasks.depth import pictures
from bicross_jax.viz import cells, colour, panels


@pytest.fixture
def example():
  rng = np.random.default_rng(0)
  maps = {"depth": rng.uniform(2, 50, (12, 20)), "uncertainty": rng.uniform(0, 1, (12, 20))}
  return {
    "key": "one",
    "rgb": rng.integers(0, 255, (24, 40, 3), dtype=np.uint8),
    "spike": rng.integers(0, 255, (24, 40, 16), dtype=np.uint8),
    "depth": rng.uniform(2, 50, (24, 40)),
    "prediction": {"prediction": maps},
    "row": {"prediction": {"abs_rel": 0.25}},
    "feature": rng.normal(size=(3, 5, 8)),
  }


def _titles(row):
  return [title for _, title in panels.columns([row])]


def test_the_panel_of_one_network(example):
  scales = pictures.scales([example])
  row = pictures.cells(example, scales)
  assert _titles(row) == [
    "RGB",
    "spikes, mean of 16 steps",
    "depth",
    "prediction",
    "error",
    "uncertainty",
    "feature activity",
  ]
  by_title = {title: cell for (_, title), cell in row.items()}
  np.testing.assert_array_equal(by_title["RGB"].picture, example["rgb"])
  drawn = pictures.depth_picture(example["prediction"]["prediction"]["depth"], scales.depth)
  np.testing.assert_array_equal(by_title["prediction"].picture, drawn)
  assert by_title["prediction"].caption == "AbsRel 0.250"
  assert by_title["depth"].bar == by_title["prediction"].bar
  assert by_title["uncertainty"].bar.scale.high == scales.shared.uncertainty


def test_the_strip_of_several_ends_with_the_truth(example):
  maps = example["prediction"]["prediction"]
  example |= {"prediction": {"a": maps, "RGB": maps}, "row": {"a": {"abs_rel": float("nan")}}}
  del example["feature"]
  row = pictures.cells(example, pictures.scales([example]))
  assert _titles(row) == ["RGB", "spikes, mean of 16 steps", "a", "RGB", "ground truth"]
  assert not any(cell.caption for cell in row.values())  # NaN is not written
  assert len({cell.bar for cell in list(row.values())[2:]}) == 1


def test_without_a_truth_there_is_no_error(example):
  del example["depth"], example["row"]
  row = pictures.cells(example, pictures.scales([example]))
  assert "error" not in _titles(row) and "prediction" in _titles(row)


def test_one_scale_for_all_depths(example):
  other = {"depth": example["depth"] * 4, "prediction": example["prediction"]}
  maps = example["prediction"]["prediction"]["depth"]
  want = pictures.common_scale(example["depth"], other["depth"], maps, maps)
  assert pictures.scales([example, other]).depth == want


def test_near_is_bright_and_unknown_alone_is_black():
  depth = np.array([[1.0, 2.0, 5.0, 20.0, 99.0, 0.0, np.nan, np.inf, -1.0]])
  picture = pictures.depth_picture(depth, colour.Scale(1, 40, "log"))
  light = picture.astype(int).sum(-1)[0]
  assert picture.dtype == np.uint8 and picture.shape == (1, 9, 3)
  assert (np.diff(light[:5]) < 0).all() and light[4] > 30
  np.testing.assert_array_equal(light[5:], 0)


def test_common_scale_holds_the_central_share():
  near, far = np.arange(1.0, 101).reshape(10, 10), np.array([[0.0, np.nan, 150.0]])
  scale = pictures.common_scale(near, far, kind="linear", share=0.9)
  known = np.append(near, 150.0)
  assert np.mean((known >= scale.low) & (known <= scale.high)) == pytest.approx(0.9, abs=0.02)
  assert scale.kind == "linear"
  plane = pictures.common_scale(np.full((2, 2), 5.0))
  assert plane.low < 5 < plane.high


def test_pictures_that_a_network_makes_stand_between_inputs_and_depth(example):
  made = {name: np.zeros((24, 40, 3)) for name in cells.MADE}
  ((name, maps),) = example["prediction"].items()
  row = pictures.cells(
    example | {"prediction": {name: maps | made}}, pictures.Scales(colour.Scale(1, 50, "log"))
  )
  titles = [title for _, title in sorted(row)]
  between = [titles.index(title) for title in sorted(cells.MADE.values())]
  assert between == [titles.index("depth") - 2, titles.index("depth") - 1]


def test_where_no_depth_is_known_everything_is_black():
  example = {"depth": np.zeros((3, 4)), "prediction": {"a": {"depth": np.full((3, 4), np.nan)}}}
  row = pictures.cells(example, pictures.scales([example]))
  assert not any(cell.picture.any() for cell in row.values())
  assert pictures.scales([]).depth == pictures.WHERE_UNKNOWN


def test_relative_error():
  prediction = np.array([[1.0, 3.0, 9.0, np.nan, 5.0]])
  truth = np.array([[2.0, 2.0, 2.0, 2.0, 0.0]])
  error, known = pictures.relative_error(prediction, truth)
  np.testing.assert_allclose(error, [[0.5, 0.5, 1.0, 1.0, 0.0]])
  np.testing.assert_array_equal(known, [[1, 1, 1, 1, 0]])
  picture = pictures.error_picture(prediction, truth)
  assert picture[0, 4].sum() == 0 and picture[0, 3].sum() > picture[0, 0].sum() > 0
  with pytest.raises(ValueError, match="differ"):
    pictures.relative_error(prediction, truth[0])


def test_sparse_truth_is_thickened(example):
  sparse = np.zeros((24, 40))
  sparse[5, 5] = 10.0
  row = pictures.cells(example | {"depth": sparse}, pictures.Scales(colour.Scale(1, 50, "log")))
  for column in ((10, "depth"), (12, "error")):
    assert (row[column].picture.sum(-1) > 0).sum() == 9


def test_thicken_spreads_the_nearest_depth():
  depth = np.zeros((5, 7))
  depth[2, 2], depth[2, 4] = 10.0, 3.0
  got = pictures.thicken(depth)
  assert got[2, 2] == 10 and got[2, 4] == got[2, 3] == got[1, 3] == 3 and got[1, 1] == 10
  assert (got > 0).sum() == 15
  assert (pictures.thicken(depth, 2) > 0).sum() == 35
  assert got.dtype == np.float32


def test_scales_of_inputs_are_those_that_all_tasks_share(example):
  assert pictures.scales([example]).shared == cells.scales([example])
