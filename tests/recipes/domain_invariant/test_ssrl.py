"""Self-supervised learning of the decoder: what stands still, what norms remember, and the score."""

import jax
import numpy as np
import pytest

from bicross_jax import models
from bicross_jax.recipes.domain_invariant import common, ssrl
from bicross_jax.train.state import AXIS
from tests.recipes.devices import on_one
from tests.recipes.domain_invariant.conftest import alone, given, load, moved, named, step_on_one

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def made(learner):
  return learner("ssrl", "ssrl.weight=2.5", "ssrl.decoder=fresh")


@pytest.fixture(scope="module")
def stepped(made):
  """(compiled step, state and metrics after one)."""
  step = step_on_one(made.recipe)
  return step, *step(made.state, made.batch, KEY)


def test_the_encoder_is_that_of_the_parent_and_the_decoder_is_fresh_or_given(made, learner):
  weights, state = given()["weights"], made.state
  for kind, tree in (("params", state.params), ("batch_stats", state.batch_stats)):
    assert set(tree) == {"task", ssrl.HEAD}
    assert not moved(tree["task"]["encoder"], weights[kind]["task"]["encoder"])
  assert moved(state.params["task"]["decoder"], weights["params"]["task"]["decoder"])
  assert set(state.frozen) == set(common.GENERATORS)
  for name, tree in state.frozen.items():
    assert not moved(tree, common.part(weights, name))
  parents = {"generators": given()["generators"]}  # without weights the encoder is fresh too
  fresh = made.recipe.init(jax.random.key(0), parents)
  assert moved(fresh.params["task"]["encoder"], state.params["task"]["encoder"])
  whole = learner("ssrl", "ssrl.decoder=given").state
  for kind, tree in (("params", whole.params), ("batch_stats", whole.batch_stats)):
    assert not moved(tree["task"], weights[kind]["task"])


def test_decoder_and_head_learn_and_nothing_else(made, stepped):
  _, after, metrics = stepped
  before = made.state
  changed = moved(before.params, after.params)
  frozen = {
    name
    for name in named(before.params)
    if name.startswith(("task/encoder/", "task/decoder/output/"))
  }
  assert frozen and not changed & frozen
  # What is left of a bias before a norm is rounding, or nothing.
  still = set(named(before.params)) - frozen - changed
  assert {"task/decoder/deconv2/kernel", "head/predictor2/kernel"} <= changed
  assert all(name.endswith("bias") for name in still)
  stats = moved(before.batch_stats, after.batch_stats)
  assert {n for n in named(before.batch_stats) if not n.startswith("task/encoder/")} == stats
  assert not moved(before.frozen, after.frozen) and after.step == 1
  assert {"loss", "lr", "simsiam_source", "simsiam_target"} <= set(metrics)


@pytest.fixture(scope="module")
def by_hand(made):
  """(z and p of the four views, statistics) of networks called one by one: each domain, then its translation."""
  generators = common.translators(made.config)
  module, head = common.network(made.config), made.recipe.networks[ssrl.HEAD]
  drop = jax.random.split(KEY, 3)[2]

  def run(state, batch):
    stats, found = dict(state.batch_stats), []
    views = []
    for name, generator in zip(("source", "target"), common.GENERATORS, strict=True):
      x = common.picture(batch[name])
      views += [x, generators[generator].apply(state.frozen[generator], x).image]
    for i, x in enumerate(views):
      output, stats["task"] = alone(
        module, {"params": state.params["task"], "batch_stats": stats["task"]}, x, i, len(views),
        train=True, train_encoder=False, drop_connect=True, rngs={"drop_connect": drop},
      )  # fmt: skip
      output, updates = head.apply(
        {"params": state.params["head"], "batch_stats": stats["head"]},
        output.features[-1], train=True, mutable=["batch_stats"],
      )  # fmt: skip
      stats["head"] = updates["batch_stats"]
      found.append((output.projected, output.predicted))
    return found, stats

  return on_one(run)(made.state, made.batch)


def _cosine(a, b):
  return (a * b).sum(-1) / np.maximum(
    np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-16
  )


