"""ops.resize against closed forms and against torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import resize

SHAPES = [
  ((6, 7), (12, 14)),
  ((5, 8), (9, 3)),
  ((9, 4), (4, 11)),
  ((1, 5), (3, 1)),
  ((4, 4), (4, 4)),
]
MODES = {
  "nearest": (resize.nearest, {"mode": "nearest"}),
  "bilinear": (resize.bilinear, {"mode": "bilinear", "align_corners": False}),
  "bilinear_corners": (resize.bilinear_corners, {"mode": "bilinear", "align_corners": True}),
  "bicubic": (resize.bicubic, {"mode": "bicubic", "align_corners": False}),
}


def _noise(*shape):
  return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("old, new", SHAPES)
def test_equals_torch_in_value_and_gradient(mode, old, new):
  torch = pytest.importorskip("torch")
  function, options = MODES[mode]
  x, w = _noise(2, *old, 3), _noise(2, *new, 3)
  t = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
  want = torch.nn.functional.interpolate(t, size=new, **options)
  (want * torch.tensor(w.transpose(0, 3, 1, 2))).sum().backward()
  got, pull = jax.vjp(lambda x: function(x, new), jnp.asarray(x))
  np.testing.assert_allclose(got, want.detach().numpy().transpose(0, 2, 3, 1), atol=3e-6)
  gradient = t.grad.numpy().transpose(0, 2, 3, 1)
  np.testing.assert_allclose(pull(jnp.asarray(w))[0], gradient, atol=1e-5)


def test_nearest_takes_the_floor():
  x = jnp.arange(5.0).reshape(1, 1, 5, 1)
  assert resize.nearest(x, (1, 3)).ravel().tolist() == [0, 1, 3]
  assert resize.nearest(x.astype(jnp.uint8), (1, 8)).ravel().tolist() == [0, 0, 1, 1, 2, 3, 3, 4]


def test_bilinear_of_a_ramp():
  x = jnp.arange(4.0).reshape(1, 1, 4, 1)
  np.testing.assert_allclose(
    resize.bilinear(x, (1, 8)).ravel(), [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6
  )
  np.testing.assert_allclose(
    resize.bilinear_corners(x, (1, 7)).ravel(), np.linspace(0, 3, 7), atol=1e-6
  )


def test_bicubic_halfway_weights():
  x = jnp.eye(4)[None, :, :, None]  # columns pick the taps' weights out
  middle = resize.bicubic(x, (1, 4))[0, 0, :, 0]  # at 1.5, halfway between rows 1 and 2
  np.testing.assert_allclose(middle, [-0.09375, 0.59375, 0.59375, -0.09375], atol=1e-6)


@pytest.mark.parametrize("mode", ["bilinear", "bilinear_corners", "bicubic"])
def test_gradient_is_the_transpose(mode):
  function = MODES[mode][0]
  x, w = jnp.asarray(_noise(1, 6, 5, 2)), jnp.asarray(_noise(1, 9, 3, 2))
  pulled = jax.grad(lambda x: (function(x, (9, 3)) * w).sum())(x)
  np.testing.assert_allclose((function(x, (9, 3)) * w).sum(), (x * pulled).sum(), rtol=1e-5)


def test_bfloat16_stays_and_integers_are_refused():
  x = jnp.ones((1, 4, 4, 1))
  assert resize.bilinear(x.astype(jnp.bfloat16), (8, 8)).dtype == jnp.bfloat16
  with pytest.raises(ValueError, match="uint8"):
    resize.bilinear(x.astype(jnp.uint8), (8, 8))


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (1, 0, 4, 1)])
def test_wrong_arrays_are_refused(shape):
  with pytest.raises(ValueError):
    resize.nearest(jnp.zeros(shape), (2, 2))
  with pytest.raises(ValueError):
    resize.bilinear(jnp.zeros((1, 4, 4, 1)), (0, 2))
