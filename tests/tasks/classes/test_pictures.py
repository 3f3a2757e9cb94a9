"""Class maps in pictures and files."""

import numpy as np
from PIL import Image
import pytest

from bicross_jax.tasks.classes import files, pictures
from bicross_jax.viz import panels


def test_the_palette_is_pascal_vocs():
  """The first and last colours as the development kit prints them."""
  palette = pictures.palette()
  assert palette.shape == (256, 3)
  assert palette[:6].tolist() == [
    [0, 0, 0],
    [128, 0, 0],
    [0, 128, 0],
    [128, 128, 0],
    [0, 0, 128],
    [128, 0, 128],
  ]
  assert palette[15].tolist() == [192, 128, 128]  # person
  assert palette[255].tolist() == [224, 224, 192]  # void
  assert len({tuple(c) for c in palette.tolist()}) == 256


def _example(rng):
  logits = rng.normal(size=(6, 8, 4))
  return {
    "event_image": rng.integers(0, 256, (6, 8, 2), np.uint8),
    "label": rng.choice(np.array([0, 1, 255], np.uint8), (6, 8)),
    "prediction": {"net": {"logits": logits, "uncertainty": rng.uniform(size=(6, 8))}},
    "row": {"net": {"accuracy": 0.4567}},
  }


def test_cells_of_one_and_of_several_networks():
  example = _example(np.random.default_rng(0))
  scales = pictures.scales([example])
  row = pictures.cells(example, scales)
  titles = [title for _, title in panels.columns([row])]
  assert titles == ["event image", "classes", "net", "error", "uncertainty"]
  assert row[11, "net"].caption == "accuracy 0.457"
  best = example["prediction"]["net"]["logits"].argmax(-1)
  assert scales.classes == tuple(sorted({*best.ravel(), 0, 1, 255}))
  np.testing.assert_array_equal(row[11, "net"].picture, pictures.palette()[best])
  legend = row[11, "net"].bar
  assert legend.names[-1] == "ignored" and legend.names[:2] == ("class 0", "class 1")
  assert legend.colours[1] == (128, 0, 0)
  example["prediction"]["other"] = {"label": np.ones((6, 8), np.uint8)}
  titles = [title for _, title in panels.columns([pictures.cells(example, scales)])]
  assert titles == ["event image", "net", "other", "ground truth"]
  panels.lay_out([row], [None])


def test_errors_are_white_and_the_ignored_is_black():
  truth = np.array([[0, 1, 255]], np.uint8)
  picture = pictures.error_picture(np.array([[0, 0, 0]], np.uint8), truth)
  right, wrong, ignored = picture[0, :, 0]
  assert wrong == 255 > right > ignored == 0


def test_what_predict_leaves(tmp_path):
  rng = np.random.default_rng(0)
  example = _example(rng)
  rgb = rng.integers(0, 256, (6, 8, 3), np.uint8)
  made = files.write(tmp_path, "a", example["prediction"]["net"] | {"rgb": rgb})
  assert [p.name for p in made] == ["a_label.png", "a_overlay.png", "a_uncertainty.npy"]
  best = example["prediction"]["net"]["logits"].argmax(-1)
  with Image.open(made[0]) as picture:
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), best)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), pictures.palette()[best])
  with Image.open(made[1]) as picture:
    mixed = (rgb.astype(float) + pictures.palette()[best]) / 2
    np.testing.assert_allclose(np.asarray(picture), mixed, atol=0.5)
  assert [p.name for p in files.write(tmp_path, "b", {"label": best.astype(np.uint8)})] == [
    "b_label.png"
  ]
  with pytest.raises(ValueError, match="uint8"):
    files.write_indexed(tmp_path / "c.png", best, pictures.palette())
  ignored = np.full((6, 8), 255, np.uint8)
  np.testing.assert_array_equal(pictures.overlay(rgb, ignored, pictures.palette()), rgb)
