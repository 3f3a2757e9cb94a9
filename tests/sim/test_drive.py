"""A drive: its frames fit each other as the camera's way says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.sim import camera, domains, drive, render, world

CLEAR = domains.DOMAINS["clear"]
HEIGHT, WIDTH, FPS = 48, 80, 2.0


@pytest.fixture(scope="module")
def frames():
  return list(
    drive.frames(jax.random.key(5), CLEAR, 3, height=HEIGHT, width=WIDTH, steps=64, fps=FPS)
  )


def _pose(time):
  """Place and axes (rows right, down, forward) of the camera in the first scene."""
  start, motion = _scene()
  pose = camera.pose(drive.along(start, motion, time), 0.0)
  return np.array(pose.position), np.array([pose.right, pose.down, pose.forward])


@functools.cache
def _scene():
  return jax.jit(lambda key: world.draw(key, CLEAR))(jax.random.fold_in(jax.random.key(5), 0))


def test_frames_are_of_the_kind_of_examples(frames):
  for frame in frames:
    assert frame["rgb"].shape == (HEIGHT, WIDTH, 3) and frame["rgb"].dtype == np.uint8
    assert frame["spike"].shape == (HEIGHT, WIDTH, 8) and frame["spike"].dtype == np.uint8
    assert frame["depth"].shape == (HEIGHT, WIDTH) and (frame["depth"] > 0).mean() > 0.5
  assert not np.array_equal(frames[0]["spike"], frames[1]["spike"])


def test_points_of_one_frame_are_found_in_the_next(frames):
  """Ordinary two-view geometry: a point seen at depth z is at the depth its new place says."""
  matrix = np.asarray(camera.intrinsics(CLEAR.rig, HEIGHT, WIDTH), np.float64)
  v, u = np.mgrid[:HEIGHT, :WIDTH]
  rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(matrix).T
  (here, axes), (there, turned) = _pose(0.0), _pose(1 / FPS)
  assert np.linalg.norm(there - here) == pytest.approx(drive.SPEED / FPS, rel=0.01)
  depth = frames[0]["depth"]
  points = (rays * depth[..., None]) @ axes + here
  seen = (points - there) @ turned.T
  x, y, z = np.moveaxis(seen @ matrix.T, -1, 0)
  with np.errstate(divide="ignore", invalid="ignore"):
    column, row = np.round(x / z), np.round(y / z)
  inside = (depth > 0) & (z > 0) & (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
  found = frames[1]["depth"][row[inside].astype(int), column[inside].astype(int)]
  error = np.abs(found - z[inside]) / z[inside]
  assert inside.mean() > 0.3
  assert np.median(error) < 0.02  # half a pixel's rounding on a slanted road
  assert np.mean(error < 0.1) > 0.85  # the rest was covered, or moves by itself


def test_a_new_scene_after_its_time(frames, monkeypatch):
  monkeypatch.setattr(drive, "LENGTH", 1.0)
  again = list(
    drive.frames(jax.random.key(5), CLEAR, 3, height=HEIGHT, width=WIDTH, steps=64, fps=FPS)
  )
  for a, b in zip(frames[:2], again[:2]):
    jax.tree.map(np.testing.assert_array_equal, a, b)
  assert np.mean(np.abs(again[2]["depth"] - frames[2]["depth"]) > 1) > 0.2


def test_in_a_room_the_camera_looks_around_in_its_place():
  start, motion = _scene()
  start = start._replace(road=None)
  for time in (0.0, 1.5, 3.0):
    moved = drive.along(start, motion, time)
    assert moved.position == motion.position
    turned = float(moved.angles[0] - motion.angles[0])
    assert turned == pytest.approx(0.35 * np.sin(2 * np.pi * time / 6.0), abs=1e-5)
  rate = jax.jacfwd(lambda t: drive.along(start, motion, t).angles[0])(0.7)
  assert float(drive.along(start, motion, 0.7).rates[0]) == pytest.approx(float(rate), rel=1e-4)


def test_rain_comes_along():
  """The rain that a camera sees does not depend on where its planes are counted from."""
  start, motion = _scene()
  matrix = camera.intrinsics(CLEAR.rig, 24, 40)

  @jax.jit
  def cover(z, seconds):
    position = camera.Vec(jnp.zeros(()), jnp.float32(-1.5), z)
    pose = camera.pose(motion._replace(position=position), 0.0)
    rays = camera.rays(pose, matrix, 24, 40, 1)
    return render._rain(start, pose, rays, jnp.full((24, 40), 50.0), 0.0, 1.0, (z, seconds))

  here, there, later = (np.asarray(cover(*at)) for at in ((0.0, 0.0), (16.0, 0.0), (16.0, 0.3)))
  assert here.mean() > 0.01
  np.testing.assert_allclose(there, here, atol=1e-3)
  assert np.mean(np.abs(later - here) > 0.1) > 0.01
