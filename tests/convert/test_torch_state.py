"""convert.from_torch: coverage of the names both ways, layouts, and what it refuses.

That the numbers are right is shown by the golden cases in tests/models/test_dpt.py.
"""

import jax
import numpy as np
import pytest

from bicross_jax import convert, errors, models

OPTIONS = {"backbone": "hybrid", "in_channels": 128}
QKV = "pretrained.model.blocks.3.attn.qkv.weight"


def _zeros(shape):
  """Zeros that take no memory."""
  return np.broadcast_to(np.float32(0), shape)


@pytest.fixture(scope="module")
def state(golden):
  """A published state dict, all zeros."""
  names = golden.load("bicross_dpt_hybrid_spike").spec["state"]
  return {name: _zeros(tuple(shape)) for name, shape in names.items()}


def test_every_entry_is_used_or_dropped_by_name(state):
  variables = convert.from_torch("dpt", state, **OPTIONS)
  module = models.create("dpt", **OPTIONS)
  x = jax.ShapeDtypeStruct((1, 32, 32, 128), np.float32)
  expected = jax.eval_shape(module.init, jax.random.key(0), x)
  assert jax.tree.structure(variables) == jax.tree.structure(expected)
  unused = ("pretrained.model.head.", "scratch.refinenet4.resConfUnit1.")
  dropped = [name for name in state if name.startswith(unused)]
  assert len(dropped) == 6
  assert len(jax.tree.leaves(variables)) + len(dropped) == len(state)


def test_prefix_and_counters_are_passed_over(state):
  wrapped = {f"module.{name}": value for name, value in state.items()}
  wrapped["module.scratch.norm.num_batches_tracked"] = np.zeros((), np.int64)
  convert.from_torch("dpt", wrapped, **OPTIONS)


def test_entries_that_do_not_fit_are_listed(state):
  bad = dict(state, surprise=_zeros((3,)))
  bad[QKV] = _zeros((2304, 767))
  del bad["scratch.layer2_rn.weight"]
  with pytest.raises(errors.UserError) as error:
    convert.from_torch("dpt", bad, **OPTIONS)
  text = str(error.value)
  assert "1 unknown: surprise" in text
  assert "1 missing: params/skip2/kernel" in text
  assert f"1 misshapen: {QKV} (2304, 767)" in text and "(768, 2304)" in text
  assert "\n" not in text


@pytest.mark.parametrize(
  "options, message",
  [
    ({"in_channels": 3}, "misshapen: .*stem.conv.weight"),
    ({"uncertainty": False}, "6 unknown: uncertaity_head"),
    ({"backbone": "base"}, "missing"),
  ],
)
def test_options_must_fit(state, options, message):
  with pytest.raises(errors.UserError, match=message):
    convert.from_torch("dpt", state, **{**OPTIONS, **options})


def test_networks_that_do_not_exist_or_cannot_be_made_so():
  with pytest.raises(errors.UserError, match="no model"):
    convert.from_torch("midas", {})
  with pytest.raises(errors.UserError, match="spike_unet has none"):
    convert.from_torch("spike_unet", {}, inflate=True)
  with pytest.raises(errors.UserError, match="projection_head says nowhere what input"):
    convert.from_torch("projection_head", {})
  with pytest.raises(errors.UserError, match=r"known naming \(generic\); their names are a"):
    convert.from_torch("spike_unet", {"a": np.zeros(3)})
  state = {"down1.norm1.weight": np.zeros(128, np.complex64)}
  with pytest.raises(errors.UserError, match="down1.norm1.weight holds complex"):
    convert.from_torch("spike_unet", state)
