"""Which camera a network of depth has learned metres of, and what its depth is for another one.

A network sees no focal length. Seen through a lens of twice the focal length, everything is twice as
large as the network has learned, and is said to be at half its distance: metres are
depth * (focal length / focal length in training), both in shares of the width where the network sees
whole pictures in a size of its own, and in pixels where it sees them as they are.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bicross_jax import errors

if TYPE_CHECKING:  # which loads JAX
  from bicross_jax.train.state import Camera


def trained(config, recipe) -> "Camera | None":
  """The camera of a network from its config; None for one of no depth, or whose recipe names none.

  What the recipe leaves open is said by the data set that it learned from, where that knows it.

  Args:
    config: of the network.
    recipe: `recipes.create(config)`.
  """
  camera = recipe.camera
  if config.task != "depth" or camera is None:
    return None
  if not (camera.focal and camera.baseline):
    focal, baseline = _of_data(config.data)
    camera = camera._replace(focal=camera.focal or focal, baseline=camera.baseline or baseline)
  return camera._replace(width=0 if camera.whole else config.data.width)


def of_checkpoint(meta: Mapping[str, Any], config, recipe) -> "Camera | None":
  """The camera that the `meta` of a checkpoint names; of one that names none as `trained`."""
  if "camera" not in meta:
    return trained(config, recipe)
  from bicross_jax.train.state import Camera

  return Camera(**meta["camera"]) if meta["camera"] else None


def rescaling(camera: "Camera", focal: float, width: int) -> float:
  """What depth is multiplied by for another camera.

  Args:
    camera: that the network learned with; its `focal` is known.
    focal: of the other camera, pixels.
    width: of its pictures, pixels.
  """
  if camera.whole:
    return focal / width / camera.focal
  return focal / (camera.focal * camera.width)


def _of_data(config) -> tuple[float, float]:
  """(focal length over the view's width, baseline in metres) of a data section; 0: not known."""
  from bicross_jax.data import sets

  try:
    return sets.get(config.name).camera(config)
  except errors.UserError:  # the set, or its files, are not there any more
    return 0.0, 0.0