def _simsiam(first, second):
  """By NumPy, of (z, p) of two views."""
  (z_a, p_a), (z_b, p_b) = (map(np.asarray, view) for view in (first, second))
  return -(_cosine(p_a, z_b) + _cosine(p_b, z_a)) / 2


def test_the_loss_is_that_of_a_picture_with_its_translation(stepped, by_hand):
  _, _, metrics = stepped
  views, _ = by_hand
  for i, name in enumerate(("source", "target")):
    value, count = metrics[f"simsiam_{name}"]
    want = 2.5 * _simsiam(views[2 * i], views[2 * i + 1]).mean()
    np.testing.assert_allclose(value / count, want, rtol=1e-3, atol=1e-5)


def test_running_statistics_go_on_from_view_to_view(stepped, by_hand):
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, stepped[1].batch_stats, by_hand[1])


def test_blocks_of_the_frozen_encoder_drop_out(made, stepped):
  """Nothing else is random here: the pictures are not augmented."""
  step, _, metrics = stepped
  loss = lambda metrics: float(metrics["loss"][0])
  found = {loss(step(made.state, made.batch, jax.random.key(i))[1]) for i in range(4)}
  assert len(found) > 1 and loss(step(made.state, made.batch, KEY)[1]) == loss(metrics)


def test_the_score_of_target_pictures(made, stepped):
  """By NumPy, of the rows that count; with all statistics as they are remembered."""
  _, after, _ = stepped
  variables = made.recipe.variables(after)
  assert set(variables["params"]) == {"task", "head", "to_source"} == set(made.recipe.networks)
  batch = {**made.batch["target"], "mask": np.array([True, False])}
  total, count = jax.jit(made.recipe.score)(variables, batch)["simsiam"]
  nets, x = made.recipe.networks, common.picture(batch)
  pair, seen = [x, nets["to_source"].apply(common.part(variables, "to_source"), x).image], []
  for y in pair:
    feature = nets["task"].apply(common.part(variables, "task"), y).features[-1]
    output = nets["head"].apply(common.part(variables, "head"), feature)
    seen.append((output.projected, output.predicted))
  assert count == 1
  np.testing.assert_allclose(total, _simsiam(*seen)[0].mean(), rtol=1e-4)
  assert made.recipe.metric == ("simsiam", "last")


def test_two_equal_views_that_the_predictor_leaves_alone_score_minus_one(made):
  """Generator and predictor that hand on what they get; three rows, all of which count."""
  head = models.create("simsiam_head", in_channels=6, shrink=1, axis_name=AXIS)
  one = np.eye(6, dtype=np.float32)[None, None]
  recipe = ssrl.create(load("ssrl", "ssrl.shrink=1"))
  variables = jax.tree.map(np.array, recipe.variables(recipe.init(jax.random.key(0), given())))
  assert recipe.networks["head"] == head
  params = variables["params"]["head"]
  # Only directions count: z is never below 0 after its norm is lifted, so that ReLU hands it on.
  variables["params"]["head"] |= {
    "predictor1": {"kernel": one, "bias": np.zeros(6, np.float32)},
    "predictor2": {"kernel": one, "bias": np.zeros(6, np.float32)},
    "predictor1_norm": {"scale": np.ones(6, np.float32), "bias": np.zeros(6, np.float32)},
    "projector3_norm": {**params["projector3_norm"], "bias": np.full(6, 1e3, np.float32)},
  }
  # Whatever a generator of zeros gets it gives one grey, and a grey picture is then its own translation.
  variables["params"]["to_source"] = jax.tree.map(np.zeros_like, variables["params"]["to_source"])
  grey = {"rgb": np.full((3, 64, 64, 3), 127.5), "mask": np.ones(3, bool)}
  total, count = recipe.score(variables, grey)["simsiam"]
  assert count == 3 and float(total / count) == pytest.approx(-1, abs=1e-4)


def test_no_label_is_read(made):
  spec = made.recipe.batch_spec()
  assert {name: set(fields) for name, fields in spec.items()} == {
    "source": {"rgb"},
    "target": {"rgb"},
  }
