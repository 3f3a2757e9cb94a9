"""Style transfer: what learns from what, what norms remember, and what critics are shown."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import models
from bicross_jax.recipes.domain_invariant import common, translation
from bicross_jax.train.state import AXIS
from tests.recipes.devices import on_one
from tests.recipes.domain_invariant.conftest import alone, moved, named, step_on_one

# loss -> the networks that its gradient reaches, of those that learn by it
REACHED = {
  "g_target": {"to_target"},
  "identity_target": {"to_target"},
  "cycle_source": {"to_target", "to_source"},
  "task_translated": {"task", "to_target"},
  "smooth_target": {"task"},
  "g_source": {"to_source"},
  "identity_source": {"to_source"},
  "cycle_target": {"to_target", "to_source"},
  "smooth_translated": {"task"},
  "task_source": {"task"},
  "consistency": {"task", "to_source"},
}
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def made(learner):
  return learner("translation")


@pytest.fixture(scope="module")
def nets(made):
  """{name: module}, by the names of a state."""
  critic = models.create("patch_discriminator", axis_name=AXIS, **made.config.discriminator)
  return common.network(made.config), common.translators(made.config), critic


def _scene(batch):
  source, target = batch["source"], batch["target"]
  return translation.Scene(common.picture(source), common.picture(target), source["depth"])


@pytest.fixture(scope="module")
def found(made, nets):
  """Losses and their gradients by all params; what is translated and its gradients; statistics."""

  def parts(params, stats, batch):
    apply = translation.Networks(*nets, params, stats, KEY)
    parts, fakes = translation.losses(made.config, apply, _scene(batch))
    made_of = {f"fake_{name}": x.sum() for name, x in fakes.items()}
    return {**parts, **made_of}, (parts, fakes, apply.stats)

  return on_one(jax.jacrev(parts, has_aux=True))(
    made.state.params, made.state.batch_stats, made.batch
  )


def _any(tree):
  return any(np.abs(x).max() > 1e-12 for x in jax.tree.leaves(tree))


def test_every_loss_reaches_its_networks_and_no_other(found):
  gradients, (parts, _, _) = found
  assert set(parts) == set(REACHED) and all(x > 0 for x in parts.values())
  learners = lambda tree: {"task": tree["task"], **tree["generators"]}
  reached = {
    part: {name for name, x in learners(gradients[part]).items() if _any(x)} for part in parts
  }
  assert reached == REACHED


def test_no_gradient_goes_through_what_critics_are_shown(found):
  gradients, _ = found
  assert not any(_any(gradients[f"fake_{name}"]) for name in translation.DISCRIMINATORS)
  for part in REACHED:
    critics = {name for name, x in gradients[part]["discriminators"].items() if _any(x)}
    assert critics == ({part.removeprefix("g_")} if part.startswith("g_") else set())


@pytest.fixture(scope="module")
def passes(made, nets):
  """What every pass gives, and all statistics, of networks called one by one in the documented order."""
  module, generators, critic = nets

  def run(params, stats, batch):
    scene, out = _scene(batch), {}

    def forward(net, params, stats, x):
      output, updates = net.apply(
        {"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"]
      )
      return output, updates["batch_stats"]

    remembered = {}
    made_of = {"to_target": scene.source, "to_source": scene.target}
    for name, x in made_of.items():
      output, remembered[name] = forward(
        generators[name], params["generators"][name], stats["generators"][name], x
      )
      out[name] = output.image
    for name, other in (("to_target", "to_source"), ("to_source", "to_target")):
      output, remembered[name] = forward(
        generators[name], params["generators"][name], remembered[name], out[other]
      )
      out[f"cycle_{name}"] = output.image
      output, _ = forward(
        generators[name], params["generators"][name], stats["generators"][name], made_of[other]
      )
      out[f"same_{name}"] = output.image
    remembered["task"] = stats["task"]
    views = (out["to_target"], scene.target, out["to_source"], scene.source, out["to_source"])
    for i, x in enumerate(views):
      output, remembered["task"] = alone(
        module, {"params": params["task"], "batch_stats": remembered["task"]}, x, i, len(views),
        remembered=i < 4, train=True, rngs={"drop_connect": KEY},
      )  # fmt: skip
      out[f"depth{i}"] = output.depth
    for name, x in (("target", out["to_target"]), ("source", out["to_source"])):
      score, _ = forward(critic, params["discriminators"][name], stats["discriminators"][name], x)
      out[f"score_{name}"] = score.score
    return out, remembered, scene

  return on_one(run)(made.state.params, made.state.batch_stats, made.batch)


def test_losses_are_those_of_the_paper(made, found, passes):
  """By NumPy, from what the networks say."""
  out, _, (source, target, depth) = passes
  out = jax.tree.map(np.asarray, out)
  source, target, depth = map(np.asarray, (source, target, depth))
  known, label = depth > 0, np.minimum(depth, 80) / 80
  absolute = lambda a, b: np.abs(a - b).mean()
  task = lambda said: 100 * np.abs(said - label)[known].mean()

  def smooth(depth, image):
    total = 0.0
    for axis in (1, 2):
      calm = np.exp(-np.abs(np.diff(image, axis=axis)).mean(-1))
      total += (np.abs(np.diff(depth, axis=axis)) * calm).mean()
    return 0.1 * total

  want = {
    "g_target": ((out["score_target"] - 1) ** 2).mean(),
    "identity_target": 100 * absolute(out["same_to_target"], target),
    "cycle_source": 10 * absolute(out["cycle_to_source"], source),
    "task_translated": task(out["depth0"]),
    "smooth_target": smooth(out["depth1"], target),
    "g_source": ((out["score_source"] - 1) ** 2).mean(),
    "identity_source": 100 * absolute(out["same_to_source"], source),
    "cycle_target": 10 * absolute(out["cycle_to_target"], target),
    "smooth_translated": smooth(out["depth4"], out["to_source"]),
    "task_source": task(out["depth3"]),
    "consistency": absolute(out["depth2"], out["depth1"]),
  }
  _, (parts, fakes, _) = found
  for name, value in want.items():
    np.testing.assert_allclose(parts[name], value, rtol=1e-4, err_msg=name)
  np.testing.assert_allclose(fakes["target"], out["to_target"], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(fakes["source"], out["to_source"], rtol=1e-5, atol=1e-6)


def test_running_statistics_go_on_from_pass_to_pass(made, found, passes):
  """Generators remember their own domain and what was made of it; the identity's pass is not remembered."""
  _, want, _ = passes
  _, (_, _, stats) = found
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, stats["task"], want["task"])
  for name in common.GENERATORS:
    jax.tree.map(close, stats["generators"][name], want[name])
  assert not moved(stats["discriminators"], made.state.batch_stats["discriminators"])


