"""The last stage, and the network without adaptation: what learns, what stands still, and the losses."""

import jax
import numpy as np
import pytest

from bicross_jax.recipes.domain_invariant import common
from tests.recipes.devices import on_one
from tests.recipes.domain_invariant.conftest import alone, given, moved, named, step_on_one

KEY = jax.random.key(3)
PARTS = {"task_translated", "task_source", "smooth_target", "smooth_translated", "consistency"}


@pytest.fixture(scope="module", params=["always", "until_first_validation", "never"])
def frozen(request, learner):
  """(what `freeze_bn` says, Learner, compiled step)."""
  made = learner(
    "finetune", f"freeze_bn={request.param}", "train.validate_every=2", "train.steps=8"
  )
  return request.param, made, step_on_one(made.recipe)


def test_what_of_norms_stands_still(frozen):
  """Scale and bias; and running statistics always, never, or up to the first validation."""
  word, made, step = frozen
  state = made.state
  norms = {name for name in named(state.params) if "norm" in name}
  assert norms == {
    f"{where}/{name}"
    for where in ("encoder/stem_norm", "decoder/norm")
    for name in ("scale", "bias")
  }
  for i in range(4):
    after, metrics = step(state, made.batch, jax.random.fold_in(KEY, i))
    changed = moved(state.params, after.params)
    assert {"encoder/stem/kernel", "encoder/head/kernel", "decoder/output/kernel"} <= changed
    assert changed & norms == (norms if word == "never" else set())
    gone = moved(state.batch_stats, after.batch_stats)
    learns = word == "never" or (word == "until_first_validation" and i >= 2)
    assert gone == (set(named(state.batch_stats)) if learns else set())
    assert not moved(state.frozen, after.frozen) and after.step == i + 1
    assert PARTS | {"loss", "lr/decoder", "lr/encoder_late"} <= set(metrics)
    state = after


@pytest.fixture(scope="module")
def made(learner):
  return learner("finetune")


@pytest.fixture(scope="module")
def by_hand(frozen):
  """(Learner, state and metrics after a step; pictures, depth and statistics by networks called one by one)."""
  word, made, step = frozen
  generators, module = common.translators(made.config), made.recipe.networks[common.TASK]
  train, drop = word == "never", jax.random.split(KEY, 3)[2]

  def run(state, batch):
    views = [common.picture(batch[name]) for name in ("source", "target")]
    views += [
      generators[name].apply(state.frozen[name], x).image
      for name, x in zip(common.GENERATORS, views, strict=True)
    ]
    stats, said = state.batch_stats, []
    for i, x in enumerate(views):
      output, stats = alone(
        module, {"params": state.params, "batch_stats": stats}, x, i, len(views), train=train,
        drop_connect=True, rngs={"drop_connect": drop},
      )  # fmt: skip
      said.append(output.depth)
    return views, said, stats

  after, metrics = step(made.state, made.batch, KEY)
  return made, after, metrics, on_one(run)(made.state, made.batch)


def test_losses_are_those_of_the_paper(by_hand):
  """By NumPy, from what the network says of the four pictures."""
  made, after, metrics, (views, said, stats) = by_hand
  depth = np.asarray(made.batch["source"]["depth"])
  source, target, translated, styled = map(np.asarray, said)
  known, label = depth > 0, np.minimum(depth, 80) / 80
  task = lambda said: 100 * np.abs(said - label)[known].mean()

  def smooth(depth, image):
    total = 0.0
    for axis in (1, 2):
      calm = np.exp(-np.abs(np.diff(np.asarray(image), axis=axis)).mean(-1))
      total += (np.abs(np.diff(depth, axis=axis)) * calm).mean()
    return 0.1 * total

  want = {
    "task_translated": task(translated),
    "task_source": task(source),
    "smooth_target": smooth(target, views[1]),
    "smooth_translated": smooth(styled, views[3]),
    "consistency": np.abs(styled - target).mean(),
  }
  assert set(want) == PARTS
  for name, value in want.items():
    found, count = metrics[name]
    np.testing.assert_allclose(found / count, value, rtol=1e-4, err_msg=name)
  found, count = metrics["loss"]
  np.testing.assert_allclose(found / count, sum(want.values()), rtol=1e-4)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  jax.tree.map(
    close, after.batch_stats, stats
  )  # of source, target, and both translated, in that order


def test_depth_that_is_unknown_counts_as_nothing_or_as_zero(made):
  """`loss.mask`."""
  said = np.full((1, 2, 2), 0.5, np.float32)
  depth = np.float32([[[0, 40], [80, 160]]])
  value = lambda config: float(on_one(lambda a, b: common.supervision(config, a, b))(said, depth))
  config = made.config.copy_and_resolve_references()
  assert value(config) == pytest.approx(100 * (0 + 0.5 + 0.5) / 3)
  config.loss.mask = False
  assert value(config) == pytest.approx(100 * (0.5 + 0 + 0.5 + 0.5) / 4)


def test_the_network_is_the_parents_and_only_it_is_published(made):
  parents = given()
  assert not moved(made.state.params, parents["task"]["params"]["task"])
  assert not moved(made.state.batch_stats, parents["task"]["batch_stats"]["task"])
  for name in common.GENERATORS:
    assert not moved(made.state.frozen[name], common.part(parents["generators"], name))
  variables = made.recipe.variables(made.state)
  assert set(made.recipe.networks) == {"task"}  # and a network alone is not named again
  jax.tree.map(np.testing.assert_array_equal, variables["params"], made.state.params)
  jax.tree.map(np.testing.assert_array_equal, variables["batch_stats"], made.state.batch_stats)
  again = made.recipe.init(jax.random.key(0), {**parents, "task": variables})
  assert not moved(again.params, made.state.params)
  assert made.recipe.metric == ("abs_rel", "min")


def test_labels_of_the_target_choose_only_where_it_is_validated(learner):
  assert learner("finetune", "validate=source,").recipe.metric == ("abs_rel", "last")


def test_without_adaptation_depth_is_learned(learner):
  """Stage `source` learns what is bright to be far; its norms, and all the rest, learn too."""
  made = learner("source", "optim.lr=0.03", "optim.constant=1", "train.steps=30")
  state, key = made.state, jax.random.key(0)
  bright = np.kron(np.random.default_rng(0).random((2, 4, 4)) > 0.5, np.ones((1, 16, 16)))
  rgb = np.repeat(np.uint8(50 + 150 * bright)[..., None], 3, -1)
  batch = {"rgb": rgb, "depth": np.float32(20 + 40 * bright)}
  step, losses = step_on_one(made.recipe), []
  for i in range(30):
    after, metrics = step(state, batch, jax.random.fold_in(key, i))
    losses.append(float(metrics["loss"][0] / metrics["loss"][1]))
    if not i:
      assert moved(state.batch_stats, after.batch_stats) == set(named(state.batch_stats))
      assert "encoder/stem_norm/scale" in moved(state.params, after.params)
    state = after
  assert losses[-1] < 0.7 * losses[0]
  assert set(made.recipe.batch_spec()) == {"rgb", "depth"}
