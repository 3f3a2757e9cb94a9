"""BiCross's recipes: what moves and what stays. `test_four_devices.py` has the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors, recipes
from bicross_jax.config import grammar
from bicross_jax.train import devices

SMALL = ["train.steps=10", "data.flip=false"]


def _config(arg, *overrides):
  config = grammar.load(f"configs/bicross.py:{arg}", [*SMALL, *overrides])
  return grammar.resolve_durations(config, 100)


def _batch(rows=4):
  rng = np.random.default_rng(0)
  return {
    "rgb": rng.integers(0, 256, (rows, 32, 64, 3), np.uint8),
    "spike": rng.integers(0, 256, (rows, 32, 64, 16), np.uint8),
    "depth": rng.uniform(2, 50, (rows, 32, 64)).astype(np.float32),
  }


def _stepper(recipe, state):
  """(state, batch) -> (state, means): the recipe's step as the loop runs it, compiled once."""
  step = devices.parallel_step(recipe.train_step)
  key = devices.replicate(jax.random.key(1))

  def run(state, batch):
    state, metrics = step(state, devices.shard(batch), key)
    return state, {k: float(s / c) for k, (s, c) in metrics.items()}

  return run, devices.place(state)


@pytest.fixture(scope="module")
def rgb():
  """Variables of an RGB network that took no step."""
  recipe = recipes.create(_config("pretrain,smoke"))
  return recipe.variables(recipe.init(jax.random.key(0), {}))


@pytest.mark.slow
def test_the_student_starts_from_the_teacher_and_learns_from_it_alone(rgb):
  """Without labels only distillation is left: it falls, the teacher stays, everything else moves."""
  recipe = recipes.create(_config("crossmodality,smoke,distill.fine=1.0", "optim.warmup=0"))
  first = recipe.init(jax.random.key(0), {"teacher": rgb})
  head, student = rgb["params"]["depth_head"], first.params["student"]["depth_head"]
  jax.tree.map(np.testing.assert_array_equal, head, student)
  step, state = _stepper(recipe, first)
  batch = _batch() | {"depth": np.zeros((4, 32, 64), np.float32)}
  seen = []
  for _ in range(8):
    state, metrics = step(state, batch)
    seen.append(metrics["fine_loss"])
    assert metrics["depth_loss"] == metrics["uncertainty_loss"] == 0
  assert seen[-1] < 0.5 * seen[0], seen
  jax.tree.map(np.testing.assert_array_equal, state.frozen["teacher"]["params"], rgb["params"])
  moved = jax.tree.map(
    lambda a, b: bool(jnp.any(a != b)),
    first.params["student"]["backbone"],
    state.params["student"]["backbone"],
  )
  assert all(jax.tree.leaves(moved["resnet"]))
  assert set(recipe.variables(state)["params"]) == set(rgb["params"])


def test_prediction_is_metric_and_needs_no_label(rgb):
  recipe = recipes.create(_config("pretrain,smoke"))
  out, carry = jax.jit(recipe.predict)(rgb, {"rgb": _batch()["rgb"]}, ())
  assert carry == ()
  assert out["depth"].shape == out["uncertainty"].shape == (4, 32, 64)
  assert float(out["depth"].min()) > 0


def test_a_crossmodality_run_without_a_checkpoint_says_so():
  with pytest.raises(errors.UserError, match="parents.teacher"):
    recipes.create(_config("crossmodality,smoke")).init(jax.random.key(0), {})


@pytest.mark.parametrize(
  "recipe", ["bicross_jax.recipes.nothing:create", "bicross_jax.recipes.bicross.pretrain:make"]
)
def test_unknown_recipes_are_refused(recipe):
  with pytest.raises(errors.UserError, match="recipe"):
    recipes.create(_config("pretrain,smoke", f"recipe={recipe}"))
