import cv2
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.ops import resize
from bicross_jax.tasks.depth import TASK, metrics
from bicross_jax.tasks.depth import protocol as protocols
from bicross_jax.tasks.depth.protocol import Protocol

WHOLE = Protocol(crop="none")


@pytest.mark.parametrize("size", [(96, 160), (353, 1217), (20, 31), (13, 77)])
def test_resize_is_torchs_bicubic(size):
  torch = pytest.importorskip("torch")
  x = np.random.default_rng(0).uniform(1, 80, (24, 40)).astype(np.float32)
  got = protocols.paste(x, size, (0, 0, *size))
  want = torch.nn.functional.interpolate(torch.from_numpy(x)[None, None], size, mode="bicubic")
  np.testing.assert_allclose(got, want[0, 0].numpy(), atol=2e-3)


def test_resize_is_that_of_the_training_losses():
  x = np.random.default_rng(1).uniform(1, 80, (24, 40)).astype(np.float32)
  want = resize.bicubic(x[None, ..., None], (90, 131))[0, ..., 0]
  np.testing.assert_allclose(protocols.paste(x, (90, 131), (0, 0, 90, 131)), want, atol=2e-3)


def test_paste_puts_the_view_at_its_place():
  x = np.arange(6, dtype=np.float32).reshape(2, 3) + 1
  frame = protocols.paste(x, (5, 7), (3, 2, 2, 3))
  np.testing.assert_array_equal(frame[3:5, 2:5], x)
  assert frame.sum() == x.sum()
  for view in [(4, 2, 2, 3), (3, 5, 2, 3), (-1, 0, 2, 3), (0, 0, 0, 3)]:
    with pytest.raises(ValueError, match="frame of"):
      protocols.paste(x, (5, 7), view)


@pytest.mark.parametrize(
  "shape,box", [((375, 1242), (153, 371, 44, 1197)), ((352, 1216), (143, 349, 43, 1172))]
)
def test_valid_pixels_of_the_garg_crop(shape, box):
  valid = protocols.valid_pixels(np.full(shape, 5.0), Protocol())
  rows, columns = np.nonzero(valid)
  assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == box
  assert valid.sum() == (box[1] - box[0]) * (box[3] - box[2])


def test_caps_are_exclusive_for_truth_and_clip_predictions():
  truth = np.array([[1e-3, 0.5, 79.0, 80.0, 500.0, np.nan, np.inf, 0.0]], np.float32)
  valid = protocols.valid_pixels(protocols.known_depth(truth), WHOLE)
  np.testing.assert_array_equal(valid[0], [0, 1, 1, 0, 0, 0, 0, 0])
  prediction = np.array([[1.0, -3.0, 900.0, 1, 1, 1, 1, 1]], np.float32)
  frame, *_ = protocols.predicted_frame(prediction, truth, (0, 0, 1, 8), WHOLE)
  np.testing.assert_allclose(frame[0, :3], [1.0, 1e-3, 80.0])
  row = protocols.measure(prediction, truth, (0, 0, 1, 8), WHOLE)
  assert row["pixels"] == 2
  assert row["abs_rel"] == pytest.approx((0.499 / 0.5 + 1 / 79) / 2, rel=1e-6)


def test_pixels_outside_the_view_count_as_the_smallest_depth():
  truth = np.full((4, 4), 10.0, np.float32)
  row = protocols.measure(np.full((2, 4), 10.0), truth, (2, 0, 2, 4), WHOLE)
  assert row["pixels"] == 16
  assert row["abs_rel"] == pytest.approx(0.5 * (1 - 1e-4))


