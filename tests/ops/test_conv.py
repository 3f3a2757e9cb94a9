import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import conv

CASES = [  # height, width, channels in and out, kernel, stride, padding
  (9, 12, 32, 40, 3, 1, ((1, 1), (1, 1))),
  (9, 12, 40, 32, 3, 2, ((1, 1), (1, 1))),
  (10, 7, 32, 32, 3, 2, ((0, 1), (0, 1))),
  (11, 16, 33, 35, 7, 2, ((3, 3), (2, 3))),
  (6, 8, 32, 32, 2, 1, ((0, 1), (0, 1))),
  (8, 8, 3, 64, 3, 1, ((1, 1), (1, 1))),  # narrow: as XLA has it
]


def _plain(x, kernel, stride, padding):
  layout = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, padding, dimension_numbers=layout)


def _drawn(height, width, c, d, k):
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return draw(2, height, width, c), draw(k, k, c, d)


@pytest.mark.parametrize("height, width, c, d, k, stride, padding", CASES)
def test_value_and_gradients_are_those_of_lax(height, width, c, d, k, stride, padding):
  x, kernel = _drawn(height, width, c, d, k)
  y = _plain(x, kernel, stride, padding)
  weight = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
  np.testing.assert_array_equal(conv.conv(x, kernel, stride, padding), y)
  grads = [
    jax.grad(lambda x, w, f=f: (f(x, w, stride, padding) * weight).sum(), (0, 1))(x, kernel)
    for f in (conv.conv, _plain)
  ]
  for have, want in zip(*grads, strict=True):
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("height, width, c, d, k, stride, padding", CASES)
def test_kernel_gradient_against_float64(height, width, c, d, k, stride, padding):
  """Element by element of the kernel, by NumPy; the error is that of sums in float32."""
  x, _ = _drawn(height, width, c, d, k)
  padded = np.pad(x.astype(np.float64), ((0, 0), *padding, (0, 0)))
  h, w = ((n - k) // stride + 1 for n in padded.shape[1:3])
  dy = np.random.default_rng(1).normal(size=(2, h, w, d)).astype(np.float32)
  got = conv.kernel_gradient_by_rows(jnp.asarray(x), jnp.asarray(dy), k, stride, padding)
  for i in range(k):
    for j in range(k):
      seen = padded[:, i : i + (h - 1) * stride + 1 : stride, j : j + (w - 1) * stride + 1 : stride]
      want = np.einsum("bhwc,bhwd->cd", seen, dy)
      assert np.abs(got[i, j] - want).max() < 2e-6 * np.abs(want).max()
