"""Transposed convolution: value and gradients by products against XLA's and PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import transposed


def test_equals_that_of_torch_with_its_gradients():
  torch = pytest.importorskip("torch")
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, 3, 5, 4)).astype(np.float32)
  kernel = rng.standard_normal((3, 3, 4, 6)).astype(np.float32)
  given = [torch.from_numpy(a).requires_grad_() for a in (x, kernel)]
  want = torch.conv_transpose2d(
    given[0].permute(0, 3, 1, 2),
    given[1].permute(2, 3, 0, 1),
    stride=2,
    padding=1,
    output_padding=1,
  )
  dy = rng.standard_normal(want.shape).astype(np.float32)
  want.backward(torch.from_numpy(dy))

  def both(x, kernel):
    y, back = jax.vjp(transposed.doubled, x, kernel)
    return y, back(jnp.asarray(dy.transpose(0, 2, 3, 1)))

  y, gradients = jax.jit(both)(x, kernel)
  np.testing.assert_allclose(y, want.detach().permute(0, 2, 3, 1), atol=1e-4)
  for have, array in zip(gradients, given, strict=True):
    np.testing.assert_allclose(have, array.grad, atol=1e-4)
  with jax.default_matmul_precision("highest"):  # XLA's own
    np.testing.assert_allclose(y, transposed.doubled(x, kernel), atol=1e-4)