def test_infinite_predictions_are_the_cap_and_do_not_spread():
  truth = np.full((8, 8), 40.0, np.float32)
  prediction = np.full((4, 4), 40.0, np.float32)
  prediction[1, 1] = np.inf
  got = protocols.measure(prediction, truth, (0, 0, 8, 8), WHOLE)
  prediction[1, 1] = 80.0
  assert got == protocols.measure(prediction, truth, (0, 0, 8, 8), WHOLE)
  assert got["nan_pixels"] == 0
  prediction[1, 1] = -np.inf
  assert np.isfinite(list(protocols.measure(prediction, truth, (0, 0, 8, 8), WHOLE).values())).all()


def test_nan_predictions_are_errors_that_are_counted():
  truth = np.full((4, 4), 10.0, np.float32)
  truth[3] = 0  # unknown: a NaN there is not counted
  prediction = truth.copy()
  prediction[0, :2] = np.nan
  prediction[3, 0] = np.nan
  row = protocols.measure(prediction, truth, (0, 0, 4, 4), WHOLE)
  assert (row["pixels"], row["nan_pixels"]) == (12, 2)
  assert row["abs_rel"] == pytest.approx(2 / 12 * (1 - 1e-4))


def test_median_scaling_takes_away_a_factor():
  rng = np.random.default_rng(1)
  truth = rng.uniform(2, 60, (9, 11)).astype(np.float32)
  prediction = (truth * rng.uniform(0.8, 1.2, truth.shape)).astype(np.float32)
  view, scaled = (0, 0, 9, 11), WHOLE._replace(scaling="median")
  one, other = (protocols.measure(f * prediction, truth, view, scaled) for f in (1.0, 7.0))
  assert one["scale"] == pytest.approx(np.median(truth) / np.median(prediction))
  assert other["scale"] == pytest.approx(one["scale"] / 7)
  assert other["abs_rel"] == pytest.approx(one["abs_rel"], rel=1e-5)
  by_hand = np.clip(prediction * one["scale"], 1e-3, 80)
  assert one["rmse"] == pytest.approx(metrics.measure(by_hand, truth, truth > 0)["rmse"], rel=1e-5)


def test_stereo_scaling_multiplies_by_the_factor():
  truth = np.full((4, 6), 54.0, np.float32)
  protocol = WHOLE._replace(scaling="stereo")
  row = protocols.measure(np.full((4, 6), 9.0), truth, (0, 0, 4, 6), protocol)
  assert row["abs_rel"] == pytest.approx(1 - 9 * 5.4 / 54, rel=1e-5)
  exact = protocols.measure(truth / 6, truth, (0, 0, 4, 6), protocol._replace(factor=6.0))
  assert exact["abs_rel"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [(96, 160), (13, 77)])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_other_interpolations_are_torchs(mode, size):
  torch = pytest.importorskip("torch")
  x = np.random.default_rng(0).uniform(1, 80, (24, 40)).astype(np.float32)
  got = protocols.paste(x, size, (0, 0, *size), mode)
  want = torch.nn.functional.interpolate(torch.from_numpy(x)[None, None], size, mode=mode)
  np.testing.assert_allclose(got, want[0, 0].numpy(), atol=2e-3)


def test_disparities_are_resized_where_the_protocol_says_so():
  """Between 2 m and 6 m lies 4 m, but 3 m for who averages disparities."""
  x = np.array([[2.0, 6.0]], np.float32)
  middle = lambda space: protocols.paste(x, (1, 3), (0, 0, 1, 3), "bilinear", space)[0, 1]
  assert middle("depth") == pytest.approx(4)
  assert middle("disparity") == pytest.approx(3)
  protocol = WHOLE._replace(interpolation="bilinear", space="disparity")
  truth = np.array([[2.0, 3.0, 6.0]], np.float32)
  assert protocols.measure(x, truth, (0, 0, 1, 3), protocol)["abs_rel"] == pytest.approx(
    0, abs=1e-6
  )
  odd = np.array([[np.nan, np.inf, -np.inf, -1.0, 0.0]], np.float32)
  frame, missing, _ = protocols.predicted_frame(
    odd, np.full((1, 5), 9, np.float32), (0, 0, 1, 5), protocol
  )
  np.testing.assert_allclose(frame[0, 1:], [80, 1e-3, 1e-3, 1e-3], rtol=1e-5)
  np.testing.assert_array_equal(missing[0], [1, 0, 0, 0, 0])


