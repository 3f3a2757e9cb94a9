"""Recipes: what a stage of a system trains, found by the name that its config gives."""

from collections.abc import Callable, Sequence
import functools
import importlib
from typing import TYPE_CHECKING

from bicross_jax import errors
from bicross_jax.config import check as checks

if TYPE_CHECKING:  # the rules of a system are read from this package before JAX is loaded
  from bicross_jax.train import state


def create(config, plugins: Sequence[str] = ()) -> "state.Recipe":
  """The recipe of `config.recipe`, "module:function"; the function takes the config.

  The module is the plug-in: a new system is a module anywhere on the path and a config naming it.
  Its functions are traced as `config.conv` says (`convolving`).

  Args:
    config: checked (`config.check`), with durations in steps.
    plugins: modules outside this package whose recipes may be run.

  Raises:
    errors.UserError: no such module or function, or one that may not be run.
  """
  checks.recipe_module(config, plugins)
  name, _, function = config.recipe.partition(":")
  module = importlib.import_module(name)
  make = getattr(module, function, None)
  if not callable(make):
    raise errors.UserError(f"recipe={config.recipe!r}: {name} has no function {function!r}")
  recipe = make(config)
  traced = ("train_step", "predict", "score", "inspect")
  return recipe._replace(**{name: convolving(config, getattr(recipe, name)) for name in traced})


def convolving(config, function: Callable | None) -> Callable | None:
  """A function to be traced as `config.conv` says: "exact" is without Winograd and without TF32."""
  if function is None or config.get("conv") != "exact":
    return function
  import jax

  @functools.wraps(function)
  def run(*args, **kwargs):
    with jax.default_matmul_precision("highest"):
      return function(*args, **kwargs)

  return run
