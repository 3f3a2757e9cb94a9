import numpy as np
from PIL import Image
import pytest

from bicross_jax import errors
from bicross_jax.evaluation import run
from bicross_jax.tasks import classes
from bicross_jax.tasks.classes import baselines, metrics
from bicross_jax.tasks.classes import protocol as protocols

TASK = classes.TASK
THREE = protocols.Protocol(classes=3)


def truth(label, crop=None, key="a"):
  label = np.asarray(label, np.uint8)
  return {"key": key, "label": label, "crop": crop or (0, 0, *label.shape)}


def by_sets(said, label, k, ignore=255):
  """IoU of each class from sets of pixels; None where the class is in neither."""
  pixels = [p for p in np.ndindex(label.shape) if label[p] != ignore]
  out = []
  for c in range(k):
    ours, theirs = {p for p in pixels if said[p] == c}, {p for p in pixels if label[p] == c}
    out.append(len(ours & theirs) / len(ours | theirs) if ours | theirs else None)
  return out


def test_iou_and_accuracy_equal_sets_of_pixels():
  rng = np.random.default_rng(0)
  label = rng.integers(0, 3, (9, 11)).astype(np.uint8)
  label[rng.random(label.shape) < 0.2] = 255
  said = np.where(rng.random(label.shape) < 0.6, np.minimum(label, 2), rng.integers(0, 3, (9, 11)))
  row = TASK.judge({"label": said.astype(np.uint8)}, truth(label), THREE)
  want = by_sets(said, label, 3)
  np.testing.assert_allclose(metrics.iou(row["confusion"]), want, rtol=1e-12)
  assert row["miou"] == pytest.approx(np.mean(want))
  assert row["accuracy"] == pytest.approx((said == label)[label != 255].mean())
  assert row["pixels"] == (label != 255).sum() and row["nan_pixels"] == 0