def test_mean_depth_error_in_centimetres_at_cutoffs():
  truth = np.array([[5.0, 15.0, 25.0, 60.0, 0.0]], np.float32)
  prediction = truth + np.array([[0.1, -0.2, 0.3, 4.0, 9.0]], np.float32)
  row = protocols.measure(prediction, truth, (0, 0, 1, 5), protocols.PROTOCOLS["mvsec"])
  assert row["mde"] == pytest.approx(100 * 4.6 / 4, rel=1e-5)
  assert row["mde_10"] == pytest.approx(10, rel=1e-4)
  assert row["mde_20"] == pytest.approx(15, rel=1e-4)
  assert row["mde_30"] == pytest.approx(20, rel=1e-4)
  far = protocols.measure(prediction, 4 * truth, (0, 0, 1, 5), protocols.PROTOCOLS["mvsec"])
  assert np.isnan(far["mde_10"]) and far["mde_30"] == pytest.approx(1490, rel=1e-4)
  summary = TASK.summarise([row, far])
  assert summary["mde_10"] == pytest.approx(10, rel=1e-4)  # of the image that has such a pixel
  assert summary["mde_30"] == pytest.approx((20 + 1490) / 2, rel=1e-4)
  assert "mde_10" not in protocols.measure(prediction, truth, (0, 0, 1, 5), WHOLE)


def test_published_protocols_make_sense_and_do_what_their_papers_say():
  for protocol in protocols.PROTOCOLS.values():
    protocols.check(protocol)
  eigen = protocols.PROTOCOLS["kitti_eigen"]
  assert (eigen.crop, eigen.min_depth, eigen.max_depth, eigen.scaling) == ("garg", 1e-3, 80, "none")
  assert protocols.PROTOCOLS["kitti_eigen_50"].max_depth == 50
  assert protocols.PROTOCOLS["nyu"].scaling == protocols.PROTOCOLS["make3d_c1"].scaling == "median"


@pytest.mark.parametrize(
  "change",
  [
    {"crop": "gargg"},
    {"scaling": "mean"},
    {"interpolation": "lanczos"},
    {"space": "log"},
    {"min_depth": 0.0},
    {"max_depth": 1e-4},
    {"max_depth": float("nan")},
    {"max_depth": float("inf")},
    {"factor": -1.0},
    {"grey": -80.0},
    {"grey": float("inf")},
  ],
)
def test_senseless_protocols_are_refused(change):
  ((field, value),) = change.items()
  with pytest.raises(errors.UserError, match=field) as refused:
    protocols.check(WHOLE._replace(**change))
  assert str(value) in str(refused.value)


def test_real_ground_truth(samples):
  """Official KITTI depth: sparse, 375x1242; the share of known pixels is in the set's notes."""
  path = samples / "kitti_depth_gt" / "depth" / "0000000005.png"
  truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 256
  assert protocols.valid_pixels(truth, WHOLE._replace(max_depth=90.0)).mean() == pytest.approx(
    0.195, abs=5e-4
  )
  view = (375 - 352, (1242 - 1216) // 2, 352, 1216)
  seen = truth[view[0] :, view[1] : view[1] + 1216]
  row = protocols.measure(seen, truth, view, Protocol())
  assert row["pixels"] == ((truth > 1e-3) & (truth < 80))[153:371, 44:1197].sum()
  assert row["abs_rel"] == 0 and row["d1"] == 1


@pytest.mark.parametrize("size", [(375,), (0, 5), (375, 1242, 3), ("375", "1242"), (3.5, 2)])
def test_a_truth_size_that_cannot_be(size):
  with pytest.raises(errors.UserError, match="protocol.truth_size="):
    protocols.check(WHOLE._replace(truth_size=size))
