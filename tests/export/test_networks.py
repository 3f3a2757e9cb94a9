"""Networks that no recipe is needed for, in ONNX Runtime."""

import jax
import numpy as np
import pytest

from bicross_jax import export, models

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CASES = {
  "efficientnet_unet": ({"variant": "nano"}, (64, 96)),
  "t2net_unet": ({"width": 4}, (96, 96)),
  "translator": ({"width": 4, "blocks": 1}, (16, 24)),
  "translator_instance": ({"width": 4, "blocks": 1, "norm": "instance"}, (16, 24)),
  "patch_discriminator": ({"width": 4}, (32, 40)),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_the_same_in_onnx_runtime(case):
  options, size = CASES[case]
  module = models.create(case.removesuffix("_instance"), **options)
  variables = models.init(module, jax.random.key(0), (1, *size, 3))
  run = lambda given: {"y": module.apply(variables, given["x"])[0]}
  x = np.random.default_rng(0).uniform(-1, 1, (2, *size, 3)).astype(np.float32)
  data, _ = export.function_to_onnx(run, {"x": jax.ShapeDtypeStruct(x.shape, x.dtype)}, {})
  onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
  session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
  (have,), want = session.run(["y"], {"x": x}), jax.jit(run)({"x": x})["y"]
  assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max()