def test_consistency_learns_through_both_pictures(made, nets, found, passes):
  """The gradient is the sum of those through either side, neither of which is nothing."""
  module, _, _ = nets
  out, _, scene = passes
  stats = made.state.batch_stats["task"]

  def apart(left, right):
    say = lambda params, i, x: alone(
      module, {"params": params, "batch_stats": stats}, x, i, 5, train=True, rngs={"drop_connect": KEY}
    )[0].depth  # fmt: skip
    return jnp.abs(say(left, 2, out["to_source"]) - say(right, 1, scene.target)).mean()

  params = made.state.params["task"]
  left, right = on_one(jax.grad(apart, (0, 1)))(params, params)
  assert _any(left) and _any(right)
  close = lambda a, b, c: np.testing.assert_allclose(a, b + c, rtol=1e-3, atol=1e-5)
  jax.tree.map(close, found[0]["consistency"]["task"], left, right)


@pytest.fixture(scope="module")
def stepped(made):
  """(compiled step, state and metrics after one)."""
  step = step_on_one(made.recipe)
  return step, *step(made.state, made.batch, KEY)


def test_a_step_moves_every_network(made, stepped):
  _, after, metrics = stepped
  before = made.state
  assert after.step == 1 and not jax.tree.leaves(after.frozen)
  # What is left of a bias before a norm is rounding, or nothing.
  still = set(named(before.params)) - moved(before.params, after.params)
  assert all(name.endswith(("conv/bias", "stem/bias", "deconv2/bias")) for name in still)
  assert moved(before.batch_stats, after.batch_stats) == set(named(before.batch_stats))
  assert {*REACHED, "loss", "discriminator/loss", "lr/generators"} <= {*metrics}
  value = lambda name: float(metrics[name][0] / metrics[name][1])
  assert value("loss") == pytest.approx(sum(value(name) for name in REACHED), rel=1e-5)


