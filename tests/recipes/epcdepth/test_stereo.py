"""EPCDepth's recipe: metres, signs, mirrored and grafted pairs, devices, what its config may be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.config import grammar
from bicross_jax.recipes.epcdepth import common, stereo
from tests.recipes import devices

SMOKE = "configs/epcdepth.py:tiny,smoke"
SIZE = (32, 64)
DISPARITY = 4  # pixels, of the made-up pairs


def _config(*overrides, spec=SMOKE):
  return grammar.resolve_durations(grammar.load(spec, list(overrides)), 8)


def _metres(config):
  """The depth that the made-up pairs have."""
  return config.rig.focal * SIZE[1] * config.rig.baseline / DISPARITY


def _pair(sign=1, rows=2, seed=0, **fields):
  """Random pictures whose partner is shifted: to the right of the target where the sign is 1."""
  rng = np.random.default_rng(seed)
  wide = rng.integers(0, 256, (rows, SIZE[0], SIZE[1] + 2 * DISPARITY, 3)).astype(np.uint8)
  cut = lambda start: jnp.asarray(wide[:, :, start : start + SIZE[1]])
  baseline = jnp.full((rows,), sign * 0.3, jnp.float32)  # only its sign counts: config.rig has one
  return {
    "rgb": cut(DISPARITY),
    "rgb_right": cut(DISPARITY + sign * DISPARITY),
    "baseline": baseline,
    **fields,
  }


def _maps(config, depth, rows=2):
  """Ten maps that all say one depth (float32[B, H, W] or a number), as a network gives them."""
  rig = config.rig
  inverse = rig.unit / jnp.broadcast_to(jnp.asarray(depth, jnp.float32), (rows, *SIZE))
  map_ = (inverse - 1 / rig.max_depth) / (1 / rig.min_depth - 1 / rig.max_depth)
  return [map_] * 10


HINTS = ("loss.hints=True", "data.sensors=rgb,rgb_right,depth,baseline,intrinsics,depth_hint")


def _hinted(config, hint, sign=1):
  """A pair with hints, whose rig is that of the config."""
  focal = config.rig.focal * SIZE[1]
  intrinsics = jnp.broadcast_to(jnp.diag(jnp.asarray([focal, focal, 1.0])), (2, 3, 3))
  baseline = jnp.full((2,), sign * config.rig.baseline, jnp.float32)
  return {**_pair(sign), "baseline": baseline, "intrinsics": intrinsics, "depth_hint": hint}


def _losses(config, maps, batch):
  run = lambda maps, batch: stereo.losses(config, maps, batch, jax.random.key(0))
  one = jax.vmap(run, axis_name="batch")
  lead = lambda tree: jax.tree.map(lambda x: x[None], tree)
  return {name: float(x[0]) for name, x in one(lead(list(maps)), lead(dict(batch))).items()}


@pytest.mark.parametrize("sign", [1, -1])
def test_the_true_depth_explains_the_partner(sign):
  config = _config("loss.distillation=0", "loss.automask=False")
  true, batch = _metres(config), _pair(sign)
  at = {f: _losses(config, _maps(config, f * true), batch)["photometric_loss"] for f in (0.8, 1, 2)}
  assert at[1] < 0.2 * min(at[0.8], at[2])  # what is left is at the edge, which the partner lacks
  turned = {**batch, "baseline": -batch["baseline"]}
  assert _losses(config, _maps(config, true), turned)["photometric_loss"] > 4 * at[1]


def test_the_rig_may_be_that_of_the_batch():
  config = _config("rig.focal=0", "rig.baseline=0")
  intrinsics = jnp.broadcast_to(jnp.diag(jnp.asarray([50.0, 50.0, 1.0])), (2, 3, 3))
  batch = {"baseline": jnp.asarray([0.5, -0.25]), "intrinsics": intrinsics}
  np.testing.assert_allclose(common.pixels(config, batch, 64), [25, -12.5])
  fixed = _config()
  want = fixed.rig.focal * 64 * fixed.rig.baseline
  np.testing.assert_allclose(common.pixels(fixed, batch, 64), [want, -want], rtol=1e-6)
  assert "intrinsics" in stereo.batch_spec(config) and "intrinsics" not in stereo.batch_spec(fixed)


def test_hints_win_where_they_are_right_and_are_in_metres():
  config = _config("loss.distillation=0", "loss.automask=False", *HINTS)
  true, wrong = _metres(config), 1.4 * _metres(config)
  hint = np.zeros((2, *SIZE), np.float32)
  hint[:, :, 20:40] = true
  found = _losses(config, _maps(config, wrong), _hinted(config, jnp.asarray(hint)))
  want = np.log1p((wrong - true) / config.rig.unit)
  np.testing.assert_allclose(found["hint_loss"], want, rtol=1e-3)
  none = _losses(config, _maps(config, wrong), _hinted(config, jnp.zeros((2, *SIZE))))
  assert none["hint_loss"] == 0


def test_hints_of_another_rig_keep_their_disparity():
  """A rig with half the baseline calls the same disparity half as many metres."""
  config = _config(*HINTS)
  batch = _hinted(config, jnp.full((2, *SIZE), 6.0))
  np.testing.assert_allclose(common.hints(config, batch, SIZE[1]), 6.0, rtol=1e-6)
  other = {**batch, "baseline": batch["baseline"] / 2}
  np.testing.assert_allclose(common.hints(config, other, SIZE[1]), 12.0, rtol=1e-6)


def test_what_does_not_move_does_not_count():
  """A pair of equal images is explained by the partner as it is, whatever the depth."""
  batch = _pair()
  still = {**batch, "rgb_right": batch["rgb"]}
  config = _config("loss.distillation=0")
  assert _losses(config, _maps(config, 5.0), still)["photometric_loss"] == 0
  assert _losses(config, _maps(config, _metres(config)), batch)["photometric_loss"] > 0


def test_mirrored_and_grafted_pairs_are_pairs_still():
  """The true depth explains every example after both; with legacy groups some rows are wrong."""
  config = _config("loss.distillation=0", "loss.automask=False")
  depth = _maps(config, _metres(config), rows=8)[0]
  inverse = common.scaled(config, depth) / config.rig.unit
  inner = slice(2 * DISPARITY, -2 * DISPARITY)
  error = lambda batch: np.asarray(stereo.Pair(config, batch).error(inverse))[:, :, inner]
  one, other = _pair(1, rows=4), _pair(-1, rows=4, seed=1)
  batch = {name: jnp.concatenate([one[name], other[name]]) for name in one}
  seams = []
  for seed in range(8):
    out = stereo.augmented(config, jax.random.key(seed), batch)
    wrong = (error(out) > 1e-3).any(-1).sum(-1)  # rows of each example
    assert wrong.max() <= 4  # windows of SSIM across a seam
    legacy = _config("augment.graft=legacy")
    seams.append(
      (error(stereo.augmented(legacy, jax.random.key(seed), batch)) > 1e-3).any(-1).sum()
    )
  assert max(seams) > 50
  plain = _config("augment.graft=none", "augment.flip=0")
  out = stereo.augmented(plain, jax.random.key(0), batch)
  assert all((out[name] == batch[name]).all() for name in batch)


def test_a_part_of_the_loss_for_every_ingredient():
  full = _config(*HINTS, "loss.smoothness=0.1")
  batch = _hinted(full, jnp.full((2, *SIZE), 5.0))
  names = set(_losses(full, _maps(full, 7.0), batch))
  assert names == {"photometric_loss", "hint_loss", "distillation_loss", "smoothness_loss"}
  bare = _config("loss.distillation=0")
  assert set(_losses(bare, _maps(bare, 7.0), batch)) == {"photometric_loss"}


def test_maps_learn_in_groups_and_are_smoothed_by_their_scale():
  assert stereo.groups(10) == [slice(0, 5), slice(5, 10)] and stereo.groups(4) == [slice(0, 4)]
  assert stereo.levels(10, "scale") == [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]
  assert stereo.levels(10, "index") == list(range(10)) and stereo.levels(4, "scale") == [0, 1, 2, 3]


@pytest.mark.parametrize("output", [0, 2, -1])
def test_predictions_are_metres_of_the_map_that_is_asked_for(output):
  config = _config(f"output={output}", "model.decoder=plain")
  module = common.network(config)
  variables = common.initialise(config, module, jax.random.key(0))
  batch = {"rgb": _pair()["rgb"]}
  found = jax.jit(stereo.create(config).predict)(variables, batch)[0]["depth"]
  maps = jax.jit(module.apply)(variables, common.image(batch["rgb"])).maps
  if output < 0:
    want = common.frames(maps[:3], SIZE).mean(0)
  else:
    want = maps[output]
  rig = config.rig
  inverse = 1 / rig.max_depth + (1 / rig.min_depth - 1 / rig.max_depth) * want
  np.testing.assert_allclose(found, rig.unit / inverse, rtol=1e-4)
  assert found.shape == (2, SIZE[0] >> max(output, 0), SIZE[1] >> max(output, 0))


def test_without_depth_validation_is_photometric():
  config = _config("judge=photometric", "model.decoder=plain")
  recipe = stereo.create(config)
  variables = common.initialise(config, common.network(config), jax.random.key(0))
  batch = {**_pair(), "mask": jnp.asarray([True, False])}
  total, count = jax.jit(recipe.score)(variables, batch)["photometric"]
  depth = jax.jit(recipe.predict)(variables, {"rgb": batch["rgb"]})[0]["depth"]
  error = stereo.Pair(config, batch).error(1 / depth)
  assert count == 1 and recipe.metric == ("photometric", "min")
  np.testing.assert_allclose(total, error[0].mean(), rtol=1e-4)


@pytest.mark.parametrize(
  "arg, said",
  [
    ("tiny,data.height=100", "multiples of 32"),
    ("tiny,model.padding=reflect", "at least 160x160"),
    ("tiny,rig.min_depth=200", "min_depth 200 must be below"),
    ("tiny,model.layers=20", "18, 34, 50, 101, 152"),
    ("tiny,augment.graft=side", "choose from none, sign, legacy"),
    ("resnet34", "resnet18"),
    ("tiny,loss.hints=True", "depth_hint and intrinsics among config.data.sensors"),
    ("tiny,nyu", "synthetic, smoke, kitti, custom"),
  ],
)
def test_what_a_config_may_not_be(arg, said):
  with pytest.raises(errors.UserError, match=said):
    grammar.load(f"configs/epcdepth.py:{arg}")


def test_the_published_settings():
  config = grammar.load("configs/epcdepth.py:resnet18,kitti")
  assert (config.data.height, config.data.width, config.data.batch_size) == (320, 1024, 8)
  resolved = grammar.resolve_durations(config, 45200)
  assert resolved.train.steps == 20 * 5650
  assert round(config.optim.milestones[0] * resolved.train.steps) == 15 * 5650
  assert config.rig.focal * config.rig.baseline == 0.58 * 0.54
  assert grammar.load("configs/epcdepth.py:resnet18_lr,kitti").data.width == 640
  assert grammar.load("configs/epcdepth.py:resnet50,kitti").model.layers == 50


FOUR = """
import jax, numpy as np
from bicross_jax.config import grammar
from bicross_jax.recipes.epcdepth import stereo
config = grammar.load("configs/epcdepth.py:tiny,smoke",
                      ["data.batch_size=8", "augment.flip=0", "augment.graft=none", "augment.jitter=0",
                       "loss.automask=False", "optim.lr=1e-3"])
