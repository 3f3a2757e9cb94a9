"""Recipes: what a stage of a system trains, found by the name that its config gives."""

import importlib.util

from bicross_jax import errors
from bicross_jax.train import state


def create(config) -> state.Recipe:
  """The recipe of `config.recipe`, "module:function"; the function takes the config.

  The module is the plug-in: a new system is a module anywhere on the path and a config naming it.

  Raises:
    errors.UserError: no such module or function.
  """
  module, _, function = config.recipe.partition(":")
  if importlib.util.find_spec(module) is None:
    raise errors.UserError(f"recipe={config.recipe!r}: there is no module {module}")
  make = getattr(importlib.import_module(module), function, None)
  if make is None:
    raise errors.UserError(f"recipe={config.recipe!r}: {module} has no function {function!r}")
  return make(config)
