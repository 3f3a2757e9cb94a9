"""The registry of data sets: {name in configs: DataSet}."""

from typing import Any

from bicross_jax import errors
from bicross_jax.data import world
from bicross_jax.data.dataset import DataSet
from bicross_jax.data.layouts import (
  custom,
  ddd17_ess,
  dense,
  drivingstereo,
  dsec,
  dsec_semantic,
  kitti,
  kitti_2015,
  kitti_stereo,
  make3d,
  mvsec,
  nyu,
  nyu_test,
  respike,
  side_by_side,
  vkitti,
)
from bicross_jax.names import nearest

SETS: dict[str, DataSet] = {
  known.name: known
  for known in (
    world.SET,
    custom.SET,
    ddd17_ess.SET,
    dense.SET,
    drivingstereo.SET,
    drivingstereo.WEATHER,
    dsec.SET,
    dsec_semantic.SET,
    kitti.SET,
    kitti_2015.SET,
    kitti_stereo.SET,
    make3d.SET,
    make3d.WHOLE,
    mvsec.SET,
    nyu.SET,
    nyu_test.SET,
    respike.SET,
    side_by_side.DDD17,
    side_by_side.MVSEC,
    vkitti.SET,
  )
}


def register(dataset: DataSet) -> DataSet:
  """Makes a set of another package known under its name; returns it.

  Raises:
    ValueError: another set has that name.
  """
  if SETS.setdefault(dataset.name, dataset) is not dataset:
    raise ValueError(f"there is a data set {dataset.name!r} already")
  return dataset


def get(name: str) -> DataSet:
  """The set of a name; errors.UserError where there is none."""
  if name not in SETS:
    raise errors.UserError(f"unknown data set {name!r}{nearest(name, sorted(SETS))}")
  return SETS[name]


def check(config: Any, section: str = "data") -> DataSet:
  """The set that a data section names, when the section can be right; builds nothing.

  Args:
    config: the section.
    section: its name.

  Raises:
    errors.UserError: an unknown set or domain, a size, a policy or a folder that does not work.
  """
  known = get(config.name)
  if config.domain not in known.domains:
    raise errors.UserError(
      f"unknown domain {config.domain!r} of {config.name} (config.{section}.domain): choose from "
      f"{', '.join(known.domains)}"
    )
  known.check(config, section)
  return known
