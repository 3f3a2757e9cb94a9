"""Depthwise convolution: value and gradients by shifts against XLA's and PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import depthwise

CASES = [  # kernel, stride, padding, dilation
  (3, 1, (1, 1), 1),
  (3, 2, (0, 1), 1),
  (5, 2, (1, 2), 1),
  (5, 1, (2, 2), 1),
  (3, 1, (0, 0), 2),
  (3, 2, (2, 1), 2),
]


@pytest.mark.parametrize("size, stride, padding, dilation", CASES)
def test_equals_that_of_torch_with_its_gradients(size, stride, padding, dilation):
  torch = pytest.importorskip("torch")
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, 8, 10, 3)).astype(np.float32)
  kernel = rng.standard_normal((size, size, 1, 3)).astype(np.float32)
  given = [torch.from_numpy(a).requires_grad_() for a in (x, kernel)]
  padded = torch.nn.functional.pad(given[0].permute(0, 3, 1, 2), (*padding, *padding))
  options = dict(stride=stride, dilation=dilation, groups=3)
  want = torch.conv2d(padded, given[1].permute(3, 2, 0, 1), **options)
  dy = rng.standard_normal(want.shape).astype(np.float32)
  want.backward(torch.from_numpy(dy))

  def both(x, kernel):
    convolve = lambda *pair: depthwise.depthwise(*pair, stride, (padding, padding), dilation)
    y, transposed = jax.vjp(convolve, x, kernel)
    return y, transposed(jnp.asarray(dy.transpose(0, 2, 3, 1)))

  y, gradients = jax.jit(both)(x, kernel)
  np.testing.assert_allclose(y, want.detach().permute(0, 2, 3, 1), atol=1e-5)
  for have, array in zip(gradients, given, strict=True):
    np.testing.assert_allclose(have, array.grad, atol=1e-4)
  with jax.default_matmul_precision("highest"):  # XLA's own
    exact = depthwise.depthwise(x, kernel, stride, (padding, padding), dilation)
  np.testing.assert_allclose(y, exact, atol=1e-5)
