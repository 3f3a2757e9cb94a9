"""Intersections against closed forms and against a march along the ray."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.sim import camera, shapes
from bicross_jax.sim.shapes import Vec


def vec(*xyz):
  return Vec(*(jnp.asarray(c, jnp.float32) for c in xyz))


def test_sphere_ahead_and_missed():
  d = vec([0.0, 0.0], [0.0, 1.0], [1.0, 1.0])
  t = shapes.hit_spheroid(vec(0, 0, -10), d, jnp.float32(2.0), jnp.float32(2.0))
  np.testing.assert_allclose(t, [8.0, shapes.FAR], rtol=1e-6)


def test_box_turned_by_a_right_angle():
  half = vec(1.0, 2.0, 3.0)
  cos, sin = jnp.float32(0.0), jnp.float32(1.0)
  o, d = shapes.to_local(vec(0, 0, -10), cos, sin), shapes.to_local(vec(0, 0, 1), cos, sin)
  assert float(shapes.hit_box(o, d, half)) == pytest.approx(9.0, rel=1e-6)  # half width 1 faces us


def test_yaw_turns_forward_towards_right():
  yaw = jnp.float32(0.3)
  v = shapes.to_world(vec(0, 0, 1), jnp.cos(yaw), jnp.sin(yaw))
  np.testing.assert_allclose([v.x, v.y, v.z], [np.sin(0.3), 0, np.cos(0.3)], atol=1e-6)
  back = shapes.to_local(v, jnp.cos(yaw), jnp.sin(yaw))
  np.testing.assert_allclose([back.x, back.y, back.z], [0, 0, 1], atol=1e-6)


def test_box_is_left_where_its_wall_is():
  t = shapes.leave_box(vec(0.5, 0, 0), vec([1.0, 0.0], [0.0, -0.1], [0.0, 1.0]), vec(2, 1, 5))
  np.testing.assert_allclose(t, [1.5, 5.0], rtol=1e-6)


def test_frustum_leans_inwards():
  """At height y above its bottom the face stands back by taper * y / (2 half height)."""
  half, taper = vec(1.0, 0.5, 2.0), jnp.float32(0.8)
  y = np.array([0.4, 0.0, -0.4], np.float32)  # downwards from the centre
  d = vec([0.0] * 3, [0.0] * 3, [1.0] * 3)
  t = shapes.hit_frustum(Vec(jnp.zeros(3), jnp.asarray(y), jnp.full(3, -10.0)), d, half, taper)
  np.testing.assert_allclose(t, 10 - (2 - 0.8 * (0.5 - y)), rtol=1e-5)


def test_cylinder_side_and_cap():
  d = vec([0.0, 0.0], [0.0, 1.0], [1.0, 0.0])
  o = Vec(jnp.array([0.6, 0.2]), jnp.array([0.0, -5.0]), jnp.array([-10.0, 0.1]))
  t = shapes.hit_cylinder(o, d, jnp.float32(1.0), jnp.float32(2.0))
  np.testing.assert_allclose(t, [10 - 0.8, 3.0], rtol=1e-5)


INSIDE = {
  "box": lambda p, h, k: (np.abs(p) <= h).all(-1),
  "frustum": lambda p, h, k: (
    (np.abs(p[..., 1]) <= h[1])
    & (np.abs(p[..., 2]) <= h[2] - k * (h[1] - p[..., 1]) / (2 * h[1]))
    & (np.abs(p[..., 0]) <= h[0] - k / 3 * (h[1] - p[..., 1]) / (2 * h[1]))
  ),
  "cylinder": lambda p, h, k: (
    (p[..., 0] ** 2 + p[..., 2] ** 2 <= h[0] ** 2) & (np.abs(p[..., 1]) <= h[1])
  ),
  "spheroid": lambda p, h, k: (
    (p[..., 0] ** 2 + p[..., 2] ** 2) / h[0] ** 2 + p[..., 1] ** 2 / h[1] ** 2 <= 1
  ),
}


@pytest.mark.parametrize("kind", INSIDE)
def test_against_a_march_along_the_ray(kind):
  rng = np.random.default_rng(0)
  half, taper = np.array([0.9, 0.7, 1.3]), 0.6
  n = 300
  o = rng.normal(size=(n, 3))
  o = 6 * o / np.linalg.norm(o, axis=1, keepdims=True)
  d = rng.uniform(-1, 1, (n, 3)) - o
  steps = np.linspace(0, 2, 20001)
  inside = np.stack([INSIDE[kind](a + steps[:, None] * b, half, taper) for a, b in zip(o, d)])
  expected = np.where(inside.any(1), steps[inside.argmax(1)], np.inf)
  grazing = inside.sum(1) < 30
  origin, way, size = vec(*o.T), vec(*d.T), vec(*half)
  got = {
    "box": lambda: shapes.hit_box(origin, way, size),
    "frustum": lambda: shapes.hit_frustum(origin, way, size, jnp.float32(taper)),
    "cylinder": lambda: shapes.hit_cylinder(origin, way, size.x, size.y),
    "spheroid": lambda: shapes.hit_spheroid(origin, way, size.x, size.y),
  }[kind]()
  got = np.where(np.asarray(got) < shapes.FAR, np.asarray(got), np.inf)
  sure = ~grazing
  assert np.isfinite(expected[sure]).sum() > 50
  np.testing.assert_allclose(got[sure], expected[sure], atol=3e-4)
  missed = ~inside.any(1)
  assert np.isinf(got[missed]).mean() > 0.97  # the march may step over a corner


def _some_solids(key):
  def shape(key, n):
    a, b, c = jax.random.split(key, 3)
    yaw = jax.random.uniform(c, (n,), maxval=3.0)
    return shapes.Shapes(
      jax.random.uniform(a, (n, 3), minval=-4, maxval=4) + jnp.array([[0.0, 0.0, 9.0]]),
      jax.random.uniform(b, (n, 3), minval=0.4, maxval=1.5),
      jnp.stack([jnp.cos(yaw), jnp.sin(yaw)], 1),
      jnp.full((n,), 0.3),
      jnp.ones((n, 3)),
    )

  return shapes.Solids(*(shape(k, n) for k, n in zip(jax.random.split(key, 4), (2, 3, 2, 3))))


def test_nearest_names_the_closest_solid():
  solids = _some_solids(jax.random.key(0))
  d = vec(*np.random.default_rng(0).uniform(-0.4, 0.4, (2, 200)), np.ones(200))
  t, which = jax.jit(shapes.nearest)(solids, vec(0, 0, 0), d)
  alone = []
  for kind in range(4):
    for i in range(shapes.counts(solids)[kind]):
      only = [jax.tree.map(lambda x: x[:0], s) for s in solids]
      only[kind] = jax.tree.map(lambda x, i=i: x[i : i + 1], solids[kind])
      alone.append(shapes.nearest(shapes.Solids(*only), vec(0, 0, 0), d)[0])
  alone = np.stack(alone)
  np.testing.assert_allclose(t, alone.min(0), rtol=1e-6)
  met = alone.min(0) < shapes.FAR
  assert 50 < met.sum()
  np.testing.assert_array_equal(np.asarray(which)[met], alone.argmin(0)[met])
  np.testing.assert_array_equal(shapes.blocked(solids, vec(0, 0, 0), d), alone.min(0) < 1)


@pytest.mark.parametrize("top", [0, 24, 72])
def test_solids_outside_a_picture_are_left_out_and_no_others(top):
  """Rows of a picture: the same as by all solids, from some of them."""
  matrix = jnp.array([[90.0, 0, 79.5], [0, 90, 47.5 - top], [0, 0, 1]])
  yaw = 0.4
  cos, sin = math.cos(yaw), math.sin(yaw)
  pose = camera.Pose(vec(0.5, -1, 1), vec(cos, 0, -sin), vec(0, 1, 0), vec(sin, 0, cos))
  d, inside = camera.rays(pose, matrix, 24, 160, 2), camera.sides(pose, matrix, 24, 160)
  kept = 0
  for seed in range(5):
    solids = _some_solids(jax.random.key(seed))
    some = shapes.nearest(solids, pose.position, d, inside)
    for have, want in zip(some, shapes.nearest(solids, pose.position, d), strict=True):
      np.testing.assert_array_equal(have, want)
    kept += sum(int(shapes._reach(s, pose.position, inside).sum()) for s in solids)
  assert 5 < kept < 45  # of 50


def test_solids_move_with_their_velocity():
  solids = _some_solids(jax.random.key(0))
  later = shapes.moved(solids, 0.5)
  np.testing.assert_allclose(later.boxes.centre, solids.boxes.centre + 0.5, rtol=1e-6)
