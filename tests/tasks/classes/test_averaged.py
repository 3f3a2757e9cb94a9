"""Averages over scales and mirror images, against the same written out with NumPy and PyTorch."""

import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors, fields
from bicross_jax.evaluation import run
from bicross_jax.tasks import classes
from bicross_jax.tasks.classes import averaged
from bicross_jax.tasks.classes import protocol as protocols

TASK = classes.TASK
H, W, K = 8, 12, 3
WEIGHTS = np.random.default_rng(0).normal(size=(3, K)).astype(np.float32)


def logits_of(x):
  """A network that is not symmetric: what is left of a pixel counts. uint8 or float[B, H, W, 3]."""
  x = jnp.asarray(x, jnp.float32) / 255
  return (x + 0.7 * jnp.roll(x, 1, axis=2)) @ WEIGHTS * 4


def network(batch, carry):
  """It counts how often it was asked, with its memory."""
  said = logits_of(batch["rgb"])
  return {"logits": said, "uncertainty": said[..., 0]}, (carry or 0) + 1


def batch_of(rows=2):
  rng = np.random.default_rng(1)
  return {
    "rgb": rng.integers(0, 256, (rows, H, W, 3), np.uint8),
    "label": rng.integers(0, K, (rows, H, W)).astype(np.uint8),
    "mask": np.ones(rows, bool),
  }


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def test_a_mirrored_input_is_averaged_with_the_plain_one():
  batch = batch_of()
  plain = softmax(np.asarray(logits_of(batch["rgb"])))
  mirrored = softmax(np.asarray(logits_of(batch["rgb"][:, :, ::-1])))[:, :, ::-1]
  protocol = protocols.Protocol(classes=K, flip=True)
  predict = TASK.predictor(network, protocol, {})
  out, carry = predict(batch, ())
  np.testing.assert_allclose(np.exp(out["logits"]), (plain + mirrored) / 2, rtol=1e-5, atol=1e-7)
  assert np.abs(plain - mirrored).max() > 0.05
  np.testing.assert_array_equal(out["uncertainty"], logits_of(batch["rgb"])[..., 0])
  assert carry == (1, 1) and predict(batch, carry)[1] == (2, 2)  # each has a memory


@pytest.mark.parametrize("scales", [(1.0, 0.5, 1.3), (0.75, 1.5)])
def test_scales_are_resized_as_pytorch_resizes_with_corners_aligned(scales):
  torch = pytest.importorskip("torch")

  def resized(x, size):
    x = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    x = torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=True)
    return x.numpy().transpose(0, 2, 3, 1)

  batch, total = batch_of(), 0
  for scale in scales:
    seen = resized(batch["rgb"].astype(np.float32), (int(H * scale), int(W * scale)))
    total = total + softmax(resized(np.array(logits_of(seen)), (H, W)))
  predict = TASK.predictor(network, protocols.Protocol(classes=K, scales=scales), {})
  out, _ = predict(batch, ())
  np.testing.assert_allclose(np.exp(out["logits"]), total / len(scales), rtol=1e-4, atol=1e-6)


def test_nothing_is_averaged_where_nothing_is_asked_for_and_labels_stay():
  assert TASK.predictor(network, protocols.PROTOCOLS["ddd17_evdistill"], {}) is network
  batch, protocol = batch_of(), protocols.PROTOCOLS["ddd17_multiscale"]
  truth = {"key": "a", "label": batch["label"][0], "crop": (0, 0, H, W)}
  blind = TASK.baselines([truth], protocol)
  one = {name: x[:1] for name, x in batch.items()}
  found = run.evaluate_all(TASK, blind, [(one, [truth])], protocol._replace(height=0, width=0))
  assert found["pixel mode"].summary["accuracy"] == 1


def test_other_maps_take_the_nearest_and_the_rest_is_of_the_resized_maps():
  spike = np.arange(2 * H * W, dtype=np.uint8).reshape(2, H, W, 1)
  matrix = np.array([[[9, 0, 5.5], [0, 9, 3.5], [0, 0, 1]]] * 2, np.float32)
  batch = {"spike": spike, "intrinsics": matrix, "mask": np.ones(2, bool)}
  out = averaged.seen(batch, 0.5, True, {})
  np.testing.assert_array_equal(out["spike"], spike[:, ::2, ::2][:, :, ::-1])
  assert out["spike"].dtype == np.uint8
  # Half the focal length; the centre (5.5, 3.5) of 8x12 pixels is (2.5, 1.5), that of 4x6, mirrored or not.
  want = np.array([[4.5, 0, 2.5], [0, 4.5, 1.5], [0, 0, 1]])
  np.testing.assert_allclose(out["intrinsics"], np.stack([want] * 2), rtol=1e-6)
  own = {"weight": fields.Field("map", ("float32",))}
  both = averaged.seen({**batch, "weight": np.ones((2, H, W), np.float32)}, 2.0, False, own)
  assert both["weight"].shape == (2, 2 * H, 2 * W)


def test_probabilities_of_zero_stay_numbers():
  def certain(batch, carry):
    return {"logits": jnp.asarray([[[[500.0, 0.0, -500.0]]]])}, carry

  predict = TASK.predictor(certain, protocols.Protocol(classes=K, flip=True), {})
  out, _ = predict({"rgb": np.zeros((1, 1, 1, 3), np.uint8)}, ())
  assert np.isfinite(out["logits"]).all() and int(out["logits"].argmax()) == 0


@pytest.mark.parametrize(
  "change, said",
  [
    (dict(names="kitti"), "protocol.names='kitti'"),
    (dict(names="dsec"), "are 11 classes, not protocol.classes=6"),
    (dict(scales=()), r"protocol.scales=\(\)"),
    (dict(scales=(1.0, 0.0)), "protocol.scales="),
    (dict(scales=(1.0, float("nan"))), "protocol.scales="),
  ],
)
def test_senseless_protocols_are_refused(change, said):
  with pytest.raises(errors.UserError, match=said):
    protocols.check(protocols.Protocol()._replace(**change))