def test_a_summary_is_of_all_pixels_together_and_leaves_absent_classes_out():
  rows = [
    TASK.judge({"label": np.array([[0, 0, 1]], np.uint8)}, truth([[0, 0, 0]]), THREE),
    TASK.judge({"label": np.array([[1]], np.uint8)}, truth([[1]]), THREE),
    TASK.judge({"label": np.array([[1, 2]], np.uint8)}, truth([[255, 255]]), THREE),
  ]
  summary = TASK.summarise(rows)
  assert summary["iou_0"] == pytest.approx(2 / 3) and summary["iou_1"] == pytest.approx(1 / 2)
  assert "iou_2" not in summary and summary["absent"] == 1
  assert summary["miou"] == pytest.approx((2 / 3 + 1 / 2) / 2)
  assert summary["accuracy"] == pytest.approx(3 / 4)
  assert (summary["images"], summary["images_without_truth"]) == (2, 1)
  np.testing.assert_array_equal(summary["confusion"], [[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
  assert np.isnan(rows[2]["miou"])
  with pytest.raises(errors.UserError, match="none of 1 images"):
    TASK.summarise(rows[2:])


def test_a_class_that_is_only_predicted_counts_as_zero():
  row = TASK.judge({"label": np.array([[0, 2]], np.uint8)}, truth([[0, 0]]), THREE)
  assert TASK.summarise([row])["miou"] == pytest.approx((1 / 2 + 0) / 2)


def test_logits_are_resized_before_the_largest_is_taken():
  torch = pytest.importorskip("torch")
  rng = np.random.default_rng(1)
  logits = rng.normal(size=(6, 7, 9)).astype(np.float32)
  got, missing = protocols.label({"logits": logits}, (20, 31))
  x = torch.from_numpy(logits.transpose(2, 0, 1))[None]
  want = torch.nn.functional.interpolate(x, (20, 31), mode="bilinear")[0].argmax(0).numpy()
  assert (got == want).mean() > 0.999 and not missing.any()


@pytest.mark.parametrize("old, new", [((7, 9), (20, 13)), ((200, 346), (256, 512))])
def test_labels_and_truth_take_the_nearest_as_pillow_does(old, new):
  label = np.random.default_rng(2).integers(0, 3, old).astype(np.uint8)
  want = np.asarray(Image.fromarray(label).resize(new[::-1], Image.Resampling.NEAREST))
  got, _ = protocols.label({"label": label}, new)
  np.testing.assert_array_equal(got, want)
  row = TASK.judge({"label": want}, truth(label), THREE._replace(height=new[0], width=new[1]))
  assert row["pixels"] == want.size and row["miou"] == 1


def test_only_what_the_network_saw_is_compared_in_the_size_of_the_protocol():
  label = np.full((6, 8), 2, np.uint8)
  label[2:6, 1:7] = np.arange(6).repeat(4).reshape(6, 4).T % 3
  said = {"label": label[2:6, 1:7]}
  row = TASK.judge(said, truth(label, (2, 1, 4, 6)), THREE)
  assert row["pixels"] == 24 and row["miou"] == 1
  smaller = TASK.judge(said, truth(label, (2, 1, 4, 6)), THREE._replace(height=2, width=3))
  assert smaller["pixels"] == 6 and smaller["miou"] == 1


def test_pixels_that_are_not_a_number_are_wrong_and_counted():
  logits = np.zeros((2, 2, 3), np.float32)
  logits[..., 1] = 1
  logits[0, 0, 2] = np.nan
  row = TASK.judge({"logits": logits}, truth([[1, 1], [1, 255]]), THREE)
  assert (row["pixels"], row["nan_pixels"]) == (3, 1)
  assert row["accuracy"] == pytest.approx(2 / 3) and row["miou"] == pytest.approx(2 / 3)
  assert TASK.fit({"logits": logits}, (2, 2))["label"].tolist() == [[255, 1], [1, 1]]


def test_classes_beyond_the_protocol_are_named():
  for said, label in (([[7]], [[0]]), ([[0]], [[7]])):
    with pytest.raises(errors.UserError, match="class 7 of the"):
      TASK.judge({"label": np.array(said, np.uint8)}, truth(label), THREE)
  with pytest.raises(ValueError, match="logits"):
    TASK.judge({"logits": np.zeros((2, 2))}, truth(np.zeros((2, 2))), THREE)


def test_baselines_are_the_most_frequent_classes():
  rng = np.random.default_rng(3)
  labels = rng.integers(0, 3, (15, 4, 5)).astype(np.uint8)
  labels[rng.random(labels.shape) < 0.3] = 255
  labels[:, 0, 0] = 255  # never known
  often, pixels = baselines.fit(iter(labels), THREE)
  assert often == np.bincount(labels[labels < 255]).argmax()
  for i, j in np.ndindex(4, 5):
    known = labels[:, i, j][labels[:, i, j] < 255]
    assert pixels[i, j] == (np.bincount(known).argmax() if len(known) else often)
  predictors = TASK.baselines(({"label": x} for x in labels), THREE)
  batch = {"mask": np.array([True, False])}
  found = run.evaluate_all(TASK, predictors, [(batch, [truth(labels[0])])], THREE)
  assert list(found) == ["most frequent class", "pixel mode"]
  known = labels[0] != 255
  want = (pixels == labels[0])[known].mean()
  assert found["pixel mode"].summary["accuracy"] == pytest.approx(want)
  with pytest.raises(errors.UserError, match="none of 2"):
    baselines.fit(np.full((2, 3, 4), 255, np.uint8), THREE)
  with pytest.raises(errors.UserError, match="class 3 among"):
    baselines.fit(np.full((2, 3, 4), 3, np.uint8), THREE)
  with pytest.raises(ValueError, match=r"\(3, 4\) and \(3, 5\)"):
    baselines.fit([np.zeros((3, 4), np.uint8), np.zeros((3, 5), np.uint8)], THREE)


@pytest.mark.parametrize(
  "change", [{"classes": 1}, {"classes": 300}, {"ignore": 2}, {"height": 4}, {"width": -1}]
)
def test_senseless_protocols_are_refused(change):
  with pytest.raises(errors.UserError, match=r"protocol\.(classes|ignore|height|width)="):
    protocols.check(THREE._replace(**change))
  for protocol in protocols.PROTOCOLS.values():
    protocols.check(protocol)


@pytest.mark.parametrize("k, ignore", [(6, 255), (11, 255), (4, 7)])
def test_confusion_and_iou_are_scikit_learns(k, ignore):
  """Many images, by scikit-learn; without it, by a count of pairs."""
  rng = np.random.default_rng(k)
  protocol = protocols.Protocol(classes=k, ignore=ignore)
  labels = rng.integers(0, k, (5, 12, 14)).astype(np.uint8)
  said = np.where(rng.random(labels.shape) < 0.5, labels, rng.integers(0, k, labels.shape))
  labels[rng.random(labels.shape) < 0.2] = ignore
  said = said.astype(np.uint8)
  rows = [TASK.judge({"label": s}, truth(x), protocol) for s, x in zip(said, labels, strict=True)]
  summary = TASK.summarise(rows)
  counted = labels != ignore
  by_hand = np.zeros((k, k), int)
  np.add.at(by_hand, (labels[counted], said[counted]), 1)
  np.testing.assert_array_equal(summary["confusion"][:, :-1], by_hand)
  assert not summary["confusion"][:, -1].any()
  hit = np.diag(by_hand)
  each = hit / (by_hand.sum(0) + by_hand.sum(1) - hit)
  np.testing.assert_allclose([summary[f"iou_{c}"] for c in range(k)], each, rtol=1e-12)
  assert summary["miou"] == pytest.approx(each.mean(), rel=1e-12)
  sklearn = pytest.importorskip("sklearn.metrics")
  known = labels[counted], said[counted]
  np.testing.assert_array_equal(sklearn.confusion_matrix(*known), by_hand)
  np.testing.assert_allclose(sklearn.jaccard_score(*known, average=None), each, rtol=1e-12)
  assert summary["miou"] == pytest.approx(sklearn.jaccard_score(*known, average="macro"), rel=1e-12)
  assert summary["accuracy"] == pytest.approx(sklearn.accuracy_score(*known), rel=1e-12)


def test_tables_print_the_names_of_classes():
  titles = {**TASK.titles, **TASK.called(protocols.PROTOCOLS["ddd17"])}
  assert titles["iou_1"] == "IoU construction and sky" and titles["miou"] == "mIoU"
  assert titles["iou_6"] == "IoU 6"
  assert TASK.called(THREE) == {}
