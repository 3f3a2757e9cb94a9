"""Depth and labels of scenes whose geometry is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.sim import camera, domains, render, scene
from bicross_jax.sim.scene import group, look
from bicross_jax.sim.shapes import Vec

HEIGHT, WIDTH = 36, 60
EYE, SPHERE, WALL = 1.5, (0.8, 9.0, 1.1), 30.0  # camera height; x, z, radius; z of a house front
KERB, WALK = 3.0, 2.0


def known_scene():
  def one(kind, label, **place):
    here = dict(x=0.0, z=0.0, bottom=0.0, half_x=1.0, half_y=1.0, half_z=1.0)
    surface = look(1, (0.5, 0.5, 0.5), label)
    return group(kind, **{**here, **place}, surface=surface, present=bool(place))

  x, z, radius = SPHERE
  ball = one("spheroids", scene.HUMAN, x=x, z=z, half_x=radius, half_y=radius, half_z=radius)
  house = one("boxes", scene.CONSTRUCTION, x=-12.0, z=WALL + 5, half_x=10.0, half_y=6.0, half_z=5.0)
  solids, surfaces = scene.assemble(
    [ball, house, one("frusta", 5), one("cylinders", 2)],
    look(1, (0.1, 0.1, 0.1), scene.FLAT),
    look(1, (0.0, 0.0, 0.0), scene.CONSTRUCTION),
  )
  far = jnp.float32(1e4)
  road = scene.Road(
    jnp.zeros(()),
    jnp.zeros(()),
    jnp.float32(KERB),
    jnp.float32(WALK),
    jnp.float32(1.0),
    far,
    jnp.float32(6.0),
  )
  colour = jnp.ones(3)
  light = scene.Lighting(
    jnp.array([0.0, -1e4, 0.0]),
    jnp.float32(1.0),
    0.0,
    colour,
    colour,
    colour,
    jnp.float32(0.4),
    jnp.float32(0.0),
    jnp.zeros((1, 4)),
    0.0,
    0.0,
    jnp.float32(1.0),
    1.0,
    jnp.float32(0.0),
    jnp.float32(1.0),
  )
  return scene.Scene(solids, surfaces, road, None, light)


def level_pose():
  """Straight ahead, from EYE metres above the ground."""

  def axis(*v):
    return Vec(*(jnp.float32(c) for c in v))

  return camera.Pose(axis(0, -EYE, 0), axis(1, 0, 0), axis(0, 1, 0), axis(0, 0, 1))


@pytest.fixture(scope="module")
def seen():
  """depth, label, linear image, and numpy ray slopes a (right), b (down) of the known scene."""
  matrix = camera.intrinsics(domains.DOMAINS["clear"].rig, HEIGHT, WIDTH)
  size = dict(height=HEIGHT, width=WIDTH)
  world = known_scene()
  depth, label = jax.jit(lambda: render.depth_and_label(world, level_pose(), matrix, **size))()
  image = jax.jit(lambda: render.view(world, level_pose(), matrix, **size))()
  focal = 0.6 * WIDTH
  a, b = np.meshgrid(
    (np.arange(WIDTH) - (WIDTH - 1) / 2) / focal, (np.arange(HEIGHT) - (HEIGHT - 1) / 2) / focal
  )
  return np.asarray(depth), np.asarray(label), np.asarray(image), a, b


def expected_depth(a, b):
  """(sphere, house, ground) z-depths by the quadratic formula and similar triangles, float64."""
  x, z, radius = SPHERE
  c = np.array([x, EYE - radius, z])
  q, m = a * a + b * b + 1, a * c[0] + b * c[1] + c[2]
  room = m * m - q * (c @ c - radius**2)
  sphere = np.where(room > 0, (m - np.sqrt(np.maximum(room, 0))) / q, np.inf)
  front = (np.abs(a * WALL + 12) < 10) & (b * WALL < EYE) & (b * WALL > EYE - 12)
  house = np.where(front, WALL, np.inf)
  ground = np.where(b > 0, EYE / np.maximum(b, 1e-9), np.inf)
  return sphere, house, ground


def test_depth_is_exact(seen):
  depth, _, _, a, b = seen
  expected = np.minimum.reduce(expected_depth(a, b))
  expected = np.where(expected <= render.FAR_LIMIT, expected, 0)
  side = (a < -2 / WALL) & (np.abs(a * WALL + 2) < 1.0)  # near the house's visible flank
  np.testing.assert_allclose(depth[~side], expected[~side], rtol=2e-5)
  assert (depth == 0).sum() > 100


def test_labels_follow_the_nearest_surface(seen):
  depth, label, _, a, b = seen
  sphere, house, ground = expected_depth(a, b)
  first = np.argmin(np.stack([sphere, house, ground]), 0)
  clear = np.isfinite(np.minimum(sphere, ground)) & (np.abs(np.abs(a * ground) - 5) > 0.01)
  assert (label[(first == 0) & np.isfinite(sphere)] == scene.HUMAN).all()
  assert (label[(first == 1)] == scene.CONSTRUCTION).all()
  on_ground = (first == 2) & clear
  beyond = np.abs(a * np.where(on_ground, ground, 0)) > KERB + WALK
  np.testing.assert_array_equal(
    label[on_ground], np.where(beyond, scene.NATURE, scene.FLAT)[on_ground]
  )
  sky = ~np.isfinite(np.minimum(np.minimum(sphere, house), ground))
  sky &= depth == 0
  assert (label[sky] == scene.CONSTRUCTION).all()


def test_shadow_lies_under_the_sphere(seen):
  """The sun stands in the zenith: the ground is dark within the sphere's radius of its foot."""
  _, label, image, a, b = seen
  x, z, radius = SPHERE
  _, _, ground = expected_depth(a, b)
  flat = (label == scene.FLAT) & (ground < 14)
  away = np.hypot(np.where(flat, a * ground, 0) - x, np.where(flat, ground, 0) - z)
  light = image.mean(-1)
  asphalt = flat & (np.abs(np.where(flat, a * ground, 0)) < KERB - 0.5)
  asphalt &= np.abs(np.where(flat, a * ground, 0)) > 0.3  # not the centre line
  shaded, open_ = asphalt & (away < 0.75 * radius), asphalt & (away > 1.4 * radius)
  assert shaded.sum() >= 3 and open_.sum() > 50
  assert light[shaded].mean() < 0.5 * light[open_].mean()


def test_pose_axes_are_orthonormal_and_pitch_looks_down():
  motion = camera.Motion(
    Vec(*jnp.zeros(3)), jnp.array([0.3, 0.1, 0.05]), Vec(*jnp.ones(3)), jnp.zeros(3)
  )
  pose = camera.pose(motion, 0.5)
  axes = np.array([[*pose.right], [*pose.down], [*pose.forward]])
  np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)
  assert np.linalg.det(axes) == pytest.approx(1, abs=1e-5)
  assert axes[2, 1] > 0 and axes[2, 0] > 0
  np.testing.assert_allclose([*pose.position], [0.5] * 3)
