"""The depth network of Akada et al.: the published network, its padding, names, groups and switches."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import convert, errors, models
from bicross_jax.models import efficientnet, efficientnet_unet
from bicross_jax.train import optim

NAME, SIZE = "efficientnet_unet", (64, 64)
# Encoder's learning rates over the decoder's (docs/systems/domain_invariant.md, Optimisation).
GROUPS = (
  optim.Group(1e-3, r"^encoder/(stem|stage[1-3])", "early"),
  optim.Group(1e-2, r"^encoder/stage[45]", "middle"),
  optim.Group(1e-1, r"^encoder/", "late"),
  optim.Group(1.0, r"^decoder/", "decoder"),
)
COUNTS = {"early": 459_104, "middle": 4_918_808, "late": 22_962_872, "decoder": 42_611_841}


def _shapes(variant):
  module = models.create(NAME, variant=variant)
  x = jax.ShapeDtypeStruct((1, *SIZE, 3), jnp.float32)
  return jax.eval_shape(module.init, jax.random.key(0), x)


@pytest.fixture(scope="module")
def case(golden):
  return golden.load("akada_task")


@pytest.fixture(scope="module")
def state(golden, case):
  return golden.weights(case.spec)


@pytest.fixture(scope="module")
def b5(state):
  return convert.from_torch(NAME, state)


def test_equals_the_published_network(golden, case, b5):
  x = golden.inputs_of(case.spec)["x"].transpose(0, 2, 3, 1)
  out = jax.jit(models.create(NAME).apply)(b5, x)
  have = {"depth": out.depth[..., None]}
  have |= {name: x for (name, _), x in zip(efficientnet_unet.DECODER, out.features, strict=True)}
  have |= {f"reduction_{i}": x for i, x in zip((1, 2, 3, 4, 6), out.maps, strict=True)}
  assert set(have) == set(case.outputs)
  for name, want in case.outputs.items():
    got = np.asarray(have[name]).transpose(0, 3, 1, 2)[:, : want.shape[1]]
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max(), name


def test_weights_go_out_as_they_came_in(state, b5):
  back = convert.to_torch(NAME, b5)
  assert set(back) == set(state)
  for name, x in back.items():
    if not name.endswith("num_batches_tracked"):
      np.testing.assert_array_equal(x, state[name], err_msg=name)


def test_the_encoder_alone_from_efficientnet_pytorch(state, b5):
  prefix = "encoder.encoder_pre_trained."
  alone = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
  alone |= {"_fc.weight": np.zeros((1000, 2048)), "_fc.bias": np.zeros(1000)}
  _same_encoder(convert.from_torch(NAME, alone), b5)


def _same_encoder(have, want):
  want = {collection: {"encoder": tree["encoder"]} for collection, tree in want.items()}
  assert jax.tree.structure(have) == jax.tree.structure(want)
  jax.tree.map(np.testing.assert_array_equal, have, want)


def _timm(name):
  """timm's name of an entry of efficientnet_pytorch; every stage of it counts its blocks from 0."""
  found = re.fullmatch(r"_blocks\.(\d+)\.(.*)", name)
  if not found:
    ends = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    layer, _, leaf = name.partition(".")
    return f"{ends[layer]}.{leaf}"
  i, stage = int(found[1]), 0
  for depth in (3, 5, 5, 7, 7, 9, 3):
    if i < depth:
      break
    i, stage = i - depth, stage + 1
  layer, _, leaf = found[2].partition(".")
  layers = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2" if stage else "bn1",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl" if stage else "conv_pw",
    "_bn2": "bn3" if stage else "bn2",
  }
  return f"blocks.{stage}.{i}.{layers[layer]}.{leaf}"


def test_the_encoder_alone_under_names_of_timm(state, b5):
  prefix = "encoder.encoder_pre_trained."
  alone = {_timm(k.removeprefix(prefix)): v for k, v in state.items() if k.startswith(prefix)}
  alone |= {"classifier.weight": np.zeros((1000, 2048)), "classifier.bias": np.zeros(1000)}
  assert alone["blocks.4.6.conv_pwl.weight"].shape == (176, 1056, 1, 1)
  _same_encoder(convert.from_torch(NAME, alone), b5)


def test_slopes_that_differ_are_refused(state):
  name = "decoder.deconv2.model.6.weight"
  with pytest.raises(errors.UserError, match=f"1 unequal: {name} and"):
    convert.from_torch(NAME, {**state, name: state[name] + 1})


