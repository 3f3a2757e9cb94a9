"""Stage crossdomain: what aligns, what moves, what is looked at and what is not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bicross_jax import errors, models, recipes
from bicross_jax.config import grammar
from bicross_jax.recipes.bicross import crossdomain
from bicross_jax.train import devices

SMALL = ["train.steps=10", "data.flip=false", "optim.warmup=0"]
EVERYTHING = "loss.max_depth=1e9"  # a random network sees far


def _remaining_shift(names, steps=600):
  """The distance of two domains' features after alignment; they start 1.5 apart."""
  head = models.create("projection_head", hidden=32, features=2)
  variables = {
    name: models.init(head, jax.random.key(i), (8, 1, 1, 4)) for i, name in enumerate(names)
  }
  params = {name: v["params"] for name, v in variables.items()} | {"shift": jnp.full((4,), 1.5)}
  stats = {name: v["batch_stats"] for name, v in variables.items()}
  optimiser = optax.adam(1e-2)

  @jax.jit
  def step(params, stats, state, key):
    source, target = jax.random.normal(key, (2, 64, 1, 1, 4))

    def loss_fn(params):
      loss, _, new = crossdomain.alignment_loss(
        head, params, stats, source, target + params["shift"][None, None, None], 0.3, axis_name=None
      )
      return loss, new

    (_, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    updates, state = optimiser.update(grads, state)
    return optax.apply_updates(params, updates), stats, state

  state = optimiser.init(params)
  for i in range(steps):
    params, stats, state = step(params, stats, state, jax.random.key(i))
  return float(jnp.abs(params["shift"]).mean())


def test_one_shared_head_aligns_and_the_published_pair_does_not():
  """docs/systems/bicross.md: with a head for each domain no alignment gradient remains."""
  assert _remaining_shift(crossdomain.HEADS["shared"]) < 0.4
  assert _remaining_shift(crossdomain.HEADS["legacy"]) > 1.2


def _recipe(*overrides):
  config = grammar.load("configs/bicross.py:crossdomain,smoke", [*SMALL, *overrides])
  return recipes.create(grammar.resolve_durations(config, 100))


@pytest.fixture(scope="module")
def spike_network():
  config = grammar.load("configs/bicross.py:pretrain,smoke", [*SMALL, "input.modality=spike"])
  recipe = recipes.create(grammar.resolve_durations(config, 100))
  return recipe.variables(recipe.init(jax.random.key(0), {}))


def _batch(seed=0, target_seed=1, rows=2):
  def spikes(seed):
    return np.random.default_rng(seed).integers(0, 256, (rows, 32, 64, 16), np.uint8)

  depth = np.random.default_rng(seed).uniform(2, 50, (rows, 32, 64)).astype(np.float32)
  return {
    "source": {"spike": spikes(seed), "depth": depth},
    "target": {"spike": spikes(target_seed)},
  }


def _train(recipe, initial, batches):
  """The states before the first and after the last step in host memory, and all metrics."""
  first = recipe.init(jax.random.key(0), {"student": initial})
  step, state = devices.parallel_step(recipe.train_step), devices.place(first)
  key, seen = devices.replicate(jax.random.key(1)), []
  for batch in batches:
    state, metrics = step(state, devices.shard(batch), key)
    seen.append({k: float(s / c) for k, (s, c) in metrics.items()})
  return jax.device_get(first), devices.gather(state), seen


def _same(a, b):
  return all(
    np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


@pytest.mark.slow
def test_scts_uses_all_three_and_publishes_the_moving_average(spike_network):
  recipe = _recipe("adapt.warmup=0", "adapt.alpha=0.5", "adapt.publish=teacher", EVERYTHING)
  assert set(recipe.batch_spec()["target"]) == {"spike"}  # no label of the target comes near it
  first, last, seen = _train(recipe, spike_network, [_batch()] * 2)
  assert set(seen[0]) >= {
    "depth_loss",
    "uncertainty_loss",
    "scp_loss",
    "sca_loss",
    "domain_accuracy",
  }
  assert all(np.isfinite(list(m.values())).all() for m in seen)
  assert 0.45 < seen[0]["trusted"] <= 0.5  # the surer half
  assert not _same(last.batch_stats, first.batch_stats)
  students = [first.params["student"]]
  one = _train(recipe, spike_network, [_batch()])[1].params["student"]
  students += [one, last.params["student"]]
  teacher = students[0]
  for student in students[1:]:
    teacher = jax.tree.map(lambda old, new: (old + new) / 2, teacher, student)
  published = recipe.variables(last)["params"]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), published, teacher
  )
  assert recipe.publishes == "teacher" and recipe.metric == ("abs_rel", "last")


@pytest.mark.parametrize(
  "method, publish, published",
  [
    ("scts", "teacher", "teacher"),
    ("scts", "student", "student"),
    ("adversarial", "teacher", "student"),
  ],
)
def test_who_is_published(spike_network, method, publish, published):
  recipe = _recipe(f"adapt.method={method}", f"adapt.publish={publish}")
  state = recipe.init(jax.random.key(0), {"student": spike_network})
  if state.teacher:
    state = state.replace(teacher=jax.tree.map(jnp.zeros_like, state.teacher))
  assert recipe.publishes == published
  params = recipe.variables(state)["params"]
  assert _same(params, spike_network["params"]) == (published == "student")


@pytest.mark.slow
def test_the_target_is_not_looked_at_during_warm_up(spike_network):
  recipe = _recipe("adapt.warmup=1", "adapt.augment=false")
  outcomes = [
    _train(recipe, spike_network, [_batch(target_seed=seed)])[1].params["student"]
    for seed in (1, 2)
  ]
  assert _same(*outcomes)


@pytest.mark.slow
@pytest.mark.parametrize(
  "method, absent",
  [("adversarial", {"scp_loss", "trusted"}), ("meanteacher", {"sca_loss", "domain_accuracy"})],
)
def test_methods(spike_network, method, absent):
  recipe = _recipe(f"adapt.method={method}", "adapt.warmup=0", "adapt.augment=false")
  a = _train(recipe, spike_network, [_batch()])
  b = _train(recipe, spike_network, [_batch(target_seed=2)])
  assert not absent & set(a[2][0])
  assert not _same(a[1].params["student"], b[1].params["student"])  # the target is learnt from
  other = _batch()
  other["source"]["depth"] *= 2
  c = _train(recipe, spike_network, [other])
  same = _same(a[1].params["student"], c[1].params["student"])
  assert same == (method == "meanteacher")  # that one needs no source label any more


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["none", "disagreement", "variance"])
def test_filters(spike_network, chosen):
  recipe = _recipe(f"adapt.filter={chosen}", "adapt.warmup=0", EVERYTHING)
  seen = _train(recipe, spike_network, [_batch()])[2][0]
  assert seen["trusted"] == pytest.approx(1 if chosen == "none" else 0.5, abs=0.05)


def test_bad_choices_are_refused():
  with pytest.raises(errors.UserError, match="adapt.method"):
    _recipe("adapt.method=scst")
  with pytest.raises(errors.UserError, match="parents.student"):
    _recipe().init(jax.random.key(0), {})
