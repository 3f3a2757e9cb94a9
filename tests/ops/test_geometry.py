"""The pinhole camera: there and back again, and as OpenCV projects."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import geometry

K = np.array([[721.5, 0.7, 309.6], [0, 655.2, 172.9], [0, 0, 1]])


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
@pytest.mark.parametrize("xp", [np, jnp])
def test_there_and_back_again(xp, lead):
  depth = np.random.default_rng(0).uniform(0.5, 80, (*lead, 7, 9)).astype(np.float32)
  points = geometry.back_project(xp.asarray(depth), xp.asarray(K, np.float32))
  assert isinstance(points, jax.Array if xp is jnp else np.ndarray)
  assert points.shape == (*lead, 7, 9, 3) and points.dtype == np.float32
  pixels, z = geometry.project(points, xp.asarray(K, np.float32))
  np.testing.assert_array_equal(z, depth)
  rows, columns = np.indices((7, 9))
  want = np.broadcast_to(np.stack([columns, rows], -1), (*lead, 7, 9, 2))
  np.testing.assert_allclose(pixels, want, atol=2e-4)


def test_points_are_those_of_the_inverse_matrix():
  depth = np.random.default_rng(1).uniform(0.5, 80, (4, 5))
  v, u = np.indices((4, 5))
  want = np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]).reshape(3, -1) * depth.reshape(1, -1)
  got = geometry.back_project(depth, K).reshape(-1, 3)
  np.testing.assert_allclose(got.T, want, rtol=1e-12, atol=1e-12)


def test_points_are_seen_where_opencv_sees_them():
  points = np.random.default_rng(2).uniform((-5, -3, 1), (5, 3, 60), (50, 3))
  straight = K * (1 - np.eye(3, k=1))  # OpenCV knows no skew
  want, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), straight, None)
  got, z = geometry.project(points, straight)
  np.testing.assert_allclose(got, want[:, 0], rtol=1e-10)
  np.testing.assert_array_equal(z, points[:, 2])


def test_it_can_be_differentiated_and_compiled():
  depth = jnp.full((3, 4), 2.0)
  loss = lambda depth: geometry.back_project(depth, jnp.asarray(K, jnp.float32)).sum()
  gradient = jax.jit(jax.grad(loss))(depth)
  rays = geometry.back_project(np.ones((3, 4)), K).sum(-1)
  np.testing.assert_allclose(gradient, rays, rtol=1e-4)
