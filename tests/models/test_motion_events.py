"""The generator of event images by motion, against whole-pixel shifts in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import models
from bicross_jax.models import motion_events

SHAPE = (2, 16, 24, 1)


@pytest.fixture(scope="module")
def generator():
  """(module, compiled apply, its variables, a picture in -1..1)."""
  module = models.create("motion_events", width=4, steps=2)
  variables = models.init(module, jax.random.key(0), SHAPE)
  apply = jax.jit(lambda v, x, key=None: module.apply(v, x, rngs=_rngs(key)))
  rng = np.random.default_rng(0)
  return module, apply, variables, rng.uniform(-1, 1, SHAPE).astype(np.float32)


def _rngs(key):
  return {} if key is None else {motion_events.RNG: key}


def _moved(variables, right, down):
  """The variables of a generator whose motion is the same everywhere, in pixels."""
  params = jax.tree.map(jnp.zeros_like, variables["params"])
  params["log_threshold"] = variables["params"]["log_threshold"]
  bias = [math.atanh(pixels / 8) for pixels in (right, down)]
  params["motion"] = {**params["motion"], "bias": jnp.array(bias)}
  return {"params": params}


def test_nothing_moves_and_nothing_is_told(generator):
  _, apply, variables, x = generator
  output = apply(_moved(variables, 0, 0), x)
  np.testing.assert_allclose(output.bottleneck, 0, atol=1e-6)
  np.testing.assert_allclose(output.image, -1, atol=1e-6)


@pytest.mark.parametrize("right, down", [(2, 0), (-4, 0), (0, 2), (2, -2)])
def test_events_are_rises_and_falls_along_the_motion(generator, right, down):
  _, apply, variables, x = generator
  output = apply(_moved(variables, right, down), x)
  np.testing.assert_allclose(output.bottleneck[..., 0], right, atol=1e-5)
  level = np.log(((x[..., 0].astype(np.float64) + 1) / 2) ** 2.2 + 0.02)
  rows, columns = np.indices(SHAPE[1:3])
  at = lambda k: level[
    :,
    np.clip(rows + k * down // 2, 0, SHAPE[1] - 1),
    np.clip(columns + k * right // 2, 0, SHAPE[2] - 1),
  ]
  changes = [at(0) - at(1), at(1) - at(2)]  # of the last part of the window, and of the one before
  told = np.stack(
    [sum(np.maximum(sign * c, 0) for c in changes) / 0.2 for sign in (-1, 1)], axis=-1
  )
  told = np.maximum(told - 0.5, 0)
  want = told / (told.max((1, 2), keepdims=True) + 1e-3)
  np.testing.assert_allclose((output.image + 1) / 2, want, atol=1e-3)


def test_an_edge_that_brightens_pixels_is_positive(generator):
  """Bright on the left has moved two pixels to the right: the last two pixels before the edge have brightened."""
  _, apply, variables, _ = generator
  x = np.where(np.arange(SHAPE[2]) < 10, 0.8, -0.8)[None, None, :, None]
  x = np.broadcast_to(x, SHAPE).astype(np.float32)
  negative, positive = np.moveaxis(np.asarray(apply(_moved(variables, 2, 0), x).image + 1), -1, 0)
  assert not negative.any()
  assert set(np.nonzero(positive)[2]) == {8, 9}


def test_random_numbers_change_the_window_and_only_they(generator):
  _, apply, variables, x = generator
  first, again, other = (apply(variables, x, jax.random.key(i)) for i in (1, 1, 2))
  np.testing.assert_array_equal(first.image, again.image)
  assert np.abs(first.bottleneck - other.bottleneck).max() > 0.1
  assert -1 <= first.image.min() and first.image.max() <= 1
  np.testing.assert_array_equal(apply(variables, x).image, apply(variables, x).image)


def test_gradients_reach_every_parameter(generator):
  module, _, variables, x = generator
  loss = lambda v: (module.apply(v, x).image ** 2).mean()
  for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(variables)):
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, path
