"""Networks in ONNX Runtime: what BiCross's recipes predict, memory, and what cannot be exported."""

import functools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors, export, fields, inference, recipes
from bicross_jax.config import grammar
from bicross_jax.ops import conv

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CASES = {
  "rgb": "pretrain,smoke",
  "bins": "pretrain,smoke,input.modality=spike",
  "steps": "pretrain,smoke,input.modality=spike,model.stem_bins=0,model.uncertainty=false",
  "resized": "pretrain,smoke,data.height=40,data.width=72,model.dtype=bfloat16",
  "usenet": "neuromorphic,smoke",
  "senet": "neuromorphic,smoke,front_end.kind=senet,model.stem_bins=0",
}


def _model(spec):
  """A network of a config, with random weights, as `load` returns it."""
  config = grammar.load(f"configs/bicross.py:{spec}")
  config = grammar.resolve_durations(config, 8)
  recipe, rng = recipes.create(config), np.random.default_rng(0)
  shapes = jax.eval_shape(lambda key: recipe.variables(recipe.init(key, {})), jax.random.key(0))

  def draw(path, leaf):
    noise = rng.standard_normal(leaf.shape).astype(np.float32)
    if path[-1].key == "kernel":
      return noise / math.sqrt(math.prod(leaf.shape[:-1]))
    return 0.1 * noise + (1 if path[-1].key in ("scale", "var") else 0)

  variables = jax.tree.map_with_path(draw, shapes)
  return inference.Model(config, recipe, variables, {})


def _batch(model, rows):
  rng, own = np.random.default_rng(0), model.recipe.fields
  return {
    name: fields.random(rng, fields.get(name, own), (rows, *s.shape), s.dtype)
    for name, s in model.inputs.items()
  }


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["tiny", "small", "hybrid", "base"])
def test_larger_networks_give_the_same(backbone, tmp_path):
  model = _model(f"pretrain,smoke,model.backbone={backbone}")
  export.to_onnx(model, tmp_path / "x.onnx")
  for name, difference in export.check(tmp_path / "x.onnx", model, _batch(model, 1)).items():
    assert 0 < difference.largest <= 1e-3 * difference.scale, (name, difference)


@pytest.mark.parametrize("case", CASES)
def test_every_network_gives_the_same_in_onnx_runtime(case, tmp_path):
  """Within 1e-4 of the largest number; bfloat16 becomes float32, so its rounding is what is left."""
  model, rows = _model(CASES[case]), 2 if case == "rgb" else 1
  found = export.to_onnx(model, tmp_path / "x.onnx", batch=rows)
  (modality,) = model.inputs
  assert found["inputs"] == {modality: ((rows, *model.inputs[modality].shape), np.dtype("uint8"))}
  size = (model.config.input.height, model.config.input.width)
  names = {"depth"} | ({"uncertainty"} if model.config.model.uncertainty else set())
  assert found["outputs"] == {name: ((rows, *size), np.dtype("float32")) for name in names}
  onnx.checker.check_model(onnx.load(tmp_path / "x.onnx"), full_check=True)
  for name, difference in export.check(tmp_path / "x.onnx", model, _batch(model, rows)).items():
    assert difference.scale > 0.1
    tolerance = 0.1 if case == "resized" else 1e-4
    assert difference.largest <= tolerance * difference.scale, (name, difference)


def _remembering():
  """A network with memory: a leaky sum of its inputs, which `reset` empties."""
  weight = jnp.arange(6.0).reshape(3, 2)

  def predict(variables, batch, carry):
    x = batch["rgb"].astype(jnp.float32) @ variables["params"]["w"]
    if carry == ():
      carry = {"sum": jnp.zeros_like(x), "count": jnp.zeros(x.shape[0], jnp.int32)}
    if "reset" in batch:
      kept = ~batch["reset"]
      carry = jax.tree.map(lambda c: jnp.where(kept.reshape(-1, *[1] * (c.ndim - 1)), c, 0), carry)
    total = 0.5 * carry["sum"] + x
    out = {"sum": total[..., 0], "label": jnp.argmax(total, -1).astype(jnp.uint8)}
    return out, {"sum": total, "count": carry["count"] + 1}

  recipe = types.SimpleNamespace(predict=predict)
  spec = {"rgb": jax.ShapeDtypeStruct((4, 5, 3), np.uint8)}
  variables = {"params": {"w": weight}}
  step = functools.partial(jax.jit(predict), variables)
  return types.SimpleNamespace(
    recipe=recipe,
    inputs=spec,
    variables=variables,
    config={},
    step=lambda batch, carry=(): step(batch, carry),
  )


def test_memory_goes_in_and_out(tmp_path):
  import onnxruntime

  model, path = _remembering(), tmp_path / "memory.onnx"
  found = export.to_onnx(model, path, batch=2)
  assert set(found["inputs"]) == {"rgb", "reset", "carry.0", "carry.1"}
  assert set(found["outputs"]) == {"sum", "label", "next.0", "next.1"}
  rng = np.random.default_rng(0)
  windows = [rng.integers(0, 256, (2, 4, 5, 3), np.uint8) for _ in range(3)]
  for difference in export.check(path, model, {"rgb": windows[0]}).values():
    assert difference.largest <= 1e-5 * max(difference.scale, 1)
  session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
  memory = {"carry.0": np.zeros(2, np.int32), "carry.1": np.zeros((2, 4, 5, 2), np.float32)}
  carry = ()
  for i, window in enumerate(windows):
    reset = np.array([i == 0, i != 1])
    names = [o.name for o in session.get_outputs()]
    values = session.run(None, {"rgb": window, "reset": reset, **memory})
    have = dict(zip(names, values, strict=True))
    memory = {f"carry.{k}": have[f"next.{k}"] for k in (0, 1)}
    want, carry = model.step({"rgb": window, "reset": reset}, carry)
    np.testing.assert_allclose(have["sum"], want["sum"], rtol=1e-5)
    np.testing.assert_array_equal(have["label"], want["label"])
  assert memory["carry.0"].tolist() == [3, 1]


def test_wide_convolutions_stay_convolutions():
  kernel = np.zeros((3, 3, 64, 64), np.float32)
  image = jax.ShapeDtypeStruct((1, 64, 64, 64), np.float32)
  data, _ = export.function_to_onnx(
    lambda inputs: {"y": conv.conv(inputs["x"], kernel, 1, ((1, 1), (1, 1)))}, {"x": image}, {}
  )
  kinds = [node.op_type for node in onnx.load_from_string(data).graph.node]
  assert kinds.count("Conv") == 1 and "MatMul" not in kinds and "Einsum" not in kinds


def test_what_has_no_rule_is_listed():
  def function(inputs):
    key = jax.random.key(0)
    return {
      "y": inputs["x"] + jax.random.uniform(jax.random.fold_in(key, inputs["x"].astype(int)[0]))
    }

  with pytest.raises(errors.UserError, match="operations of JAX: .*random_bits, random_fold_in"):
    export.function_to_onnx(function, {"x": jax.ShapeDtypeStruct((2,), np.float32)}, {})


def test_without_the_packages_the_error_says_how_to_get_them(tmp_path, monkeypatch):
  monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(errors.UserError, match=r"bicross_jax\[export\]"):
    export.to_onnx(None, tmp_path / "x.onnx")
