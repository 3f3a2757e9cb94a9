"""Class maps in pictures and files."""

import numpy as np
from PIL import Image
import pytest

from bicross_jax.tasks import classes
from bicross_jax.tasks.classes import files, pictures
from bicross_jax.tasks.classes.protocol import PROTOCOLS
from bicross_jax.viz import matrix, panels

DDD17 = PROTOCOLS["ddd17"]


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


def test_classes_with_names_have_their_colours():
  example = _example(np.random.default_rng(0))
  scales = pictures.scales([example], DDD17)
  row = pictures.cells(example, scales)
  picture, legend, _ = row[10, "classes"]
  assert legend.names[:2] == ("flat", "construction and sky") and legend.names[-1] == "ignored"
  assert legend.colours[:2] == ((128, 64, 128), (70, 70, 70)) and legend.colours[-1] == (255,) * 3
  for label, colour in ((0, (128, 64, 128)), (1, (70, 70, 70)), (255, (255, 255, 255))):
    assert (picture[example["label"] == label] == colour).all()


def test_the_five_panels_of_evdistill():
  """Event image, its prediction, frame, its prediction, label: pixel for pixel."""
  rng = np.random.default_rng(0)
  labels = [rng.integers(0, 6, (6, 8)).astype(np.uint8) for _ in range(3)]
  example = {
    "event_image": rng.integers(0, 256, (6, 8, 2), np.uint8),
    "rgb": rng.integers(0, 256, (6, 8, 3), np.uint8),
    "label": labels[0],
    "prediction": {"events": {"label": labels[1]}, "APS": {"label": labels[2][::2, ::2]}},
    "reads": {"events": ("event_image",), "APS": ("rgb",)},
  }
  row = pictures.cells(example, pictures.scales([example], DDD17))
  titles = [title for _, title in panels.columns([row])]
  assert titles == ["event image", "events", "RGB", "APS", "ground truth"]
  joined = panels.joined(row)
  assert joined.shape == (6, 40, 3)
  palette = pictures.palette(DDD17)
  event, first, rgb, second, truth = np.split(joined, 5, axis=1)
  np.testing.assert_array_equal(event[..., :2], example["event_image"])
  np.testing.assert_array_equal(first, palette[labels[1]])
  np.testing.assert_array_equal(rgb, example["rgb"])
  np.testing.assert_array_equal(second[::2, ::2], palette[labels[2][::2, ::2]])
  np.testing.assert_array_equal(truth, palette[labels[0]])
  example["reads"]["APS"] = ("rgb", "event_image")  # which is no longer an input of its own
  titles = [
    title for _, title in panels.columns([pictures.cells(example, pictures.scales([example]))])
  ]
  assert titles == ["RGB", "event image", "events", "APS", "ground truth"]


def test_an_overlay_over_the_event_image(tmp_path):
  rng = np.random.default_rng(0)
  event, label = rng.integers(0, 256, (6, 8, 2), np.uint8), rng.integers(0, 6, (6, 8), np.uint8)
  made = files.write(tmp_path, "a", {"label": label, "event_image": event}, DDD17)
  assert [p.name for p in made] == ["a_label.png", "a_overlay.png"]
  with Image.open(made[0]) as picture:
    assert picture.mode == "P" and (np.asarray(picture) == label).all()
    colours = pictures.palette(DDD17)[label]
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colours)
  below = np.concatenate([event, np.zeros((6, 8, 1))], -1)
  np.testing.assert_allclose(np.asarray(Image.open(made[1])), (below + colours) / 2, atol=0.5)


def test_the_picture_of_a_confusion_matrix(tmp_path):
  counts = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [2, 0, 5, 1]])
  shares = matrix.shares(counts)
  np.testing.assert_allclose(shares[[0, 2]], counts[[0, 2]] / [[4], [8]])
  assert np.isnan(shares[1]).all()
  drawing = matrix.figure(counts, ("a", "b_$c", "d", "no answer"), "t")
  (axes,) = drawing.axes
  assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "b_$c", "d", "no answer"]
  assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b_$c", "d"]
  said = {tuple(t.get_position()): t.get_text() for t in axes.texts}
  assert said[1, 0] == "25.0" and said[2, 2] == "62.5" and (0, 1) not in said and len(said) == 8
  (axes,) = matrix.figure(counts[:, :3], ("a", "b", "c", "no answer"), "t").axes
  assert len(axes.get_xticklabels()) == 3
  summary = {"confusion": np.eye(6, 7, dtype=int), "miou": 1.0, "accuracy": 1.0}
  (path,) = classes.TASK.plots(tmp_path, summary, DDD17)
  assert path.name == "confusion.png"
  pixels = np.asarray(Image.open(path).convert("RGB"))
  assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
