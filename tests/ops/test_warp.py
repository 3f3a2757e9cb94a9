"""ops.warp against closed forms and against torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import warp

RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((2, 5, 6, 3)).astype(np.float32)
XY = RNG.uniform(-1.5, 6.5, (2, 4, 7, 2)).astype(np.float32)


@pytest.mark.parametrize("padding", warp.PADDINGS)
def test_equals_torch_in_value_and_gradients(padding):
  torch = pytest.importorskip("torch")
  image = torch.tensor(IMAGE.transpose(0, 3, 1, 2), requires_grad=True)
  xy = torch.tensor(XY, requires_grad=True)
  grid = xy * torch.tensor([2 / 5, 2 / 4]) - 1
  want = torch.nn.functional.grid_sample(image, grid, padding_mode=padding, align_corners=True)
  want.square().sum().backward()
  got = warp.sample(jnp.asarray(IMAGE), jnp.asarray(XY), padding=padding)
  np.testing.assert_allclose(got, want.detach().numpy().transpose(0, 2, 3, 1), atol=1e-5)

  def loss(image, xy):
    return (warp.sample(image, xy, padding=padding) ** 2).sum()

  d_image, d_xy = jax.grad(loss, (0, 1))(jnp.asarray(IMAGE), jnp.asarray(XY))
  np.testing.assert_allclose(d_image, image.grad.numpy().transpose(0, 2, 3, 1), atol=1e-4)
  np.testing.assert_allclose(d_xy, xy.grad.numpy(), atol=1e-4)


def test_a_linear_image_is_sampled_exactly():
  y, x = np.meshgrid(np.arange(5.0), np.arange(6.0), indexing="ij")
  image = jnp.asarray((2 * x - 3 * y)[None, :, :, None], jnp.float32)
  xy = RNG.uniform(0, 4, (1, 3, 3, 2)).astype(np.float32)
  got = warp.sample(image, jnp.asarray(xy))
  np.testing.assert_allclose(got[..., 0], 2 * xy[..., 0] - 3 * xy[..., 1], atol=1e-5)


def test_outside_is_the_edge_or_zero_even_far_away():
  image, xy = jnp.ones((1, 3, 3, 1)), jnp.full((1, 1, 2, 2), 1e30)
  assert warp.sample(image, xy).ravel().tolist() == [1, 1]
  assert warp.sample(image, xy, padding="zeros").ravel().tolist() == [0, 0]


def test_warp_by_disparity_shifts_the_right_image():
  right = jnp.asarray(IMAGE)
  left = warp.warp_by_disparity(right, jnp.full((2, 5, 6), 2.0))
  np.testing.assert_allclose(left[:, :, 2:], IMAGE[:, :, :-2], atol=1e-6)
  np.testing.assert_allclose(left[:, :, 0], IMAGE[:, :, 0], atol=1e-6)
  half = warp.warp_by_disparity(right, jnp.full((2, 5, 6), -0.5))
  np.testing.assert_allclose(half[:, :, :-1], (IMAGE[:, :, :-1] + IMAGE[:, :, 1:]) / 2, atol=1e-6)


def test_shapes_and_padding_are_checked():
  with pytest.raises(ValueError, match="got"):
    warp.sample(jnp.zeros((1, 3, 3, 1)), jnp.zeros((2, 3, 3, 2)))
  with pytest.raises(ValueError, match="reflect"):
    warp.sample(jnp.zeros((1, 3, 3, 1)), jnp.zeros((1, 3, 3, 2)), padding="reflect")
  with pytest.raises(ValueError, match="got"):
    warp.warp_by_disparity(jnp.zeros((1, 3, 3, 1)), jnp.zeros((1, 3, 4)))