def test_critics_learn_from_real_pictures_and_from_those_before_the_step(made, nets, stepped):
  """Their loss, and what their norms remember: real ones, then the pool's, in that order."""
  _, _, critic = nets
  _, after, metrics = stepped
  scene, local = _scene(made.batch), after.local
  real, total = {"target": scene.target, "source": scene.source}, 0.0
  for name in translation.DISCRIMINATORS:
    shown = local[name]["images"][
      0, :2
    ]  # still being filled, so the pictures of the step themselves
    stats, scores = made.state.batch_stats["discriminators"][name], []

    def judge(x, stats, name=name):
      output, updates = critic.apply(
        {"params": made.state.params["discriminators"][name], "batch_stats": stats},
        x, train=True, mutable=["batch_stats"],
      )  # fmt: skip
      return output.score, updates["batch_stats"]

    for x in (real[name], shown):
      score, stats = on_one(judge)(x, stats)
      scores.append(np.asarray(score))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, after.batch_stats["discriminators"][name], stats)
    total += 0.5 * (((scores[0] - 1) ** 2).mean() + (scores[1] ** 2).mean())
  value, count = metrics["discriminator/loss"]
  np.testing.assert_allclose(value / count, total, rtol=1e-4)


def test_pools_are_each_devices_own_and_hold_what_was_translated(made, stepped, passes):
  step, after, _ = stepped
  pool = made.config.translate.pool
  for name, maker in (("target", "to_target"), ("source", "to_source")):
    before, local = made.state.local[name], after.local[name]
    assert before["images"].shape == (jax.local_device_count(), pool, 64, 64, 3)
    assert before["count"].tolist() == [0] and local["count"].tolist() == [2]
    np.testing.assert_allclose(local["images"][0, :2], passes[0][maker], rtol=1e-4, atol=1e-5)
    assert not np.asarray(local["images"][0, 2:]).any()
  again, _ = step(after, made.batch, KEY)
  for name in translation.DISCRIMINATORS:
    assert again.local[name]["count"].tolist() == [4]
    np.testing.assert_array_equal(
      again.local[name]["images"][0, :2], after.local[name]["images"][0, :2]
    )


def test_critics_are_told_nothing_by_generators_and_generators_only_by_their_score(
  made, stepped, learner
):
  """Another weight of their game changes no critic; without it no critic changes a generator."""
  _, after, _ = stepped
  deaf = learner("translation", "translate.adversarial=0")
  step = step_on_one(deaf.recipe)
  other, _ = step(made.state, made.batch, KEY)
  assert not moved(other.params["discriminators"], after.params["discriminators"])
  assert moved(other.params["generators"], after.params["generators"])
  critics = jax.tree.map(lambda x: x + 0.1, made.state.params["discriminators"])
  started = made.state.replace(params={**made.state.params, "discriminators": critics})
  elsewhere, _ = step(started, made.batch, KEY)
  for name in ("generators", "task"):
    assert not moved(elsewhere.params[name], other.params[name])


def test_what_is_published_and_predicted(made):
  variables = made.recipe.variables(made.state)
  assert set(variables["params"]) == {"task", *common.GENERATORS} == set(made.recipe.networks)
  assert set(variables["batch_stats"]) == set(variables["params"])
  batch = {"rgb": made.batch["target"]["rgb"]}
  said = made.recipe.networks["task"].apply(
    common.part(variables, "task"), np.asarray(batch["rgb"]) / np.float32(127.5) - 1
  )
  out, carry = made.recipe.predict(variables, batch)
  np.testing.assert_allclose(out["depth"], np.maximum(80 * said.depth, 1e-3), rtol=1e-4, atol=1e-4)
  assert carry == () and (np.asarray(out["depth"]) == np.float32(1e-3)).any()  # tanh goes below 0
  shown, _ = made.recipe.inspect(variables, batch)
  assert shown["feature"].shape == (2, 64, 64, 6)
  for name, net in common.translators(made.config).items():
    image = net.apply(common.part(variables, name), common.picture(batch)).image
    np.testing.assert_allclose(
      shown[f"as_{name.removeprefix('to_')}"], (image + 1) / 2, rtol=1e-4, atol=1e-4
    )
  assert made.recipe.metric == ("abs_rel", "last")
  assert set(made.recipe.batch_spec()["target"]) == {"rgb"}  # no label of the target


@pytest.mark.parametrize("whole", [True, False])
def test_the_depth_network_may_start_from_given_weights(whole, made, learner):
  """Alone, or one network of a stage; of an encoder alone the rest is new."""
  other = made.recipe.init(jax.random.key(8), {})
  given = {"params": other.params["task"], "batch_stats": other.batch_stats["task"]}
  if whole:
    given = made.recipe.variables(other)
  else:
    given = {kind: {"encoder": tree["encoder"]} for kind, tree in given.items()}
  state = made.recipe.init(jax.random.key(0), {"weights": given})
  taken, fresh = state.params["task"], made.state.params["task"]
  assert not moved(taken["encoder"], other.params["task"]["encoder"])
  assert bool(moved(taken["decoder"], fresh["decoder"])) == whole
  assert not moved(state.params["generators"], made.state.params["generators"])
