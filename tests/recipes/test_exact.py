"""`conv=exact`: what a recipe traces holds convolutions, not what stands for them."""

import jax
import jax.numpy as jnp

from bicross_jax import recipes
from bicross_jax.config import grammar
from bicross_jax.ops import conv
from bicross_jax.train.state import AXIS


def _traced(choice):
  """The step and the prediction of a small recipe, as text."""
  config = grammar.load("configs/bicross.py:pretrain,smoke", [f"conv={choice}"])
  recipe = recipes.create(grammar.resolve_durations(config, 8))
  key = jax.random.key(0)
  state = jax.eval_shape(lambda: recipe.init(key, {}))
  batch = {name: jnp.zeros((1, 4, *x.shape), x.dtype) for name, x in recipe.batch_spec().items()}
  step = jax.vmap(recipe.train_step, in_axes=(None, 0, None), axis_name=AXIS)
  predict = lambda variables: recipe.predict(variables, jax.tree.map(lambda x: x[0], batch), ())
  yield str(jax.make_jaxpr(step)(state, batch, key))
  yield str(jax.make_jaxpr(predict)(recipe.variables(state)))


def test_exact_traces_convolutions_alone(monkeypatch):
  for least in ("_LARGE", "_WIDE", "_WIDE_KERNEL", "_WIDE_FEW", "_WIDE_MANY"):
    monkeypatch.setattr(conv, least, 1)
  for exact, fast in zip(_traced("exact"), _traced("fast"), strict=True):
    convolutions = [text.count("conv_general_dilated[") for text in (exact, fast)]
    assert convolutions[0] > convolutions[1] + 10
    assert "HIGHEST" in exact and "HIGHEST" not in fast
