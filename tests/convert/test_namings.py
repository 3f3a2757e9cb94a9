"""Every naming that weights are published under: coverage of the names, values, positions, stems.

That networks of these names give the same numbers is shown by tests/convert/test_peers.py where the
libraries are installed, and for the names of DPT and BiCross by tests/models/test_dpt.py.
"""

import functools
import itertools
import json
import re

import jax
import numpy as np
import pytest

from bicross_jax import convert, errors, models
from bicross_jax.convert import torch_state
from bicross_jax.models import transfer
from tests.conftest import GOLDEN
from tests.convert import google, huggingface

NAMES = json.loads((GOLDEN / "published_names.json").read_text())
PUBLISHED = [title for title in NAMES if title != "note"]
ALONE = {"uncertainty": False}


def _expand(arrays):
  """{name: zeros that take no memory} of names with ranges {a-b}."""
  out = {}
  for name, shape in arrays.items():
    parts = re.split(r"\{(\d+)-(\d+)\}", name)
    ranges = [range(int(a), int(b) + 1) for a, b in zip(parts[1::3], parts[2::3])]
    for numbers in itertools.product(*ranges):
      pairs = itertools.zip_longest(parts[::3], map(str, numbers), fillvalue="")
      out["".join(text for pair in pairs for text in pair)] = np.broadcast_to(np.float32(0), shape)
  return out


def _equal(have, want):
  assert jax.tree.structure(have) == jax.tree.structure(want)
  jax.tree.map(np.testing.assert_array_equal, have, want)


@functools.cache
def _shapes(**options):
  module = models.create("dpt", **options)
  x = jax.ShapeDtypeStruct((1, 64, 64, module.in_channels), np.float32)
  return jax.tree.map(lambda x: x.shape, jax.eval_shape(module.init, jax.random.key(0), x))


@pytest.mark.parametrize("title", PUBLISHED)
def test_every_published_name_and_shape_has_its_place(title):
  case = NAMES[title]
  options = {"backbone": case["backbone"], **ALONE}
  state = _expand(case["arrays"])
  got = torch_state.convert(models.create("dpt", **options), state)
  want = _shapes(**options)
  if title.startswith("timm"):
    want = {"params": {"backbone": want["params"]["backbone"]}}
  assert jax.tree.map(np.shape, got.variables) == want
  unused = {"timm": ("head.",), "transformers": ("neck.fusion_stage.layers.0.residual_layer1.",)}
  prefix = unused[title.split()[0]]
  assert set(got.unused) == {name for name in state if name.startswith(prefix)}


@pytest.mark.parametrize("title", [t for t in PUBLISHED if t.startswith("timm")])
def test_the_same_backbones_under_names_of_google(title):
  case = NAMES[title]
  heads, depths = {"hybrid": (12, (3, 4, 9)), "base": (12, ()), "large": (16, ())}[case["backbone"]]
  state = google.arrays(_expand(case["arrays"]), heads, depths)
  options = {"backbone": case["backbone"]}
  got = convert.from_torch("dpt", state, **options)
  assert jax.tree.map(np.shape, got) == {
    "params": {"backbone": _shapes(**options)["params"]["backbone"]}
  }


def test_values_are_the_same_under_every_name(nano, published):
  backbone = {"params": {"backbone": nano["params"]["backbone"]}}
  without = {"params": {k: v for k, v in nano["params"].items() if k != "uncertainty_head"}}
  timm = {
    name.removeprefix("pretrained.model."): value
    for name, value in published.items()
    if name.startswith("pretrained.model.")
  }
  convert_nano = lambda state, **options: convert.from_torch(
    "dpt", state, backbone="nano", **options
  )
  _equal(convert_nano(published), nano)
  _equal(convert_nano(huggingface.arrays(published), **ALONE), without)
  _equal(convert_nano(timm), backbone)
  _equal(convert_nano(google.arrays(timm, 2, (1, 1, 1))), backbone)


@pytest.mark.parametrize("case", ["bicross_dpt_hybrid_spike", "bicross_dpt_vitb16_rgb"])
def test_what_goes_out_has_the_published_names_and_shapes(golden, case):
  spec = golden.load(case).spec
  state = _expand(spec["state"])
  backbone, channels = ("hybrid", 128) if "hybrid" in case else ("base", 3)
  variables = convert.from_torch("dpt", state, backbone=backbone, in_channels=channels)
  out = convert.to_torch("dpt", variables)
  assert {k: list(v.shape) for k, v in out.items()} == spec["state"]
  assert all(v.dtype == np.float32 and v.flags.c_contiguous for v in out.values())


def test_other_trees_do_not_go_out(nano):
  with pytest.raises(errors.UserError, match="1 unknown: params/head/kernel"):
    convert.to_torch("dpt", {"params": {**nano["params"], "head": {"kernel": np.zeros(3)}}})
  with pytest.raises(errors.UserError, match="no model 'midas'"):
    convert.to_torch("midas", nano)


