"""What an EPCDepth network sees and says, in metres and in pixels of disparity.

The equations are those of docs/systems/epcdepth.md.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bicross_jax import models
from bicross_jax.ops import resize
from bicross_jax.train.state import AXIS

DECODED = 5  # of the ten maps, those of the decoder; the encoder's come after them


def network(config):
  """The linen module of `config.model`."""
  options = dict(config.model)
  return models.create(options.pop("name"), axis_name=AXIS, **options)


def initialise(config, module, key: jax.Array) -> dict[str, Any]:
  """Random variables of the network of a config."""
  return models.init(module, key, (1, config.data.height, config.data.width, 3))


def image(rgb: jax.Array) -> jax.Array:
  """uint8[B, H, W, 3] -> float32 in 0..1."""
  return rgb.astype(jnp.float32) / 255


def scaled(config, maps: jax.Array) -> jax.Array:
  """Disparities of the network in 0..1 -> 1 / depth in units of `config.rig.unit` metres."""
  far, near = 1 / config.rig.max_depth, 1 / config.rig.min_depth
  return far + (near - far) * maps


def pixels(config, batch: Mapping[str, jax.Array], width: int) -> jax.Array:
  """Pixels of disparity for every metre of 1 / depth, float32[B]; negative for a left partner.

  It is focal length times baseline: those of `config.rig` or, where they are 0, those of the batch. The
  sign is the batch's in either case.

  Args:
    config: its section `rig`.
    batch: with `baseline`, and `intrinsics` where the focal length is not given.
    width: of the images.
  """
  rig, baseline = config.rig, batch["baseline"]
  if rig.baseline:
    baseline = jnp.sign(baseline) * rig.baseline
  focal = rig.focal * width if rig.focal else batch["intrinsics"][:, 0, 0]
  return focal * baseline


def hints(config, batch: Mapping[str, jax.Array], width: int) -> jax.Array:
  """`depth_hint` in the metres that the network learns, float32[B, H, W], 0 where there is none.

  Hints are metres of the rig that took the pair. Where `config.rig` names another one, what they share is
  the disparity in pixels.
  """
  true = batch["intrinsics"][:, 0, 0] * batch["baseline"]
  return batch["depth_hint"] * (pixels(config, batch, width) / true)[:, None, None]


def frames(maps, size: tuple[int, int]) -> jax.Array:
  """Maps of several sizes, float32[B, h, w] each, bilinearly in one: float32[K, B, H, W]."""
  fit = lambda x: resize.bilinear(x[..., None], size)[..., 0] if x.shape[1:] != size else x
  return jnp.stack([fit(x) for x in maps])


def predictor(config, module, *, feature: bool = False):
  """The predict function of a recipe: {"depth": float32[B, h, w]}, metres.

  `config.output` says which map: 0, 1 or 2, each at its own resolution, or -1, the mean of the three at
  the images' size. With `feature` it also gives what the first map is read from.
  """

  def predict(variables, batch, carry=()):
    x = image(batch["rgb"])
    output = module.apply(variables, x)
    if config.output < 0:
      disparity = frames(output.maps[:3], x.shape[1:3]).mean(0)
    else:
      disparity = output.maps[config.output]
    out = {"depth": config.rig.unit / scaled(config, disparity)}
    return (out | {"feature": output.feature} if feature else out), carry

  return predict
