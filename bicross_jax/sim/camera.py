"""A pinhole camera that moves, and the rays of its pixels.

Pixel (row v, column u) has its centre at whole (u, v), as in OpenCV and KITTI; the camera's axes
are x right, y down, z forward. Rays are scaled to 1 along the optical axis, so that a ray's
parameter is the z-depth.
"""

from typing import NamedTuple

import jax.numpy as jnp

from bicross_jax.sim import domains, scene
from bicross_jax.sim.shapes import Vec

BIG_YAW = 4.0  # a fifth of the scenes is seen with this many times the usual heading error
_BIG_YAW_SHARE = 0.2


class Motion(NamedTuple):
  """A camera at the middle of the window and how it moves.

  Attributes:
    position: Vec of scalars, metres, world axes.
    angles: float32[3], yaw (towards +x), pitch (down), roll, radians.
    velocity: Vec of scalars, metres a second.
    rates: float32[3], radians a second of the angles.
  """

  position: Vec
  angles: jnp.ndarray
  velocity: Vec
  rates: jnp.ndarray


class Pose(NamedTuple):
  """A camera at an instant: its place and its axes in world axes, Vecs of scalars."""

  position: Vec
  right: Vec
  down: Vec
  forward: Vec


def draw(draws: scene.Draws, rig: domains.Rig) -> Motion:
  """A rig's camera at x = z = 0, roughly looking along +z."""
  yaw = draws(-rig.yaw, rig.yaw) * jnp.where(draws.chance(_BIG_YAW_SHARE), BIG_YAW, 1.0)
  angles = jnp.deg2rad(jnp.stack([yaw, draws(*rig.pitch), draws(-rig.roll, rig.roll)]))
  speed, heading = draws(*rig.speed), draws(-0.1, 0.1)
  zero = jnp.zeros(())
  return Motion(
    position=Vec(zero, -draws(*rig.height), zero),
    angles=angles,
    velocity=Vec(speed * jnp.sin(heading), speed * draws(-0.02, 0.02), speed * jnp.cos(heading)),
    rates=jnp.deg2rad(draws(-rig.turn, rig.turn, (3,))),
  )


def pose(motion: Motion, time) -> Pose:
  """The camera `time` seconds after the window's middle."""
  yaw, pitch, roll = motion.angles + motion.rates * time
  forward = Vec(jnp.sin(yaw) * jnp.cos(pitch), jnp.sin(pitch), jnp.cos(yaw) * jnp.cos(pitch))
  level = Vec(jnp.cos(yaw), jnp.zeros_like(yaw), -jnp.sin(yaw))
  below = Vec(
    forward.y * level.z - forward.z * level.y,
    forward.z * level.x - forward.x * level.z,
    forward.x * level.y - forward.y * level.x,
  )
  right = level * jnp.cos(roll) + below * jnp.sin(roll)
  down = below * jnp.cos(roll) - level * jnp.sin(roll)
  return Pose(motion.position + motion.velocity * time, right, down, forward)


def beside(camera: Pose, baseline) -> Pose:
  """The stereo partner, `baseline` metres to the right."""
  return camera._replace(position=camera.position + camera.right * baseline)


def intrinsics(rig: domains.Rig, height: int, width: int):
  """float32[3, 3], pixels; the principal point is the image's centre."""
  focal = rig.focal * width
  return jnp.array(
    [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]], jnp.float32
  )


def sides(camera: Pose, matrix, height: int, width: int) -> tuple[Vec, ...]:
  """Normals of the four planes through the camera that bound an image's rays; they point inwards.

  Args:
    camera: the pose.
    matrix: float32[3, 3] intrinsics.
    height, width: of the image.

  Returns:
    Vecs of scalars, not of unit length: left, right, top, bottom (`shapes.nearest`).
  """
  (left, right), (top, bottom) = (
    ((-0.5 - centre) / focal, (size - 0.5 - centre) / focal)
    for size, centre, focal in (
      (width, matrix[0, 2], matrix[0, 0]),
      (height, matrix[1, 2], matrix[1, 1]),
    )
  )
  return (
    camera.right - camera.forward * left,
    camera.forward * right - camera.right,
    camera.down - camera.forward * top,
    camera.forward * bottom - camera.down,
  )


def rays(camera: Pose, matrix, height: int, width: int, samples: int) -> Vec:
  """Directions of samples x samples rays a pixel, evenly placed within it.

  Args:
    camera: the pose.
    matrix: float32[3, 3] intrinsics.
    height, width: of the image.
    samples: along each side of a pixel; 1 gives the rays of the pixels' centres.

  Returns:
    Vec of float32[height * samples, width * samples], 1 along the optical axis.
  """
  v = (jnp.arange(height * samples) + 0.5) / samples - 0.5
  u = (jnp.arange(width * samples) + 0.5) / samples - 0.5
  a = ((u - matrix[0, 2]) / matrix[0, 0])[None, :]
  b = ((v - matrix[1, 2]) / matrix[1, 1])[:, None]
  return camera.forward + camera.right * a + camera.down * b
