"""Inflation of an RGB stem to spikes, and grafting."""

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors, models
from bicross_jax.models import layers, resnetv2, transfer

GREY = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 1)), jnp.float32)


def _stem(kernel_channels):
  module = resnetv2.Stem(16, 8)
  x = jnp.zeros((1, 64, 64, kernel_channels))
  return module, module.init(jax.random.key(0), x)["params"]


def _tree(path, kernel):
  return traverse_util.unflatten_dict({path: kernel}, sep="/")


@pytest.mark.parametrize("channels, bins", [(128, 0), (128, 16), (32, 8)])
def test_a_constant_rate_is_answered_like_grey(channels, bins):
  stem, params = _stem(3)
  norm = {"scale": jnp.linspace(0.5, 2, 16), "bias": jnp.linspace(-1, 1, 16)}
  # Some outputs respond to colour only, almost: their mean over RGB is small.
  kernel = params["conv"]["kernel"] * jnp.linspace(0.2, 3, 16)[None, None, None]
  coloured = (jnp.arange(16) % 3 == 0)[None, None, None]
  kernel = kernel - 0.99 * kernel.mean(2, keepdims=True) * coloured
  tree = transfer.inflate_stem(_tree(transfer.STEM, kernel), channels, bins)
  inflated = traverse_util.flatten_dict(tree, sep="/")[transfer.STEM]
  count = bins or channels
  assert inflated.shape == (7, 7, count, 16)
  image, stream = jnp.repeat(GREY, 3, axis=-1), jnp.repeat(GREY, count, axis=-1)
  want = stem.apply({"params": {"conv": {"kernel": kernel}, "norm": norm}}, image)
  got = stem.apply({"params": {"conv": {"kernel": inflated}, "norm": norm}}, stream)
  np.testing.assert_allclose(got, want, atol=1e-3)
  assert want.max() > 1


def test_a_stream_of_regular_spikes_is_near_its_rate():
  stem, params = _stem(3)
  tree = transfer.inflate_stem(_tree(transfer.STEM, params["conv"]["kernel"]), 128)
  inflated = traverse_util.flatten_dict(tree, sep="/")[transfer.STEM]
  smooth = jax.image.resize(GREY[:, :8, :8], GREY.shape, "cubic") * 0.8
  charge = (0.5 + smooth / 2) * jnp.arange(129.0)[None, None, None]  # fires at every integer
  spikes = jnp.where(jnp.diff(jnp.floor(charge), axis=-1) > 0, 1.0, -1.0)
  want = stem.apply({"params": params}, jnp.repeat(smooth, 3, axis=-1))
  got = stem.apply({"params": {**params, "conv": {"kernel": inflated}}}, spikes)
  assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.95


def test_plain_patches_answer_exactly():
  embed = layers.PatchEmbed(8, 16)
  image, stream = jnp.repeat(GREY, 3, axis=-1), jnp.repeat(GREY, 16, axis=-1)
  params = embed.init(jax.random.key(0), image)["params"]
  tree = transfer.inflate_stem(_tree(transfer.PATCHES, params["kernel"]), 128, 16)
  inflated = traverse_util.flatten_dict(tree, sep="/")[transfer.PATCHES]
  got = embed.apply({"params": {**params, "kernel": inflated}}, stream)
  np.testing.assert_allclose(got, embed.apply({"params": params}, image), atol=1e-4)


def test_only_an_rgb_stem_is_inflated():
  with pytest.raises(errors.UserError, match="nothing"):
    transfer.inflate_stem({"params": {}}, 128)
  with pytest.raises(errors.UserError, match="128, 16"):
    transfer.inflate_stem(_tree(transfer.STEM, jnp.zeros((7, 7, 128, 16))), 128)
  with pytest.raises(errors.UserError, match="even"):
    transfer.inflate_stem(_tree(transfer.STEM, jnp.zeros((7, 7, 3, 16))), 9)


def _init(**options):
  module = models.create("dpt", backbone="nano", **options)
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, module.in_channels), "f")
  )
  seed = options["in_channels"]
  return jax.tree.map(lambda leaf: np.full(leaf.shape, seed, np.float32), shapes)


def test_graft_copies_all_but_the_stem_and_says_so():
  fresh, source = _init(in_channels=128, stem_bins=16), _init(in_channels=3, uncertainty=False)
  grafted, kept = transfer.graft(fresh, source)
  assert jax.tree.structure(grafted) == jax.tree.structure(fresh)
  flat = traverse_util.flatten_dict(grafted, sep="/")
  assert kept == sorted(p for p, leaf in flat.items() if leaf.flat[0] == 128)
  assert {p.split("/")[1] if "stem" not in p else "stem" for p in kept} == {
    "uncertainty_head",
    "stem",
  }
  assert sum("stem" in p for p in kept) == 3


def test_inflated_weights_graft_whole():
  fresh = _init(in_channels=128, stem_bins=16)
  source = transfer.inflate_stem(_init(in_channels=3), 128, 16)
  assert transfer.graft(fresh, source, keep="")[1] == []
  with pytest.raises(errors.UserError, match="nothing"):
    transfer.graft(fresh, {"params": {"other": np.zeros(3)}})


def test_whole_modules_are_adopted_and_the_others_named():
  fresh, source = _init(in_channels=3), _init(in_channels=3, uncertainty=False)
  source = jax.tree.map(lambda leaf: leaf + 1, source)
  for part in (source, {"params": {"backbone": source["params"]["backbone"]}}):
    adopted, absent = transfer.adopt(fresh, part)
    assert jax.tree.structure(adopted) == jax.tree.structure(fresh)
    assert set(absent) == set(fresh["params"]) - set(part["params"]) != set()
    for name, module in adopted["params"].items():
      want = 3 if name in absent else 4
      assert all((leaf == want).all() for leaf in jax.tree.leaves(module))


def test_weights_that_do_not_fit_are_not_adopted():
  fresh, spikes = _init(in_channels=3), _init(in_channels=128)
  with pytest.raises(
    errors.UserError, match=r"stem/conv/kernel is \(7, 7, 128, 8\), not \(7, 7, 3"
  ):
    transfer.adopt(fresh, spikes)
  with pytest.raises(errors.UserError, match="no params/backbone/.* and [0-9]+ more"):
    transfer.adopt(fresh, {"params": {"backbone": {"patch_embed": {}, "other": np.zeros(3)}}})
  with pytest.raises(errors.UserError, match="they are none"):
    transfer.adopt(fresh, {"params": {}})
