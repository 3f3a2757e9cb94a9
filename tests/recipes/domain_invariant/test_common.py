"""What the stages share: pictures, rates, groups of parameters, parents; and what configs may not be."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.config import check, grammar
from bicross_jax.recipes.domain_invariant import common
from bicross_jax.train import optim
from tests.recipes.domain_invariant.conftest import given, load, named

CONFIG = "configs/domain_invariant.py"


@pytest.mark.parametrize(
  "stage, constant, epochs, steps, last",
  [
    ("translation", 10, 20, 1412, 1 / 11),
    ("ssrl", 50, 100, 176, 1 / 51),
    ("finetune", 15, 30, 1412, 1 / 16),
    ("source", 10, 20, 1412, 1 / 11),
  ],
)
def test_rates_fall_as_published(stage, constant, epochs, steps, last):
  """1 - max(0, e - n) / (n_decay + 1) in epoch e = 1, 2, ..., the same in all of its steps."""
  config = grammar.resolve_durations(grammar.load(f"{CONFIG}:{stage},vkitti2kitti"), 1)
  factor = common.falling(config)
  assert config.train.steps == epochs * steps
  want = [1 - max(0, e - constant) / (epochs - constant + 1) for e in range(1, epochs + 1)]
  for at in (0, steps // 2, steps - 1):
    found = [float(factor(jnp.int32(e * steps + at))) for e in range(epochs)]
    np.testing.assert_allclose(found, want, rtol=1e-5)
  assert found[-1] == pytest.approx(last)


def test_without_epochs_rates_fall_at_every_step():
  config = load("translation", "train.steps=10", "optim.constant=0.4")
  found = [float(common.falling(config)(jnp.int32(k))) for k in range(10)]
  want = [1] * 4 + [1 - k / 7 for k in range(1, 7)]
  np.testing.assert_allclose(found, want, rtol=1e-5)


def test_groups_of_the_published_network_and_their_rates():
  """Parameters of stem and stages 1 to 3, of 4 and 5, of what is left of the encoder, and of the decoder."""
  config = grammar.resolve_durations(grammar.load(f"{CONFIG}:finetune,vkitti2kitti"), 1)
  module = common.network(config)
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  )
  counts = dict.fromkeys(("encoder_early", "encoder_middle", "encoder_late", "decoder"), 0)
  for path, leaf in named(shapes["params"]).items():
    group = next((name for name, pattern in common.ENCODER if re.search(pattern, path)), "decoder")
    assert path.startswith(group[:7])
    counts[group] += leaf.size
  assert list(counts.values()) == [459_104, 4_918_808, 22_962_872, 42_611_841]
  # What `freeze_bn` and stage `ssrl` hold still is found by these names.
  norms = {name.rpartition("/")[0] for name in named(shapes["batch_stats"])}
  found = {name for name in named(shapes["params"]) if "norm" in name}
  assert found == {f"{norm}/{kind}" for norm in norms for kind in ("scale", "bias")}
  last = [leaf.shape for name, leaf in named(shapes["params"]).items() if "decoder/output/" in name]
  assert last == [(7, 7, 12, 1)]
  params = {"encoder": {n: jnp.ones(1) for n in ("stem", "stage3_4", "stage4_0", "stage7_2", "head_norm")},
            "decoder": {"center": jnp.ones(1)}}  # fmt: skip
  transform = common.task_optimiser(config)
  updates, state = transform.update(params, transform.init(params), params)
  rates = {
    name: float(-x[0]) for name, x in named(updates).items()
  }  # Adam's first step is the rate
  assert rates == pytest.approx(
    {
      "encoder/stem": 4e-7,
      "encoder/stage3_4": 4e-7,
      "encoder/stage4_0": 4e-6,
      "encoder/stage7_2": 4e-5,
      "encoder/head_norm": 4e-5,
      "decoder/center": 4e-4,
    },
    rel=1e-3,
  )
  assert optim.learning_rates(state)["lr/encoder_middle"] == pytest.approx(4e-6)


def test_moments_decay_as_published():
  """0.95 and 0.999 for depth, 0.5 and 0.9 for generators and critics: the second step of Adam."""
  config = load("translation", "optim.lr=1", "optim.gan_lr=1", "optim.constant=1")
  for transform, (b1, b2) in (
    (common.task_optimiser(config), (0.95, 0.999)),
    (common.gan_optimiser(config, "generators"), (0.5, 0.9)),
  ):
    params = {"decoder": jnp.zeros(1)}
    state, m, v = transform.init(params), 0.0, 0.0
    for g in (1.0, -3.0):
      updates, state = transform.update({"decoder": jnp.full(1, g)}, state, params)
      m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    want = -(m / (1 - b1**2)) / (np.sqrt(v / (1 - b2**2)) + 1e-8)
    np.testing.assert_allclose(updates["decoder"], want, rtol=1e-4)


def test_pictures_are_seen_from_minus_one_to_one():
  rgb = np.uint8([[[[0, 51, 255]]]])
  np.testing.assert_allclose(common.picture({"rgb": rgb})[0, 0, 0], [-1, -0.6, 1], atol=1e-6)


def test_pictures_and_depth_are_mirrored_and_turned_together():
  """A picture that is its own depth stays so, but for what a turn leaves unknown."""
  ramp = np.broadcast_to(np.arange(1, 65, dtype=np.float32), (4, 64, 64))
  batch = {"rgb": np.repeat(np.uint8(3 * ramp)[..., None], 3, -1), "depth": ramp}
  out = common.augmented(load("source", "augment.flip=1"), jax.random.key(0), batch)
  np.testing.assert_array_equal(out["depth"], ramp[..., ::-1])
  np.testing.assert_array_equal(out["rgb"], batch["rgb"][:, :, ::-1])
  out = common.augmented(load("source", "augment.rotate=1"), jax.random.key(0), batch)
  depth, seen = np.asarray(out["depth"]), np.asarray(out["rgb"], float)[..., 0] / 3
  inside = np.s_[:, 8:-8, 8:-8]
  assert (depth[inside] != ramp[inside]).mean() > 0.1
  assert np.abs(depth[inside] - seen[inside]).max() <= 1 and (depth[:, :, [0, -1]] == 0).any()
  same = common.augmented(load("source"), jax.random.key(0), batch)
  jax.tree.map(np.testing.assert_array_equal, same, batch)


@pytest.mark.parametrize(
  "stage, parents, said",
  [
    ("ssrl", {}, "stage ssrl starts from parents.generators; none was given"),
    ("finetune", {}, "stage finetune starts from parents.task; none was given"),
    ("finetune", {"task"}, "stage finetune starts from parents.generators; none was given"),
  ],
)
def test_a_parent_that_is_not_there_is_told(stage, parents, said, learner):
  recipe = learner(stage).recipe
  with pytest.raises(errors.UserError) as error:
    recipe.init(jax.random.key(0), {role: given()[role] for role in parents})
  assert str(error.value) == said


def test_a_parent_without_a_network_that_is_needed_is_told(learner):
  parents, recipe = given(), learner("finetune").recipe
  part = lambda role, *names: {
    kind: {n: tree[n] for n in names} for kind, tree in parents[role].items()
  }
  for changed, said in (
    ({"generators": part("generators", "task")}, "parents.generators has no network to_target, to_source"),
    ({"generators": part("generators", "to_source")}, "parents.generators has no network to_target"),
    ({"task": part("task", "to_source")}, "parents.task has no network task"),
  ):  # fmt: skip
    with pytest.raises(errors.UserError) as error:
      recipe.init(jax.random.key(0), {**parents, **changed})
    assert str(error.value) == said
  with pytest.raises(errors.UserError, match=r"^parents\.weights has no encoder$"):
    learner("ssrl").recipe.init(
      jax.random.key(0), {**parents, "weights": part("generators", "to_source")}
    )


SIZES = "multiples of 32, and at least 64"


@pytest.mark.parametrize(
  "arg, said",
  [
    ("source,data.height=100", f"config.data: height and width are {SIZES}, not 100x160"),
    ("source,data.width=32", f"config.data: height and width are {SIZES}, not 96x32"),
    ("source,augment.labels=bilinear", "config.augment.labels=bilinear mixes unknown depth"),
    ("source,optim.encoder=0.1,0.1", "optim.encoder"),
    ("source,optim.encoder=0.1,0.1,0.1,0.1", "config.optim.encoder has 4 factors"),
    ("source,model.variant=b7", "choose from b5, small, nano"),
    ("source,model.name=dpt", "choose from efficientnet_unet"),
    ("source,loss.max_depth=0", "loss.max_depth"),
    ("source,optim.constant=1.5", "optim.constant"),
    ("source,augment.flip=2", "augment.flip"),
    ("source,augment.labels=bicubic", "choose from nearest, bilinear"),
    ("source,translate.cycle=1", "translate"),  # a stage without generators has no such field
    ("translation,generator.blocks=0", "generator.blocks"),
    ("translation,translate.pool=-1", "translate.pool"),
    ("translation,discriminator.width=0", "discriminator.width"),
    ("ssrl,ssrl.shrink=0", "ssrl.shrink"),
    ("ssrl,loss.task=1", "loss"),
    ("finetune,freeze_bn=sometimes", "choose from always, until_first_validation, never"),
    ("finetune,loss.consistency=-1", "loss.consistency"),
    ("finetun", "finetune"),
    ("finetune,kitti2vkitti", "vkitti2kitti"),
  ],
)  # fmt: skip
def test_a_mistake_is_told(arg, said):
  with pytest.raises(errors.UserError) as error:
    grammar.load(f"{CONFIG}:{arg}")
  assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("section", ["target", "truth"])
def test_source_and_target_have_one_size(section):
  """Sizes follow the source's in the config file; a checkpoint may say anything."""
  config = grammar.load(f"{CONFIG}:finetune,vkitti2kitti,data.height=256")
  assert config[section].height == 256
  plain = json.loads(json.dumps(config.to_dict()))
  plain[section]["width"] = 480
  with pytest.raises(errors.UserError) as error:
    check.check(grammar.from_plain(plain))
  said = f"config.{section}: the networks see pictures of the source's 256x960, not 256x480"
  assert str(error.value) == said


@pytest.mark.parametrize(
  "arg",
  [
    "source,data.domain=night",
    "translation,data.height=128,data.width=96",  # the target of the world follows
    "translation,translate.pool=0",
    "finetune,augment.labels=bilinear,loss.mask=False",
    "finetune,vkitti2kitti,freeze_bn=until_first_validation",
  ],
)
def test_what_a_config_may_be(arg):
  grammar.load(f"{CONFIG}:{arg}")
