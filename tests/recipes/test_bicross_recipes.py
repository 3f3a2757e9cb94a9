"""BiCross's recipes: what moves, what stays, and that four devices equal one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import config as grammar
from bicross_jax import errors
from bicross_jax import recipes
from bicross_jax.train.state import AXIS
from bicross_jax.train.state import Initial

SMALL = ["input.height=32", "input.width=64", "data.height=32", "data.width=64", "train.steps=10",
         "data.flip=false"]


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


def _on_devices(recipe, state, batch, n):
  """One step on n devices of a vmapped axis; every device must end with the same state."""
  split = {k: v.reshape(n, -1, *v.shape[1:]) for k, v in batch.items()}
  keys = jax.random.split(jax.random.key(1), n)
  step = jax.jit(jax.vmap(recipe.train_step, in_axes=(None, 0, 0), axis_name=AXIS))
  states, metrics = step(state, split, keys)
  for leaf in jax.tree.leaves(states):
    np.testing.assert_allclose(leaf, jnp.broadcast_to(leaf[:1], leaf.shape), rtol=1e-6, atol=1e-6)
  return jax.tree.map(lambda x: x[0], states), {k: s.sum() / c.sum() for k, (s, c) in metrics.items()}


@pytest.fixture(scope="module")
def rgb():
  """Variables of an RGB network that took no step."""
  recipe = recipes.create(_config("pretrain"))
  return recipe.variables(recipe.init(jax.random.key(0), None))


@pytest.mark.parametrize("arg", ["pretrain", "crossmodality,distill.uncertainty_filter=true"])
def test_four_devices_equal_one(arg, rgb):
  recipe = recipes.create(_config(arg, "optim.warmup=0", "optim.backbone_lr=1e-4",
                                  "optim.head_lr=1e-4", "optim.extra_lr=1e-4"))
  state = recipe.init(jax.random.key(0), Initial(rgb, rgb) if "cross" in arg else None)
  batch = {k: v for k, v in _batch().items() if k in recipe.batch_spec()}
  one, many = (_on_devices(recipe, state, batch, n) for n in (1, 4))
  for name, value in one[1].items():
    np.testing.assert_allclose(many[1][name], value, rtol=2e-4, err_msg=name)
  # Adam's first step is the sign of the gradient, so moments are compared rather than params.
  moments = [jax.tree.leaves(s.opt_state) for s in (one[0], many[0])]
  for a, b in zip(*moments, strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-4 * max(1e-3, float(jnp.abs(a).max())))
  for a, b in zip(jax.tree.leaves(one[0].batch_stats), jax.tree.leaves(many[0].batch_stats), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_teacher_stays_and_the_student_starts_from_it(rgb):
  recipe = recipes.create(_config("crossmodality"))
  state = recipe.init(jax.random.key(0), Initial(rgb, rgb))
  head, student = rgb["params"]["depth_head"], state.params["student"]["depth_head"]
  jax.tree.map(np.testing.assert_array_equal, head, student)
  stepped, metrics = _on_devices(recipe, state, _batch(), 1)
  jax.tree.map(np.testing.assert_array_equal, stepped.frozen["teacher"]["params"], rgb["params"])
  moved = jax.tree.map(
      lambda a, b: bool(jnp.any(a != b)), state.params["student"], stepped.params["student"])
  still = [p for p, m in jax.tree_util.tree_leaves_with_path(moved) if not m]
  assert len(still) <= 4, still  # the first unit of the deepest fusion has no input
  assert {"loss", "depth_loss", "uncertainty_loss", "coarse_loss", "fine_loss"} <= set(metrics)
  assert set(recipe.variables(stepped)["params"]) == set(rgb["params"])


def test_distillation_alone_brings_the_student_to_the_teacher(rgb):
  """Without labels nothing but the fine branch is left, and it falls."""
  recipe = recipes.create(_config("crossmodality", "distill.fine=1.0", "optim.warmup=0"))
  state = recipe.init(jax.random.key(0), Initial(rgb, rgb))
  batch = _batch() | {"depth": np.zeros((4, 32, 64), np.float32)}
  losses = []
  for _ in range(8):
    state, metrics = _on_devices(recipe, state, batch, 1)
    losses.append(float(metrics["fine_loss"]))
    assert float(metrics["depth_loss"]) == 0
  assert losses[-1] < 0.5 * losses[0], losses


def test_prediction_is_metric_and_needs_no_label(rgb):
  recipe = recipes.create(_config("pretrain"))
  out = recipe.predict(rgb, {"rgb": _batch()["rgb"]})
  assert out["depth"].shape == out["uncertainty"].shape == (4, 32, 64)
  assert float(out["depth"].min()) > 0


def test_a_crossmodality_run_without_a_checkpoint_says_so():
  with pytest.raises(errors.UserError, match="RGB checkpoint"):
    recipes.create(_config("crossmodality")).init(jax.random.key(0), None)


@pytest.mark.parametrize("recipe", ["bicross_jax.recipes.nothing:create", "bicross_jax.recipes.pretrain:make"])
def test_unknown_recipes_are_refused(recipe):
  with pytest.raises(errors.UserError, match="recipe="):
    recipes.create(_config("pretrain", f"recipe={recipe}"))
