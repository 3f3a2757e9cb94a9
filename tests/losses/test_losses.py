"""Properties of the losses that no golden case covers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.losses import contrastive, depth, distill, uncertainty

SHAPE = (4, 12, 16)


@pytest.fixture(scope="module")
def maps():
  """Prediction, target, mask and uncertainty; image 2 has no valid pixel."""
  rng = np.random.default_rng(3)
  target = rng.uniform(1, 60, SHAPE).astype(np.float32)
  prediction = (target * rng.uniform(0.5, 1.6, SHAPE)).astype(np.float32)
  mask = rng.random(SHAPE) < 0.6
  mask[2] = False
  target[~mask] = 0.0
  spread = rng.uniform(0.05, 1, SHAPE).astype(np.float32)
  return tuple(map(jnp.asarray, (prediction, target, mask, spread)))


def depth_loss(name, prediction, target, mask, _, axis_name=None):
  return depth.LOSSES[name](prediction, target, mask, axis_name=axis_name)


def uncertainty_loss(name, prediction, target, mask, spread, axis_name=None):
  loss = uncertainty.LOSSES[name]
  return loss(spread, prediction, target, mask, detach=False, axis_name=axis_name)


PIXEL_LOSSES = {n: functools.partial(depth_loss, n) for n in depth.LOSSES}
PIXEL_LOSSES |= {n: functools.partial(uncertainty_loss, n) for n in uncertainty.LOSSES}


def sharded(loss, gain, *arrays, devices=4):
  """Value and gradient with respect to a shared parameter, pmeaned over shards of the batch."""

  def step(gain, *shard):
    value, gradient = jax.value_and_grad(loss)(gain, *shard, axis_name="batch")
    return value, jax.lax.pmean(gradient, "batch")

  shards = [x.reshape(devices, -1, *x.shape[1:]) for x in arrays]
  axes = (None,) + (0,) * len(shards)
  return jax.jit(jax.vmap(step, in_axes=axes, axis_name="batch"))(gain, *shards)


def assert_shards_equal_whole(loss, gain, *arrays):
  value, gradient = jax.jit(jax.value_and_grad(loss))(gain, *arrays)
  assert jnp.abs(gradient).max() > 1e-4
  values, gradients = sharded(loss, gain, *arrays)
  np.testing.assert_allclose(values, np.full(4, value), rtol=2e-6)
  for each in gradients:
    tolerance = 1e-6 * float(jnp.abs(gradient).max())
    np.testing.assert_allclose(each, gradient, rtol=1e-4, atol=tolerance)


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_four_devices_equal_one(maps, name):
  def loss(gain, prediction, *rest, axis_name=None):
    return PIXEL_LOSSES[name](prediction * gain[None], *rest, axis_name=axis_name)

  gain = jnp.linspace(0.8, 1.3, 12 * 16).reshape(12, 16)
  assert_shards_equal_whole(loss, gain, *maps)


def test_contrastive_on_four_devices_equals_one():
  rng = np.random.default_rng(0)
  a, b = (jnp.asarray(rng.normal(size=(8, 5)), jnp.float32) for _ in range(2))

  def loss(gain, a, b, axis_name=None):  # the parameter acts on rows and on gathered keys
    return contrastive.contrastive(a * gain[None], jnp.tanh(b * gain[None]), axis_name=axis_name)

  assert_shards_equal_whole(loss, jnp.linspace(0.5, 1.5, 5), a, b)


def test_distillation_on_four_devices_equals_one(maps):
  prediction, _, mask, spread = maps
  rng = np.random.default_rng(1)
  student, teacher = (jnp.asarray(rng.normal(size=(4, 3, 4, 6)), jnp.float32) for _ in range(2))

  def loss(gain, student, teacher, u_rgb, u_spike, mask, axis_name=None):
    weights = distill.cfkd_filter(u_rgb, u_spike, mask, (3, 4), axis_name=axis_name)
    student = student * gain[None, None, None]
    return distill.feature_mse(student, teacher, weights, axis_name=axis_name)

  gain = jnp.linspace(0.5, 1.5, 6)
  assert_shards_equal_whole(loss, gain, student, teacher, spread, prediction, mask)


def test_pmap_with_the_devices_there_are(maps):
  """The idiom of the training step; the test settings may give one device or several."""
  devices = next(n for n in (4, 2, 1) if n <= jax.device_count())
  prediction, target, mask, _ = maps

  def loss(gain, prediction, target, mask, axis_name=None):
    return depth.sig(prediction * gain, target, mask, axis_name=axis_name)

  def step(gain, *shard):
    return jax.lax.pmean(jax.grad(loss)(gain, *shard, axis_name="batch"), "batch")

  shards = [x.reshape(devices, -1, *SHAPE[1:]) for x in (prediction, target, mask)]
  got = jax.pmap(step, "batch", in_axes=(None, 0, 0, 0), out_axes=None)(jnp.float32(0.7), *shards)
  want = jax.grad(loss)(jnp.float32(0.7), prediction, target, mask)
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_no_valid_pixel_gives_zero_and_zero_gradients(maps, name):
  prediction, target, mask, spread = maps
  prediction = prediction.at[0, 0, 0].set(jnp.nan)
  arguments = prediction, jnp.zeros_like(target), jnp.zeros_like(mask), spread
  value, gradients = jax.jit(jax.value_and_grad(PIXEL_LOSSES[name], argnums=(0, 3)))(*arguments)
  assert value == 0
  for gradient in gradients:
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_a_valid_pixel_only_sees_valid_pixels(maps, name):
  """What lies outside the mask, NaN and zeros, changes neither value nor gradient."""
  prediction, target, mask, spread = maps
  loss = jax.jit(jax.value_and_grad(PIXEL_LOSSES[name]))
  value, gradient = loss(prediction, target, mask, spread)
  spoilt = [jnp.where(mask, x, jnp.nan) for x in (prediction, target)]
  again, gradient_again = loss(*spoilt, mask, spread)
  assert value == again
  np.testing.assert_array_equal(gradient, gradient_again)
  np.testing.assert_array_equal(gradient[~mask], 0.0)


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_gradient_by_differences(maps, name):
  prediction, *arguments = maps
  direction = jnp.asarray(np.random.default_rng(6).uniform(0, 1, SHAPE), jnp.float32)
  loss = jax.jit(jax.value_and_grad(PIXEL_LOSSES[name]))
  gradient = loss(prediction, *arguments)[1]
  h = 2e-2
  ends = [loss(prediction + s * h * direction, *arguments)[0] for s in (1, -1)]
  slope = float(jnp.sum(gradient * direction))
  assert abs((ends[0] - ends[1]) / (2 * h) - slope) < 0.01 * abs(slope)


def test_sig_of_one_pixel_and_of_a_perfect_prediction():
  target = jnp.full((1, 2, 2), 3.0)
  mask = jnp.zeros((1, 2, 2), bool).at[0, 1, 0].set(True)
  want = np.sqrt(0.15) * np.log(6.1 / 3.1)
  assert abs(depth.sig(2 * target, target, mask) - want) < 1e-6
  value, gradient = jax.value_and_grad(depth.sig)(target, target, mask)
  assert value == 0
  np.testing.assert_array_equal(gradient, 0.0)


def test_sig_of_a_common_factor():
  target = jnp.full((1, 5, 5), 10.0)
  got = depth.sig(target + 5.05, target, jnp.ones(target.shape, bool))
  assert abs(got - np.sqrt(0.15) * np.log(1.5)) < 1e-6


def test_ssi_ignores_scale_and_shift(maps):
  prediction, target, mask, _ = maps
  loss = jax.jit(depth.ssi)
  assert loss(0.3 * target + 7, target, mask) < 1e-4
  want = loss(prediction, target, mask)
  np.testing.assert_allclose(loss(5 * prediction + 2, target, mask), want, rtol=1e-4)


def test_ssi_of_a_constant_prediction_aligns_the_mean(maps):
  _, target, mask, _ = maps
  target, mask = target[:1], mask[:1]
  constant = jnp.full(target.shape, 7.3)
  error = (target - target[mask].mean())[mask]
  got = jax.jit(functools.partial(depth.ssi, weight=0.0))(constant, target, mask)
  np.testing.assert_allclose(got, 0.5 * jnp.mean(error**2), rtol=1e-5)
  assert jnp.isfinite(jax.jit(jax.grad(depth.ssi))(constant, target, mask)).all()


def test_ssi_scales_and_weight_are_used(maps):
  prediction, target, mask, _ = maps
  one, two = (depth.ssi(prediction, target, mask, scales=s) for s in (1, 2))
  none, half = (depth.ssi(prediction, target, mask, weight=w) for w in (0.0, 0.5))
  assert none < one < two < half


def test_mse_equals_numpy(maps):
  prediction, target, mask, _ = map(np.asarray, maps)
  want = np.mean((prediction - target)[mask].astype(np.float64) ** 2)
  np.testing.assert_allclose(depth.mse(*maps[:3]), want, rtol=1e-6)


@pytest.mark.parametrize("name", uncertainty.LOSSES)
def test_detach_keeps_gradients_out_of_the_depth(maps, name):
  prediction, target, mask, spread = maps

  def loss(prediction, detach):
    return uncertainty.LOSSES[name](spread, prediction, target, mask, detach=detach)

  np.testing.assert_array_equal(jax.grad(loss)(prediction, True), 0.0)
  assert jnp.abs(jax.grad(loss)(prediction, False)).max() > 0
  np.testing.assert_allclose(loss(prediction, True), loss(prediction, False))


def test_l1log_takes_the_output_of_a_linear_head(maps):
  prediction, target, mask, _ = maps
  raw = jnp.linspace(-30.0, 30.0, prediction.size).reshape(SHAPE)
  value, gradient = jax.value_and_grad(uncertainty.l1log)(raw, prediction, target, mask)
  assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
  same = uncertainty.l1log(uncertainty.width(raw), prediction, target, mask, softplus=False)
  np.testing.assert_allclose(value, same, rtol=1e-6)
  np.testing.assert_allclose(uncertainty.width(jnp.zeros(1)), np.log(2) + 1e-3, rtol=1e-6)


def test_l1log_is_least_where_the_width_is_the_error():
  target = jnp.full((1, 1, 9), 10.0)
  widths = jnp.linspace(1.0, 5.0, 9)
  losses = [
    uncertainty.l1log(w + 0 * target, target + 3, target, target > 0, softplus=False)
    for w in widths
  ]
  assert widths[int(np.argmin(losses))] == 3.0


def test_contrastive_in_closed_form():
  a = 2.0 * jnp.eye(3, 4)
  want = np.log(np.exp(4) + 2) - 4
  np.testing.assert_allclose(contrastive.contrastive(a, a), want, rtol=1e-5)
  np.testing.assert_allclose(contrastive.contrastive(a * 0, a), np.log(3), rtol=1e-6)
  assert abs(contrastive.contrastive(a[:1], a[:1])) < 1e-6


def test_feature_mse_with_and_without_weights():
  rng = np.random.default_rng(2)
  student, teacher = (rng.normal(size=(2, 3, 4, 5)).astype(np.float32) for _ in range(2))
  np.testing.assert_allclose(
    distill.feature_mse(student, teacher), np.mean((student - teacher) ** 2), rtol=1e-5
  )
  weights = rng.random((2, 3, 4)).astype(np.float32)
  want = np.average(((student - teacher) ** 2).mean(-1), weights=weights)
  np.testing.assert_allclose(distill.feature_mse(student, teacher, weights), want, rtol=1e-5)
  gradients = jax.grad(distill.feature_mse, argnums=(0, 1))(student, teacher, weights)
  np.testing.assert_array_equal(gradients[1], 0.0)
  want = 2 * (student - teacher) * weights[..., None] / (5 * weights.sum())
  np.testing.assert_allclose(gradients[0], want, rtol=1e-4, atol=1e-8)
  value, gradient = jax.value_and_grad(distill.feature_mse)(student, teacher, 0 * weights)
  assert value == 0 and not gradient.any()


def test_filter_passes_where_teacher_is_sure_and_student_is_not():
  rng = np.random.default_rng(4)
  u_rgb, u_spike = (rng.normal(size=(2, 8, 12)).astype(np.float32) for _ in range(2))
  valid = rng.random((2, 8, 12)) < 0.8
  passed = (u_rgb < np.median(u_rgb[valid])) & (u_spike > np.median(u_spike[valid])) & valid
  got = jax.jit(distill.cfkd_filter, static_argnums=3)(u_rgb, u_spike, valid, (4, 3))
  np.testing.assert_allclose(got, passed.reshape(2, 4, 2, 3, 4).mean((2, 4)), atol=1e-6)
  assert 0.1 < got.mean() < 0.4
  whole = distill.cfkd_filter(u_rgb, u_spike, valid, (5, 7))  # sizes that do not divide
  np.testing.assert_allclose(whole.mean((1, 2)), passed.mean((1, 2)), rtol=1e-5)
  nothing = distill.cfkd_filter(u_rgb, u_spike, valid & False, (4, 3))
  np.testing.assert_array_equal(nothing, 0.0)


def test_mismatched_shapes_are_refused(maps):
  prediction, target, mask, spread = maps
  for loss in depth.LOSSES.values():
    with pytest.raises(ValueError, match=r"prediction \(4, 12, 16, 1\)"):
      loss(prediction[..., None], target, mask)
  for loss in uncertainty.LOSSES.values():
    with pytest.raises(ValueError, match="uncertainty"):
      loss(spread[:1], prediction, target, mask)
  with pytest.raises(ValueError, match="weights"):
    distill.feature_mse(jnp.zeros((1, 2, 3, 4)), jnp.zeros((1, 2, 3, 4)), jnp.zeros((1, 2, 2)))
  with pytest.raises(ValueError, match="a "):
    contrastive.contrastive(jnp.zeros((2, 3)), jnp.zeros((3, 3)))
