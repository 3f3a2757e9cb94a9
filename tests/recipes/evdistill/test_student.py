"""EvDistill's student: what learns from what, and what a config leaves out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors, models
from bicross_jax.recipes.evdistill import common, student
from tests.recipes.devices import on_one
from tests.recipes.evdistill import toy
from tests.recipes.evdistill.conftest import draw, load
from tests.recipes.evdistill.toy import SIZE

# part -> the networks that its gradient reaches, of all that are trained
REACHED = {
  "adversarial_loss": {"to_events", "to_image"},
  "cycle_loss": {"to_events", "to_image"},
  "reconstruction_loss": {"to_image"},
  "label_loss": {"student", "to_events"},
  "event_label_loss": {"student"},
  "pixelwise_source_loss": {"student", "to_events"},
  "pixelwise_target_loss": {"student"},
  "affinity_source_loss": {"student", "to_events"},
  "affinity_target_loss": {"student"},
  "consistency_loss": {"student", "to_events"},
  "distribution_loss": {"student"},
  "image_loss": {"student"},
  "image_affinity_loss": {"student"},
  "mutual_loss": {"student", "frames"},
  "frame_label_loss": {"frames"},
}
PLAIN = {
  "adversarial_loss",
  "cycle_loss",
  "label_loss",
  "pixelwise_source_loss",
  "pixelwise_target_loss",
  "affinity_source_loss",
  "affinity_target_loss",
  "consistency_loss",
  "distribution_loss",
}
# what is changed -> the parts that change with it
SEEN = {
  "source/rgb": {
    "adversarial_loss",
    "cycle_loss",
    "label_loss",
    "pixelwise_source_loss",
    "affinity_source_loss",
    "consistency_loss",
    "distribution_loss",
    "frame_label_loss",
  },
  "source/label": {"label_loss", "frame_label_loss"},
  "target/event_image": {
    "adversarial_loss",
    "cycle_loss",
    "reconstruction_loss",
    "event_label_loss",
    "pixelwise_target_loss",
    "affinity_target_loss",
    "distribution_loss",
    "image_loss",
    "image_affinity_loss",
    "mutual_loss",
  },
  "target/rgb": {"reconstruction_loss", "image_loss", "mutual_loss"},
  "target/label": {"event_label_loss"},
  "teacher": {
    "pixelwise_source_loss",
    "pixelwise_target_loss",
    "affinity_source_loss",
    "affinity_target_loss",
    "consistency_loss",
  },
  "to_events": {
    "adversarial_loss",
    "cycle_loss",
    "label_loss",
    "pixelwise_source_loss",
    "affinity_source_loss",
    "consistency_loss",
    "distribution_loss",
  },
  "to_image": {
    "adversarial_loss",
    "cycle_loss",
    "reconstruction_loss",
    "pixelwise_target_loss",
    "affinity_target_loss",
  },
}


LABELLED = "regime=with_event_labels"
ALIGNED = ("target.sensors=event_image,rgb,label", "aligned=True")


@pytest.fixture(scope="module")
def everything(learner):
  return learner("distill.affinity=1", "bmr.end_to_end=1")


def _moved(params, seed=1):
  """Other weights, a little away: a student that equals its teacher has no gradient in places."""
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(seed)
  noise = [0.05 * rng.normal(size=x.shape).astype(np.float32) for x in leaves]
  return jax.tree.unflatten(tree, [x + n for x, n in zip(leaves, noise, strict=True)])


@pytest.fixture(scope="module")
def found(everything):
  """Parts and their gradients by all params and by the teacher; statistics, fakes and their gradients."""
  state = everything.state.replace(params=_moved(everything.state.params))

  def parts(params, teacher, batch):
    start = state.replace(frozen={"teacher": teacher})
    parts, stats, fakes = everything.losses(params, start, batch)
    total = {name: x.sum() for name, x in fakes.items()}
    return {**parts, **total}, (parts, stats, fakes)

  def both(*arguments):
    gradients, aux = jacobian(*arguments)
    return [{name: g[i] for name, g in gradients.items()} for i in (0, 1)], aux

  jacobian = on_one(jax.jacrev(parts, (0, 1), has_aux=True))
  return state, both, both(state.params, state.frozen["teacher"], everything.batch)


def _networks(tree):
  """{network: its part of a tree of gradients}."""
  flat = {**tree, **tree["generators"]}
  return {name: x for name, x in flat.items() if name not in ("generators", "discriminators")}


def _any(tree):
  return any(np.abs(x).max() > 1e-12 for x in jax.tree.leaves(tree))


def test_every_part_reaches_its_networks_and_no_other(found):
  _, _, ((by_params, _), (parts, _, _)) = found
  assert set(parts) == set(REACHED) and all(x > 0 for x in parts.values())
  reached = {
    part: {name for name, x in _networks(by_params[part]).items() if _any(x)} for part in parts
  }
  assert reached == REACHED


def test_the_teacher_learns_from_nothing_and_critics_are_not_seen_by_students(found):
  _, _, ((by_params, by_teacher), (parts, _, _)) = found
  assert not any(_any(by_teacher[part]["params"]) for part in parts)
  critics = {part for part in parts if _any(by_params[part]["discriminators"])}
  assert critics == {"adversarial_loss"}  # which is part of what generators learn from, alone


def test_critics_learn_nothing_into_generators(found):
  """What is generated leaves without a gradient."""
  _, _, ((by_params, _), (_, _, fakes)) = found
  assert set(fakes) == {"events", "image"}
  assert not any(_any(by_params[name]) for name in fakes)


@pytest.mark.parametrize("changed", SEEN)
def test_what_a_part_looks_at(changed, everything, found):
  state, both, (_, (parts, _, _)) = found
  batch, teacher, params = everything.batch, state.frozen["teacher"], state.params
  if changed in params["generators"]:
    other = _moved(params["generators"][changed], 8)
    params = {**params, "generators": {**params["generators"], changed: other}}
  elif changed == "teacher":
    teacher = {**teacher, "params": _moved(teacher["params"], 7)}
  else:
    stream, field = changed.split("/")
    other = draw(everything.recipe.batch_spec(), seed=9)[stream][field]
    batch = {**batch, stream: {**batch[stream], field: other}}
  _, (after, _, _) = both(params, teacher, batch)
  assert {name for name in parts if parts[name] != after[name]} == SEEN[changed]


def test_running_statistics_are_those_of_real_pictures(everything, found):
  """Of real events for the student, of the frames beside them for its partner; by NumPy."""
  state, _, (_, (_, stats, _)) = found
  target = everything.batch["target"]
  events = np.pad(np.asarray(target["event_image"]) / 255, [(0, 0)] * 3 + [(0, 1)])
  grey = np.asarray(target["rgb"]) / 255 @ [0.299, 0.587, 0.114]
  frames = np.repeat(grey[..., None], 3, -1)
  for name, x in (("student", events), ("frames", frames)):
    conv = jax.tree.map(np.asarray, state.params[name]["conv"])
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    y = sum(
      padded[:, i : i + SIZE[0], j : j + SIZE[1]] @ conv["kernel"][i, j]
      for i in range(3)
      for j in range(3)
    )
    mean = (y + conv["bias"]).mean((0, 1, 2))
    before = state.batch_stats[name]["norm"]["mean"]
    np.testing.assert_allclose(stats[name]["norm"]["mean"], 0.9 * before + 0.1 * mean, rtol=1e-4)


@pytest.fixture(scope="module")
def stepped(everything, found):
  """The state after one step from `found`'s, and its metrics."""
  state = found[0]
  step = jax.pmap(
    everything.recipe.train_step,
    axis_name="batch",
    in_axes=(None, 0, None),
    out_axes=(None, None),
    devices=jax.devices()[:1],
  )
  batch = jax.tree.map(lambda x: x[None], everything.batch)
  after, metrics = step(state, batch, jax.random.key(3))
  return jax.device_get(after), {name: float(s / n) for name, (s, n) in metrics.items()}


