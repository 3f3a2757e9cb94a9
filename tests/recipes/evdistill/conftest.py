"""Configs and batches of EvDistill's recipes, and recipes with toys for their networks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import models
from bicross_jax.config import grammar
from bicross_jax.recipes.evdistill import common, student
from tests.recipes.evdistill import toy
from tests.recipes.evdistill.toy import SIZE

PLAIN = ("augment.flip=0", "augment.jitter=0", "augment.scales=")
SMALL = (f"data.height={SIZE[0]}", f"data.width={SIZE[1]}", "data.batch_size=2")
EVERYTHING = (
  "regime=with_event_labels",
  "target.sensors=event_image,rgb,label",
  "aligned=True",
  "model.reconstruction=dual_v3",
  "distill.mutual=1",
)


def load(stage: str, *overrides: str):
  """The config of a stage in smoke, with the smallest pictures."""
  config = grammar.load(f"configs/evdistill.py:{stage},smoke", [*SMALL, *overrides])
  return grammar.resolve_durations(config, 8)


def draw(spec, rows: int = 2, seed: int = 0):
  """A batch of random pictures, and labels of which a part is ignored, for the spec of a recipe."""
  rng = np.random.default_rng(seed)

  def one(name, x):
    shape = (rows, *x.shape)
    if name == "label":
      return rng.choice(np.uint8([0, 1, 2, 3, 4, 5, 255]), shape)
    return rng.integers(0, 256, shape).astype(np.uint8)

  return {
    name: draw(x, rows, seed + len(name)) if isinstance(x, dict) else jnp.asarray(one(name, x))
    for name, x in spec.items()
  }


class Learner(NamedTuple):
  """A student's recipe with toys for its networks, and what it starts from."""

  config: Any
  recipe: Any
  state: Any
  batch: Any
  nets: tuple[Any, ...]  # network, generators, discriminators

  def losses(self, params, state, batch):
    """`student.losses`: (parts, new statistics, fakes)."""
    return student.losses(self.config, *self.nets, params, state, batch, jax.random.key(0))


@pytest.fixture(scope="module")
def learner():
  """learner(*overrides) -> Learner, with all of `EVERYTHING` but for what is overridden."""
  patch = pytest.MonkeyPatch()
  patch.setattr(common, "network", lambda config: toy.Segmenter(config.model.reconstruction))
  patch.setattr(student, "translators", toy.translators)

  def make(*overrides: str, everything: bool = True, parents=None) -> Learner:
    config = load("student", *PLAIN, *(EVERYTHING if everything else ()), *overrides)
    module, recipe = common.network(config), student.create(config)
    teacher = models.init(toy.Segmenter(), jax.random.key(5), (1, *SIZE, 3))
    parents = {"teacher": teacher, **(parents or {})}
    state = recipe.init(jax.random.key(0), parents)
    return Learner(
      config, recipe, state, draw(recipe.batch_spec()), (module, *toy.translators(config))
    )

  yield make
  patch.undo()
