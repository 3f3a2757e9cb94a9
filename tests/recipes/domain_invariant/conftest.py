"""Configs, batches and parents of Akada et al.'s recipes, with toys for their networks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import models, recipes
from bicross_jax.config import grammar
from bicross_jax.recipes.domain_invariant import common
from tests.recipes.devices import on_one
from tests.recipes.domain_invariant import toy

SIDE = 64
PLAIN = ("augment.flip=0", "augment.rotate=0", "data.batch_size=2")


def load(stage: str, *overrides: str):
  """The config of a stage in smoke, with batches of two that are not augmented."""
  config = grammar.load(f"configs/domain_invariant.py:{stage},smoke", [*PLAIN, *overrides])
  return grammar.resolve_durations(config, 8)


def draw(spec, rows: int = 2, seed: int = 0):
  """A batch of random pictures for the spec of a recipe; of depth a quarter is unknown, and some is far."""
  rng = np.random.default_rng(seed)

  def one(name, x):
    if name == "rgb":
      return rng.integers(0, 256, (rows, *x.shape)).astype(np.uint8)
    depth = rng.uniform(1, 100, (rows, *x.shape)).astype(np.float32)
    return np.where(rng.random(depth.shape) < 0.25, 0, depth)

  return {
    name: draw(x, rows, seed + len(name)) if isinstance(x, dict) else jnp.asarray(one(name, x))
    for name, x in spec.items()
  }


def step_on_one(recipe):
  """Its train_step (state, batch, key), compiled; `state.local` has a device in front, as in the loop."""

  def step(state, batch, key):
    after, metrics = recipe.train_step(
      state.replace(local=jax.tree.map(lambda x: x[0], state.local)), batch, key
    )
    return after.replace(local=jax.tree.map(lambda x: x[None], after.local)), metrics

  return on_one(step)


class Learner(NamedTuple):
  """A recipe with toys for its networks, what it starts from, and a batch."""

  config: Any
  recipe: Any
  state: Any
  batch: Any


@pytest.fixture(scope="module")
def learner():
  """learner(stage, *overrides) -> Learner, with parents."""
  patch = pytest.MonkeyPatch()
  for name, kind in toy.MODELS.items():
    patch.setitem(models.MODELS, name, kind)

  def make(stage: str, *overrides: str) -> Learner:
    config = load(stage, *overrides)
    recipe = recipes.create(config)
    state = recipe.init(jax.random.key(0), given() if stage in ("ssrl", "finetune") else {})
    return Learner(config, recipe, state, draw(recipe.batch_spec()))

  yield make
  patch.undo()


def given():
  """Parents of the later stages: generators, and the network that learnt beside them; random ones."""
  config = load("translation")
  nets = {common.TASK: common.network(config), **common.translators(config)}
  made = {
    name: common.initialise(config, net, jax.random.fold_in(jax.random.key(9), i))
    for i, (name, net) in enumerate(nets.items())
  }
  variables = {
    kind: {name: tree[kind] for name, tree in made.items()} for kind in ("params", "batch_stats")
  }
  return dict.fromkeys(("generators", "task", "weights"), variables)


def alone(net, variables, x, i: int, views: int, *, remembered: bool = True, **options):
  """(what a network gives of a picture, its statistics), as of view i among several, with which it shares no norm.

  All others are the same picture: what drops out of it is what drops out of view i.
  """
  output, updates = net.apply(
    variables, jnp.concatenate([x] * views), mutable=["batch_stats"],
    views=tuple(remembered and k == i for k in range(views)), **options,
  )  # fmt: skip
  return jax.tree.map(lambda y: jnp.split(y, views)[i], output), updates["batch_stats"]


def moved(before, after) -> set[str]:
  """Paths of the leaves that differ: "encoder/stem/kernel"."""
  differs = jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)
  return {name for name, d in named(differs).items() if d}


def named(tree) -> dict[str, Any]:
  """{path of a leaf: it}."""
  path = lambda p: jax.tree_util.keystr(p, simple=True, separator="/")
  return {path(p): x for p, x in jax.tree_util.tree_leaves_with_path(tree)}