def _follows(before, after, gradient, rate):
  """Whether params made Adam's first step, which has the length of the rate, down a gradient."""
  for x, y, g in zip(*map(jax.tree.leaves, (before, after, gradient)), strict=True):
    clear = np.abs(g) > 1e-5  # else rounding turns it, or its epsilon shortens it
    want = -rate * np.sign(g)
    np.testing.assert_allclose(np.asarray(y - x)[clear], want[clear], rtol=0.02, atol=2e-6)


def test_a_step_goes_down_the_sum_of_the_parts(everything, found, stepped):
  state, _, ((by_params, _), (parts, _, _)) = found
  after, metrics = stepped
  total = jax.tree.map(lambda *x: sum(x), *(by_params[part] for part in parts))
  for name, section in (("student", "optim"), ("frames", "optim"), ("generators", "gan")):
    rate = everything.config[section].lr
    _follows(state.params[name], after.params[name], total[name], rate)
    assert metrics[f"lr/{name}"] == pytest.approx(rate)
  assert metrics["loss"] == pytest.approx(float(sum(parts.values())), rel=1e-4)
  for name, value in parts.items():
    assert metrics[name] == pytest.approx(float(value), rel=1e-3, abs=1e-6)


def test_critics_step_down_their_own_loss_alone(everything, found, stepped):
  """That of real pictures and of what the generators made before the step."""
  state, _, (_, (_, _, fakes)) = found
  _, _, critics = everything.nets

  def loss(params):
    judge = lambda params, batch, fakes: student.judgement(
      everything.config, critics, params, batch, fakes
    )
    return on_one(judge)(params, everything.batch, fakes)

  value, gradient = jax.value_and_grad(loss)(state.params["discriminators"])
  after, metrics = stepped
  rate = everything.config.gan.lr
  _follows(state.params["discriminators"], after.params["discriminators"], gradient, rate)
  assert metrics["discriminator/loss"] == pytest.approx(float(value), rel=1e-4)


