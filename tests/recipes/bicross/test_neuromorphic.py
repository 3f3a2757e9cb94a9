"""Stage `neuromorphic`: both networks learn, and what is published predicts."""

from flax import traverse_util
import jax
import numpy as np
import pytest

from bicross_jax import errors, recipes
from bicross_jax.config import grammar
from bicross_jax.train import devices

SMALL = ["train.steps=10", "data.flip=false", "optim.warmup=0", "front_end.widths=8,12"]


def _recipe(*overrides):
  config = grammar.load("configs/bicross.py:neuromorphic,smoke", [*SMALL, *overrides])
  return recipes.create(grammar.resolve_durations(config, 100))


def _batch():
  rng = np.random.default_rng(0)
  return {
    "spike": rng.integers(0, 256, (4, 32, 64, 16), np.uint8),
    "depth": rng.uniform(2, 50, (4, 32, 64)).astype(np.float32),
  }


@pytest.mark.slow
def test_front_end_and_network_learn_together():
  recipe = _recipe("optim.backbone_lr=1e-4", "optim.head_lr=1e-4")
  first = recipe.init(jax.random.key(0), {})
  step, key = devices.parallel_step(recipe.train_step), devices.replicate(jax.random.key(1))
  state, seen = devices.place(first), []
  for _ in range(4):
    state, metrics = step(state, devices.shard(_batch()), key)
    seen.append(float(metrics["loss"][0] / metrics["loss"][1]))
  assert np.isfinite(seen).all() and seen[-1] < seen[0], seen
  state = jax.device_get(state)
  before, after = (
    traverse_util.flatten_dict({"params": s.params, "batch_stats": s.batch_stats}, sep="/")
    for s in (first, state)
  )
  still = [path for path in before if (np.asarray(before[path]) == after[path]).all()]
  assert not [path for path in still if "front_end" in path], still
  assert not [path for path in still if path.startswith("params/dpt/backbone/resnet")]
  assert sum(path.startswith("batch_stats/front_end/") for path in after) == 2 * 2 * 3
  published = recipe.variables(state)
  out, _ = recipe.predict(published, {"spike": _batch()["spike"][:1]}, ())  # of running statistics
  assert out["depth"].shape == out["uncertainty"].shape == (1, 32, 64)
  whole, _ = recipe.predict(published, {"spike": _batch()["spike"]}, ())
  np.testing.assert_allclose(out["depth"][0], whole["depth"][0], rtol=1e-3)


@pytest.mark.parametrize(
  "kind, bins, stem, into",
  [("usenet", 16, 3, 16), ("unet", 0, 3, 128), ("senet", 16, 16, 16), ("senet", 0, 128, 128)],
)
def test_every_front_end_fits_the_network_behind_it(kind, bins, stem, into):
  recipe = _recipe(f"front_end.kind={kind}", f"model.stem_bins={bins}")
  state = jax.eval_shape(lambda key: recipe.init(key, {}), jax.random.key(0))
  assert state.params["dpt"]["backbone"]["resnet"]["stem"]["conv"]["kernel"].shape[2] == stem
  assert recipe.networks["fronted_dpt"].front_end.in_channels == into
  assert set(recipe.batch_spec()) == {"spike", "depth"}
  assert bool(state.batch_stats) == (kind != "senet")


def test_real_scenarios_have_the_published_widths():
  config = grammar.load("configs/bicross.py:neuromorphic,syn2real")
  assert config.front_end.widths == (128, 256, 512, 512) and config.front_end.reduction == 16
  recipe = recipes.create(grammar.resolve_durations(config, 100))
  state = jax.eval_shape(lambda key: recipe.init(key, {}), jax.random.key(0))
  count = {name: sum(x.size for x in jax.tree.leaves(p)) for name, p in state.params.items()}
  # The U-Net is counted by hand in tests/models. The published RGB network has 123.48 M (docs/systems/bicross.md) with a classifier and a residual unit that it never uses and ours leaves out.
  unused = 768 * 1000 + 1000 + 2 * (9 * 256**2 + 256)
  assert count["front_end"] == 17_261_187 + 2 * 512 * 32
  assert round((count["dpt"] + unused) / 1e6, 2) == 123.48


def test_an_unknown_front_end_is_refused():
  with pytest.raises(errors.UserError, match="usenet, unet, senet"):
    _recipe("front_end.kind=resnet")