def test_positions_are_resized_as_torch_does_and_the_class_token_is_kept():
  torch = pytest.importorskip("torch")
  state = _expand(NAMES["timm vit_base_patch16_384"]["arrays"])
  old = np.random.default_rng(0).standard_normal((1, 1 + 14 * 14, 768), np.float32)
  got = torch_state.convert(models.create("dpt", backbone="base"), {**state, "pos_embed": old})
  assert got.notes == ["positions resized from 14x14 to 24x24"]
  grid = torch.from_numpy(old[:, 1:].reshape(1, 14, 14, 768).transpose(0, 3, 1, 2))
  want = torch.nn.functional.interpolate(grid, (24, 24), mode="bilinear", align_corners=False)
  have = got.variables["params"]["backbone"]["vit"]["pos_embed"]
  np.testing.assert_array_equal(have[:, 0], old[:, 0])
  np.testing.assert_allclose(
    have[:, 1:].reshape(1, 24, 24, 768), want.numpy().transpose(0, 2, 3, 1), atol=1e-5
  )


def test_positions_on_a_plane_stay_on_it(published):
  """Without PyTorch: bilinear interpolation keeps a plane, up to half an old cell from the edge."""
  y, x = np.meshgrid(np.arange(12) + 0.5, np.arange(12) + 0.5, indexing="ij")
  plane = np.repeat((2 * y - x)[..., None], 16, axis=-1).reshape(1, 144, 16)
  old = np.concatenate([published["pretrained.model.pos_embed"][:, :1], plane], axis=1)
  got = convert.from_torch("dpt", {**published, "pretrained.model.pos_embed": old}, backbone="nano")
  have = got["params"]["backbone"]["vit"]["pos_embed"][0, 1:, 0].reshape(2, 4)
  y, x = np.meshgrid((np.arange(2) + 0.5) * 6, (np.arange(4) + 0.5) * 3, indexing="ij")
  np.testing.assert_allclose(have, 2 * y - x, atol=1e-5)


def test_a_stem_is_inflated_on_request_only(nano, published):
  options = dict(backbone="nano", in_channels=128, stem_bins=16)
  with pytest.raises(
    errors.UserError, match="1 misshapen: .*stem.conv.weight .*takes RGB: `inflate`"
  ):
    convert.from_torch("dpt", published, **options)
  got = convert.from_torch("dpt", published, inflate=True, **options)
  _equal(got, jax.tree.map(np.asarray, transfer.inflate_stem(nano, 128, 16)))
  with pytest.raises(errors.UserError, match="misshapen"):
    convert.from_torch("dpt", convert.to_torch("dpt", got), inflate=True, **options)


def _without(state, *names):
  return {k: v for k, v in state.items() if k not in names}


def test_refusals(published):
  theirs = huggingface.arrays(published)
  key = "dpt.encoder.layer.1.attention.attention.key.weight"
  query = key.replace("key", "query")
  norm = "dpt.layernorm.weight"
  first = "dpt.embeddings.projection.weight"
  for state, words in (
    (
      _without(theirs, key),
      ["1 missing: params/backbone/vit/block1/attention/qkv/kernel (there is only"],
    ),
    ({**theirs, key: theirs[key][:, :-1]}, [f"1 misshapen: {key} (16, 15) for a part of"]),
    ({**theirs, key: theirs[key] * np.nan}, [f"1 not finite: {key}"]),
    (
      {**theirs, "extra": theirs[norm], norm: theirs[norm][:3]},
      ["1 unknown: extra", f"{norm} (3,)"],
    ),
    (
      {**theirs, first.replace("projection", "patch_embeddings.projection"): theirs[first]},
      ["1 unknown: dpt.embeddings.patch_embeddings.projection.weight"],
    ),
    ({**theirs, query: theirs[query][0]}, [f"1 misshapen: {query} (16,) for a part of"]),
    ({}, ["no weights of dpt under any known naming (DPT", "their names are none"]),
    ({"a.b": theirs[norm]}, ["their names are a.b"]),
  ):
    with pytest.raises(errors.UserError) as error:
      convert.from_torch("dpt", state, backbone="nano", **ALONE)
    text = str(error.value)
    assert all(word in text for word in words) and "\n" not in text, text
  with pytest.raises(
    errors.UserError, match=r"6 missing: .*no uncertainty head: .*uncertainty=False"
  ):
    convert.from_torch("dpt", theirs, backbone="nano")


def test_positions_of_a_grid_that_is_not_square_are_refused(published):
  state = {**published, "pretrained.model.pos_embed": np.zeros((1, 1 + 15, 16), np.float32)}
  with pytest.raises(errors.UserError, match=r"pos_embed \(1, 16, 16\) for .*\(1, 9, 16\)"):
    convert.from_torch("dpt", state, backbone="nano")