def test_a_step_leaves_the_teacher_as_it_is(found, stepped):
  state, after = found[0], stepped[0]
  assert after.step == 1
  for a, b in zip(jax.tree.leaves(state.frozen), jax.tree.leaves(after.frozen), strict=True):
    np.testing.assert_array_equal(a, b)


def _names(made):
  """The parts of a loss, without computing them."""
  run = on_one(lambda state, batch: made.losses(state.params, state, batch)[0])
  return set(jax.eval_shape(run, made.state, made.batch))


OFF = {  # a weight -> the parts that are not there without it
  "distill.pixelwise_source": {"pixelwise_source_loss"},
  "distill.pixelwise_target": {"pixelwise_target_loss"},
  "distill.affinity": {"affinity_source_loss", "affinity_target_loss"},
  "distill.consistency": {"consistency_loss"},
  "distill.distribution": {"distribution_loss"},
}


def test_a_part_for_every_ingredient(learner):
  assert _names(learner(everything=False)) == PLAIN
  assert _names(learner(LABELLED, everything=False)) == {*PLAIN, "event_label_loss"}
  assert _names(learner(*ALIGNED, everything=False)) == {*PLAIN, "reconstruction_loss"}
  for weight, names in OFF.items():
    assert _names(learner(f"{weight}=0", everything=False)) == PLAIN - names


@pytest.mark.parametrize("aligned", [False, True])
def test_without_generators_each_network_is_shown_the_others_modality(aligned, learner):
  made = learner("bmr.on=False", *(ALIGNED if aligned else ()), everything=False)
  assert set(made.state.params) == {"student"} and set(made.state.opt_state) == {"networks"}
  assert _names(made) == PLAIN - {"adversarial_loss", "cycle_loss"}
  run = on_one(lambda state, batch: made.losses(state.params, state, batch))
  start = made.state.replace(params=_moved(made.state.params))
  parts, _, fakes = run(start, made.batch)
  assert not fakes
  # The teacher looks at the event image, the student at the frame, in all three channels.
  module, teacher = made.nets[0], start.frozen["teacher"]
  events = jnp.pad(made.batch["target"]["event_image"] / 255.0, [(0, 0)] * 3 + [(0, 1)])
  said = np.asarray(jax.nn.softmax(module.apply(teacher, events).logits), np.float64)
  student_ = {"params": start.params["student"], "batch_stats": start.batch_stats["student"]}
  learn = lambda x: module.apply(student_, x, train=True, mutable=["batch_stats"])[0].logits
  own = np.asarray(jax.nn.log_softmax(on_one(learn)(events)), np.float64)
  want = -(said * own).sum(-1).mean((1, 2)).sum() * made.config.distill.pixelwise_target
  np.testing.assert_allclose(parts["pixelwise_target_loss"], want, rtol=1e-4)


def test_weights_of_nothing_are_nothing(learner):
  """Some weights always have a part: with all at 0 nothing is learned."""
  zero = ("loss.labels", "bmr.adversarial", "bmr.cycle", "bmr.reconstruction", "distill.image")
  made = learner(*(f"{name}=0" for name in (*zero, *OFF)), "distill.mutual=0")

  def total(params, state, batch):
    return sum(made.losses(params, state, batch)[0].values())

  value, gradient = on_one(jax.value_and_grad(total))(made.state.params, made.state, made.batch)
  assert value == 0 and not _any(gradient)


