import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.evaluation import run
from bicross_jax.tasks.depth import TASK
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


def predict(batch, carry):
  depth = 10 * batch["factor"][:, None, None]
  return {"depth": jnp.broadcast_to(depth, (len(depth), 4, 6))}, carry


def test_images_of_many_sizes_and_padded_rows():
  batches = [make([1.1, 1.2], [(8, 12), (5, 7)]), make([1.6], [(9, 9)], padding=1)]
  report = run.evaluate(TASK, predict, iter(batches), WHOLE)
  assert [row["key"] for row in report.rows] == ["image0", "image1", "image0"]
  np.testing.assert_allclose(report.values("abs_rel"), [0.1, 0.2, 0.6], rtol=1e-5)
  assert report.summary["abs_rel"] == pytest.approx(0.3, rel=1e-5)  # images, not pixels
  assert report.summary["d1"] == pytest.approx(2 / 3)
  assert report.summary["images"] == 3


def test_images_without_truth_are_counted_apart():
  batch, truths = make([1.1, 1.5], [(4, 6), (4, 6)])
  truths[1]["depth"] = np.zeros((4, 6), np.float32)
  report = run.evaluate(TASK, predict, [(batch, truths)], WHOLE)
  assert report.summary["abs_rel"] == pytest.approx(0.1, rel=1e-5)
  assert (report.summary["images"], report.summary["images_without_truth"]) == (1, 1)
  assert np.isnan(report.rows[1]["abs_rel"])
  np.testing.assert_allclose(report.values("abs_rel"), [0.1], rtol=1e-5)


def test_nan_pixels_add_up():
  batch, truths = make([1.0, np.nan], [(4, 6), (4, 6)])
  report = run.evaluate(TASK, predict, [(batch, truths)], WHOLE)
  assert report.summary["nan_pixels"] == 24
  assert report.summary["abs_rel"] == pytest.approx(0.5, abs=1e-3)


def test_nothing_to_compare_is_an_error():
  batch, truths = make([1.0], [(4, 6)])
  truths[0]["depth"][:] = 100.0
  with pytest.raises(errors.UserError, match="none of 1 images"):
    run.evaluate(TASK, predict, [(batch, truths)], WHOLE)
  with pytest.raises(errors.UserError, match="none of 0 images"):
    run.evaluate(TASK, predict, [], WHOLE)


def test_batches_that_do_not_fit_are_refused():
  def four_dimensions(batch, carry):
    return {"depth": predict(batch, carry)[0]["depth"][..., None]}, carry

  def other_rows(batch, carry):
    return {"depth": predict(batch, carry)[0]["depth"][:1]}, carry

  batch, truths = make([1.0, 1.0], [(4, 6), (4, 6)])
  with pytest.raises(ValueError, match="1 truths"):
    run.evaluate(TASK, predict, [(batch, truths[:1])], WHOLE)
  with pytest.raises(ValueError, match=r"prediction \(4, 6, 1\)"):
    run.evaluate(TASK, four_dimensions, [(batch, truths)], WHOLE)
  with pytest.raises(ValueError, match=r"\(1, 4, 6\)"):
    run.evaluate(TASK, other_rows, [(batch, truths)], WHOLE)
  with pytest.raises(errors.UserError, match="crop='all'"):
    run.evaluate(TASK, predict, [(batch, truths)], WHOLE._replace(crop="all"))
  with pytest.raises(errors.UserError, match="predicts logits; task depth judges depth"):
    run.evaluate(TASK, lambda b, c: ({"logits": b["factor"]}, c), [(batch, truths)], WHOLE)


def test_the_next_batch_is_handed_over_before_the_last_is_fetched_and_the_carry_is_threaded():
  order = []

  class Device:
    """Says when it is fetched."""

    def __init__(self, number):
      self.number = number

    def __array__(self, dtype=None, copy=None):
      order.append(f"fetch {self.number}")
      return np.full((1, 4, 6), 10.0, np.float32)

  def watched(batch, carry):
    order.append(f"predict {len(carry)}")
    return {"depth": Device(len(carry)), "feature": None}, (*carry, batch["factor"])

  batches = [make([1.0], [(4, 6)]) for _ in range(3)]
  report = run.evaluate(TASK, watched, iter(batches), WHOLE)
  assert order == ["predict 0", "predict 1", "fetch 0", "predict 2", "fetch 1", "fetch 2"]
  assert report.summary["images"] == 3 and report.summary["abs_rel"] == 0


def test_several_predictors_share_one_pass():
  batches = [make([1.1], [(4, 6)]), make([1.3], [(4, 6)])]
  twice = lambda batch, carry: ({"depth": 2 * predict(batch, carry)[0]["depth"]}, carry)
  found = run.evaluate_all(TASK, {"one": predict, "two": twice}, iter(batches), WHOLE)
  assert found["one"].summary["abs_rel"] == pytest.approx(0.2, rel=1e-5)
  assert found["two"].summary["abs_rel"] == pytest.approx(1.4, rel=1e-5)


def test_scores_are_means_over_the_real_rows_of_all_batches():
  def score(batch):
    weights = jnp.asarray(batch["mask"], jnp.float32)
    total = (jnp.asarray(batch["factor"]) * weights).sum()
    return {"loss": (total, weights.sum()), "never": (jnp.zeros(()), jnp.zeros(()))}

  batches = [make([1.0, 2.0], [(4, 6)] * 2), make([6.0], [(4, 6)], padding=1)]
  found = run.score(score, iter(batches))
  assert found["loss"] == pytest.approx(3.0) and np.isnan(found["never"])
  with pytest.raises(errors.UserError, match="no example"):
    run.score(score, [])
