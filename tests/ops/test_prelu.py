"""PReLU: value and gradients against PyTorch's."""

import jax
import numpy as np
import pytest

from bicross_jax.ops import prelu


def test_equals_that_of_torch_with_its_gradients():
  torch = pytest.importorskip("torch")
  rng = np.random.default_rng(0)
  x, dy = rng.standard_normal((2, 2, 3, 4, 5)).astype(np.float32)
  slope = np.array([0.3], np.float32)
  given = [torch.from_numpy(a).requires_grad_() for a in (x, slope)]
  want = torch.nn.functional.prelu(*given)
  want.backward(torch.from_numpy(dy))
  y, back = jax.vjp(prelu.prelu, x, slope)
  np.testing.assert_allclose(y, want.detach(), atol=1e-6)
  for have, array in zip(back(dy), given, strict=True):
    np.testing.assert_allclose(have, array.grad, atol=1e-5)
