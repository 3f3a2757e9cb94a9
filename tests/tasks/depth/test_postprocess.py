import numpy as np
import pytest

from bicross_jax import fields
from bicross_jax.evaluation import run
from bicross_jax.tasks import depth
from bicross_jax.tasks.depth import postprocess


def by_loops(plain, mirrored):
  """The definition for one row of disparities, pixel by pixel."""
  width = len(plain)
  out = []
  for i in range(width):
    left = 1 - min(max(20 * (i / (width - 1) - 0.05), 0), 1)
    right = 1 - min(max(20 * ((width - 1 - i) / (width - 1) - 0.05), 0), 1)
    mean = (plain[i] + mirrored[i]) / 2
    out.append(right * plain[i] + left * mirrored[i] + (1 - left - right) * mean)
  return out


def test_blend_is_the_definition():
  plain, mirrored = np.random.default_rng(0).uniform(2, 50, (2, 1, 3, 81)).astype(np.float32)
  got = postprocess.blend(plain, mirrored)
  for row in range(3):
    want = by_loops(1 / plain[0, row].astype(float), 1 / mirrored[0, row].astype(float))
    np.testing.assert_allclose(1 / got[0, row], want, rtol=1e-5)
  np.testing.assert_allclose(got[0, :, :4], mirrored[0, :, :4], rtol=1e-6)
  np.testing.assert_allclose(got[0, :, -4:], plain[0, :, -4:], rtol=1e-6)


def test_every_field_is_mirrored_as_its_kind_wants_it():
  own = {"gain": fields.Field("plain", ("float32",))}
  batch = {
    "rgb": np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3),
    "baseline": np.array([0.5], np.float32),
    "gain": np.array([2.0], np.float32),
    "mask": np.array([True]),
  }
  got = postprocess.mirror(batch, own)
  np.testing.assert_array_equal(got["rgb"], batch["rgb"][:, :, ::-1])
  assert got["baseline"] == [-0.5] and got["gain"] == [2.0] and got["mask"] == [True]


def test_a_protocol_with_flip_evaluates_both_with_carries_of_their_own():
  carries = []

  def predict(batch, carry):
    carries.append(carry)
    return {"depth": batch["rgb"][..., 0].astype(np.float32)}, (
      *carry,
      int(batch["rgb"][0, 0, 0, 0]),
    )

  rgb = np.full((1, 4, 40, 3), 10, np.uint8)
  rgb[:, :, 20:] = 30
  truth = {"key": "a", "depth": rgb[0, ..., 0].astype(np.float32), "crop": (0, 0, 4, 40)}
  batches = [({"rgb": rgb, "mask": np.array([True])}, [truth])] * 2
  protocol = depth.TASK.protocol(crop="none", flip=True)
  report = run.evaluate(depth.TASK, predict, batches, protocol)
  assert report.summary["abs_rel"] == pytest.approx(0, abs=1e-6)  # mirrored back: the same depth
  assert carries == [(), (), (10,), (30,)]
