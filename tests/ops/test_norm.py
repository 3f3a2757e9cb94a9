"""Normalisations against their definitions in float64, and their gradients against differences."""

import jax
import numpy as np
import pytest

from bicross_jax.ops import norm

EPS = 1e-3


def _layer(x, scale, bias):
  centred = x - x.mean(-1, keepdims=True)
  return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS) * scale + bias


def _group(x, scale, bias):
  grouped = x.reshape(*x.shape[:2], 3, 2)
  centred = grouped - grouped.mean((1, 3), keepdims=True)
  y = centred / np.sqrt((centred**2).mean((1, 3), keepdims=True) + EPS)
  return y.reshape(x.shape) * scale + bias


def _batch(x, scale, bias):
  """Of two views."""
  views = x.reshape(2, -1, *x.shape[1:])
  over = tuple(range(1, views.ndim - 1))
  centred = views - views.mean(over, keepdims=True)
  y = centred / np.sqrt((centred**2).mean(over, keepdims=True) + EPS)
  return y.reshape(x.shape) * scale + bias


def _standardize(weight):
  axes = tuple(range(weight.ndim - 1))
  centred = weight - weight.mean(axes)
  return centred / np.sqrt((centred**2).mean(axes) + EPS)


CASES = {
  "layer": (lambda *a: norm.layer_norm(*a, EPS), _layer, ((2, 5, 6), (6,), (6,))),
  "group": (lambda *a: norm.group_norm(*a, 3, EPS), _group, ((2, 5, 6), (6,), (6,))),
  "batch": (lambda *a: norm.batch_norm(*a, EPS, 2)[0], _batch, ((4, 5, 6), (6,), (6,))),
  "weight": (lambda a: norm.standardize(a, EPS), _standardize, ((3, 3, 2, 5),)),
  "matrix": (lambda a: norm.standardize(a, EPS), _standardize, ((7, 5),)),
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients(case):
  have, want, shapes = CASES[case]
  rng = np.random.default_rng(0)
  arrays = [rng.normal(1.0, 2.0, size=shape) for shape in shapes]
  y = want(*arrays)
  weight = rng.normal(size=y.shape)
  given = [a.astype(np.float32) for a in arrays]
  np.testing.assert_allclose(have(*given), y, atol=2e-6)
  loss = lambda *a: (have(*a) * weight.astype(np.float32)).sum()
  gradients = jax.grad(loss, tuple(range(len(given))))(*given)
  for i, gradient in enumerate(gradients):
    direction = rng.normal(size=arrays[i].shape)
    beyond = [
      [a + sign * 1e-5 * direction * (i == k) for k, a in enumerate(arrays)] for sign in (1, -1)
    ]
    slope = np.subtract(*((want(*a) * weight).sum() for a in beyond)) / 2e-5
    np.testing.assert_allclose((np.asarray(gradient) * direction).sum(), slope, rtol=1e-4)


def test_float64_keeps_its_precision():
  with jax.enable_x64(True):
    weight = np.random.default_rng(0).normal(size=(4, 3))
    gradient = jax.grad(lambda w: (norm.standardize(w, EPS) ** 3).sum())
    slope = (_standardize(weight + 1e-6) ** 3 - _standardize(weight - 1e-6) ** 3).sum() / 2e-6
    assert abs(gradient(weight).sum() - slope) < 1e-8  # both are 0: an offset changes nothing
    direction = np.arange(12.0).reshape(4, 3)
    beyond = [(_standardize(weight + s * 1e-5 * direction) ** 3).sum() for s in (1, -1)]
    slope = np.subtract(*beyond) / 2e-5
    np.testing.assert_allclose((gradient(weight) * direction).sum(), slope, rtol=1e-8)


def test_batch_norm_gives_the_statistics_of_every_view():
  x = np.random.default_rng(0).normal(1, 2, size=(6, 5, 4)).astype(np.float32)
  _, mean, variance = norm.batch_norm(x, np.ones(4), np.zeros(4), EPS, 3)
  for i, view in enumerate(np.split(x, 3)):
    np.testing.assert_allclose(mean[i], view.mean((0, 1)), atol=1e-6)
    np.testing.assert_allclose(variance[i], view.var((0, 1)), rtol=1e-5)


@pytest.mark.parametrize("views", [1, 2])
def test_batch_norm_pools_every_view_over_devices(views):
  """Values and gradients of rows that are split over an axis are those of all rows on one device."""
  rng = np.random.default_rng(1)
  x, weight = rng.normal(1, 2, size=(2, 3, 4 * views, 5, 6)).astype(np.float32)[:, 0]
  scale, bias = rng.normal(size=(2, 6)).astype(np.float32)

  def loss(x, scale, bias, weight, axis_name=None):
    return (norm.batch_norm(x, scale, bias, EPS, views, axis_name)[0] * weight).sum()

  # Two devices, each with half of the rows of every view.
  halves = lambda a: (
    a.reshape(views, 2, 2, *a.shape[1:]).swapaxes(0, 1).reshape(2, -1, *a.shape[1:])
  )
  split = jax.vmap(
    jax.grad(lambda *a: loss(*a, axis_name="d"), (0, 1, 2)), (0, None, None, 0), axis_name="d"
  )
  have = split(halves(x), scale, bias, halves(weight))
  want = jax.grad(loss, (0, 1, 2))(x, scale, bias, weight)
  np.testing.assert_allclose(have[0], halves(want[0]), rtol=1e-4, atol=1e-5)
  for a, b in zip(have[1:], want[1:], strict=True):
    np.testing.assert_allclose(a.sum(0), b, rtol=1e-4, atol=1e-4)