def test_small_ones_go_out_and_come_back():
  rng = np.random.default_rng(0)
  draw = lambda s: rng.standard_normal(s.shape).astype(np.float32)
  for variant in ("small", "nano"):
    variables = jax.tree.map(draw, dict(_shapes(variant)))
    back = convert.from_torch(NAME, convert.to_torch(NAME, variables), variant=variant)
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_groups_of_learning_rates_hold_the_published_numbers_of_parameters():
  params = _shapes("b5")["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 70_952_625
  labels = optim.assign(GROUPS, params)
  counts = dict.fromkeys(COUNTS, 0)
  for label, leaf in zip(jax.tree.leaves(labels), jax.tree.leaves(params), strict=True):
    counts[GROUPS[label].name] += leaf.size
  assert counts == COUNTS
  for variant in ("small", "nano"):
    labels = optim.assign(GROUPS, _shapes(variant)["params"])
    assert set(jax.tree.leaves(labels)) == set(range(len(GROUPS)))


def test_padding_is_that_of_tensorflow_for_456_pixels():
  size = -(-456 // 2)  # behind the stem, where 456 pixels have 0 and 1
  for stage in efficientnet.STAGES:
    total = (-(-size // stage.stride) - 1) * stage.stride + stage.kernel - size
    assert stage.padding == (total // 2, total - total // 2)
    size = -(-size // stage.stride)


def test_blocks_are_left_out_by_example():
  """What remains is divided by its probability; the key decides, and `drop_connect` whether."""
  block = efficientnet.Block(3, 1, 2, 4, (1, 1), drop=0.25)
  x = np.random.default_rng(0).standard_normal((1, 4, 4, 4)).astype(np.float32).repeat(400, 0)
  variables = jax.jit(functools.partial(block.init, train=False, drop_connect=False))(
    jax.random.key(0), x
  )
  apply = jax.jit(lambda key, x: block.apply(variables, x, False, True, rngs={"drop_connect": key}))
  whole = block.apply(variables, x[:1], False, False)[0] - x[0]
  assert np.abs(whole).max() > 0.01
  rest = np.asarray(apply(jax.random.key(1), x)) - x
  dropped = np.abs(rest).max((1, 2, 3)) == 0
  assert 0.15 < dropped.mean() < 0.35
  np.testing.assert_allclose(
    rest[~dropped], np.asarray(whole)[None].repeat((~dropped).sum(), 0) / 0.75, atol=1e-5
  )
  assert (np.asarray(apply(jax.random.key(1), x)) - x == rest).all()


@pytest.fixture(scope="module")
def nano():
  module = models.create(NAME, variant="nano")
  return module, models.init(module, jax.random.key(0), (1, *SIZE, 3))


@pytest.fixture(scope="module")
def images():
  return np.random.default_rng(0).uniform(-1, 1, (2, *SIZE, 3)).astype(np.float32)


def test_a_frozen_encoder_keeps_its_statistics_and_still_leaves_blocks_out(nano, images):
  module, variables = nano
  modes = dict(train=True, train_encoder=False, mutable=["batch_stats"])

  @jax.jit
  def step(variables, x, key):
    out, updates = module.apply(variables, x, rngs={"drop_connect": key}, **modes)
    return out.maps[-1], updates["batch_stats"]

  found = [step(variables, images, jax.random.key(i)) for i in range(32)]
  before, after = variables["batch_stats"], found[0][1]
  same = lambda part: [
    np.array_equal(a, b)
    for a, b in zip(jax.tree.leaves(before[part]), jax.tree.leaves(after[part]), strict=True)
  ]
  assert all(same("encoder")) and not any(same("decoder"))
  several = [len({np.asarray(m[i]).tobytes() for m, _ in found}) for i in range(len(images))]
  assert max(several) == 2  # with and without the one block that may be left out


def test_statistics_of_the_encoder_follow_train(nano, images):
  module, variables = nano
  key = {"drop_connect": jax.random.key(0)}
  modes = dict(train=True, rngs=key, mutable=["batch_stats"])
  out, updates = jax.jit(lambda v, x: module.apply(v, x, **modes))(variables, images)
  before = variables["batch_stats"]["encoder"]["stem_norm"]["mean"]
  after = updates["batch_stats"]["encoder"]["stem_norm"]["mean"]
  stem = variables["params"]["encoder"]["stem"]["kernel"]
  x = jax.lax.conv_general_dilated(
    images, stem, (2, 2), ((0, 1), (0, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  np.testing.assert_allclose(after, 0.99 * before + 0.01 * x.mean((0, 1, 2)), atol=1e-6)
  assert out.depth.shape == (2, *SIZE) and 0 < np.abs(out.depth).max() <= 1


def test_parts_alone_are_the_whole(nano, images):
  module, variables = nano

  @jax.jit
  def both(variables, x):
    maps = module.apply(variables, x, method="encode")
    return module.apply(variables, x), module.apply(variables, maps, method="decode")

  whole, (depth, features) = both(variables, images)
  np.testing.assert_array_equal(whole.depth, depth)
  assert [f.shape[1] for f in features] == [4, 8, 16, 32, 64]
  assert [m.shape[1] for m in whole.maps] == [32, 16, 8, 4, 2]


@pytest.mark.parametrize(
  "variant, size, message",
  [
    ("nano", (64, 80), "multiples of 32"),
    ("nano", (32, 64), "at least 64"),
    ("b6", (64, 64), "b5, small, nano"),
  ],
)
def test_what_cannot_be(variant, size, message):
  module = models.create(NAME, variant=variant)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *size, 3), jnp.float32))
