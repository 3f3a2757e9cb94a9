import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.evaluation import run
from bicross_jax.tasks.depth import protocol as protocols

WHOLE = protocols.Protocol(crop="none")


def make(factors, sizes, padding=0):
  """Constant images of many sizes: truth 10 m, prediction 10 m times a factor."""
  truths = [
    {"key": f"image{i}", "depth": np.full(s, 10.0, np.float32), "crop": np.array((0, 0, *s))}
    for i, s in enumerate(sizes)
  ]
  rows = len(factors) + padding
  mask = np.arange(rows) < len(factors)
  factor = np.concatenate([factors, np.full(padding, 99.0)]).astype(np.float32)
  return {"mask": mask, "factor": factor}, truths


def predict(batch):
  depth = 10 * batch["factor"][:, None, None]
  return {"depth": jnp.broadcast_to(depth, (len(depth), 4, 6))}


def test_images_of_many_sizes_and_padded_rows():
  batches = [make([1.1, 1.2], [(8, 12), (5, 7)]), make([1.6], [(9, 9)], padding=1)]
  report = run.evaluate(predict, iter(batches), WHOLE)
  assert [row["key"] for row in report.rows] == ["image0", "image1", "image0"]
  np.testing.assert_allclose(report.values("abs_rel"), [0.1, 0.2, 0.6], rtol=1e-5)
  assert report.summary["abs_rel"] == pytest.approx(0.3, rel=1e-5)  # images, not pixels
  assert report.summary["d1"] == pytest.approx(2 / 3)
  assert report.summary["images"] == 3


def test_images_without_truth_are_counted_apart():
  batch, truths = make([1.1, 1.5], [(4, 6), (4, 6)])
  truths[1]["depth"] = np.zeros((4, 6), np.float32)
  report = run.evaluate(predict, [(batch, truths)], WHOLE)
  assert report.summary["abs_rel"] == pytest.approx(0.1, rel=1e-5)
  assert (report.summary["images"], report.summary["images_without_truth"]) == (1, 1)
  assert np.isnan(report.rows[1]["abs_rel"])
  np.testing.assert_allclose(report.values("abs_rel"), [0.1], rtol=1e-5)


def test_nan_pixels_add_up():
  batch, truths = make([1.0, np.nan], [(4, 6), (4, 6)])
  report = run.evaluate(predict, [(batch, truths)], WHOLE)
  assert report.summary["nan_pixels"] == 24
  assert report.summary["abs_rel"] == pytest.approx(0.5, abs=1e-3)


def test_nothing_to_compare_is_an_error():
  batch, truths = make([1.0], [(4, 6)])
  truths[0]["depth"][:] = 100.0
  with pytest.raises(errors.UserError, match="none of 1 images"):
    run.evaluate(predict, [(batch, truths)], WHOLE)
  with pytest.raises(errors.UserError, match="none of 0 images"):
    run.evaluate(predict, [], WHOLE)


def test_batches_that_do_not_fit_are_refused():
  batch, truths = make([1.0, 1.0], [(4, 6), (4, 6)])
  with pytest.raises(ValueError, match="1 truths"):
    run.evaluate(predict, [(batch, truths[:1])], WHOLE)
  with pytest.raises(ValueError, match="predicted depth"):
    run.evaluate(lambda b: {"depth": predict(b)["depth"][..., None]}, [(batch, truths)], WHOLE)
  with pytest.raises(ValueError, match="unknown crop"):
    run.evaluate(predict, [(batch, truths)], WHOLE._replace(crop="all"))