def test_the_students_gradient_into_the_generator_is_scaled_or_stopped(learner):
  """All but what generators themselves have to do; the forward pass is the same."""
  off = ("bmr.adversarial=0", "bmr.cycle=0")
  made = {f: learner(f"bmr.end_to_end={f}", *off, everything=False) for f in (1.0, 0.25, 0.0)}
  start = made[1.0].state.replace(params=_moved(made[1.0].state.params))

  def every(params, state, batch):
    total = lambda one: lambda params: sum(one.losses(params, state, batch)[0].values())
    return {f: jax.value_and_grad(total(one))(params) for f, one in made.items()}

  found = on_one(every)(start.params, start, made[1.0].batch)
  (value, whole), (same, quarter), (also, none) = (found[f] for f in made)
  assert value == same == also
  generator = lambda tree: jax.tree.leaves(tree["generators"]["to_events"])
  assert _any(generator(whole)) and not _any(none["generators"])
  for a, b in zip(generator(whole), generator(quarter), strict=True):
    np.testing.assert_allclose(b, 0.25 * a, rtol=1e-4, atol=1e-9)
  for a, b in zip(*(jax.tree.leaves(x["student"]) for x in (whole, none)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
  "overrides, target, metric",
  [
    ((), {"event_image"}, "last"),
    ((LABELLED,), {"event_image", "label"}, "max"),
    (ALIGNED, {"event_image", "rgb"}, "last"),
    ((*ALIGNED, LABELLED), {"event_image", "rgb", "label"}, "max"),
  ],
)
def test_what_a_batch_holds_and_which_checkpoint_is_chosen(overrides, target, metric):
  recipe = student.create(load("student", *overrides))
  spec = recipe.batch_spec()
  assert set(spec["source"]) == {"rgb", "label"} and set(spec["target"]) == target
  assert spec["target"]["event_image"].shape == (*SIZE, 2)
  assert recipe.metric == ("miou", metric) and recipe.inputs == ("event_image",)


def test_it_starts_from_its_teacher_and_from_given_generators(learner, everything):
  """Which has no branch for images: that is new."""
  state = everything.state
  assert set(state.params) == {"student", "frames", "generators", "discriminators"}
  for name in ("student", "frames"):
    jax.tree.map(
      np.testing.assert_array_equal, state.params[name], state.frozen["teacher"]["params"]
    )
    jax.tree.map(
      np.testing.assert_array_equal, state.batch_stats[name], state.frozen["teacher"]["batch_stats"]
    )
  given = models.init(toy.Segmenter(), jax.random.key(5), (1, *SIZE, 3))
  student_ = state.params["student"]
  jax.tree.map(
    np.testing.assert_array_equal,
    {name: student_[name] for name in given["params"]},
    given["params"],
  )
  assert set(student_) - set(given["params"]) == {"shuffled", "pointwise"}


def test_it_starts_from_a_network_of_events_where_there_is_one(learner, everything):
  """The other parent, and what that lacks from the teacher; teacher and partner are what they are without."""
  given = models.init(toy.Segmenter(), jax.random.key(7), (1, *SIZE, 3))
  given["batch_stats"] = jax.tree.map(lambda x: x + 0.5, given["batch_stats"])
  state, plain = learner(parents={"weights": given}).state, everything.state
  same = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)
  same(state.params["student"], {**plain.params["student"], **given["params"]})
  same(state.batch_stats["student"], {**plain.batch_stats["student"], **given["batch_stats"]})
  same(state.params["frames"], plain.params["frames"])
  same(state.frozen, plain.frozen)


def test_parents_that_do_not_fit_are_told(learner, everything):
  init = lambda **parents: everything.recipe.init(jax.random.key(0), parents)
  with pytest.raises(errors.UserError, match=r"parents\.teacher, a network of frames"):
    init()
  teacher = models.init(toy.Segmenter(), jax.random.key(5), (1, *SIZE, 3))
  cut = lambda *names: {**teacher, "params": {n: teacher["params"][n] for n in names}}
  with pytest.raises(errors.UserError, match="no whole network: it lacks classes"):
    init(teacher=cut("conv", "norm"))
  other = {
    **teacher,
    "params": {**teacher["params"], "classes": {"kernel": jnp.ones((1, 1, 4, 5))}},
  }
  with pytest.raises(errors.UserError, match=r"classes/kernel is \(1, 1, 4, 5\), not"):
    init(teacher=other)


@pytest.mark.parametrize("publish, whose", [("events", "student"), ("frames", "frames")])
def test_which_network_is_published(publish, whose, learner, found):
  made = learner(f"publish={publish}")
  state = made.state.replace(params=found[0].params)
  variables = made.recipe.variables(state)
  jax.tree.map(np.testing.assert_array_equal, variables["params"], state.params[whose])
  (field,) = made.recipe.inputs
  assert field == ("rgb" if publish == "frames" else "event_image")
  batch = {field: made.batch["target"][field]}
  out, carry = made.recipe.predict(variables, batch)
  x = common.seen(made.config, common.picture(made.config, batch, publish))
  want = made.nets[0].apply(variables, x)
  assert carry == () and set(out) == {"logits"}
  np.testing.assert_array_equal(out["logits"], want.logits)
  inspected = made.recipe.inspect(variables, batch)[0]
  np.testing.assert_array_equal(inspected["feature"], want.features["aspp"])