recipe = stereo.create(grammar.resolve_durations(config, 8))
# Smooth pictures: between random pixels a gradient jumps, and rounding decides where.
n, y, x, c = np.mgrid[:8, :32, :64, :3]
sign = 1 - 2 * (n % 2)  # every other partner stands to the left
def view(x):
  wave = np.sin(0.11 * x + 0.05 * y + c + n) + np.sin(0.37 * x - 0.23 * y + 2 * c + 3 * n)
  return (255 * (0.5 + 0.25 * wave)).astype(np.uint8)
batch = {"rgb": view(x), "rgb_right": view(x + 4 * sign),
         "baseline": 0.5 * sign[:, 0, 0, 0].astype(np.float32)}
state = recipe.init(jax.random.key(0), {})
found = []
for n in (1, 4):
  step = jax.pmap(recipe.train_step, axis_name="batch", in_axes=(None, 0, None),
                  out_axes=(None, None), devices=jax.devices()[:n])
  split = jax.tree.map(lambda v: v.reshape(n, -1, *v.shape[1:]), batch)
  after, metrics = step(state, split, jax.random.key(1))
  found.append((jax.device_get(after), {k: float(s / c) for k, (s, c) in metrics.items()}))
(one, m1), (four, m4) = found
for name, value in m1.items():
  np.testing.assert_allclose(m4[name], value, rtol=1e-3, err_msg=name)
for a, b in zip(jax.tree.leaves(one.batch_stats), jax.tree.leaves(four.batch_stats)):
  np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(four.params)):
  # Adam's first step has the size of its rate whatever the gradient: rounding may turn one.
  assert np.mean(np.abs(a - b) > 1e-4 * max(1, np.abs(a).max())) < 5e-3
print("equal")
"""


@pytest.mark.slow
def test_four_devices_equal_one():
  """Losses and batch norms pool over the devices."""
  devices.on_four(FOUR)
