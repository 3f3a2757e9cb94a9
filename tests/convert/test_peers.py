"""Numbers of other libraries' networks: transformers' DPT, timm's backbones, Google's files in timm, torchvision's ResNets.

The networks have their published sizes and weights drawn at random (tests/golden/weights.py).
"""

import jax
import numpy as np
import pytest

from bicross_jax import convert, models
from bicross_jax.convert import files
from bicross_jax.models import dpt, efficientnet, resnet
from tests.convert import google

SIZE = 384
BACKBONES = {
  "vit_base_r50_s16_384": ("hybrid", 1e-3),
  "vit_base_patch16_384": ("base", 1e-4),
  "vit_large_patch16_384": ("large", 1e-4),
}
PLAIN = dict(
  hidden_size=768,
  num_hidden_layers=12,
  num_attention_heads=12,
  intermediate_size=3072,
  neck_hidden_sizes=[96, 192, 384, 768],
  backbone_out_indices=[2, 5, 8, 11],
)
HYBRID = dict(is_hybrid=True, neck_hidden_sizes=[256, 512, 768, 768])


def _error(have, want):
  """The largest error relative to the largest value."""
  have, want = np.asarray(have), np.asarray(want)
  assert have.shape == want.shape and np.abs(want).max() > 0
  return np.abs(have - want).max() / np.abs(want).max()


def _draw(golden, module):
  """Puts random weights into a PyTorch module and returns its state dict as arrays."""
  torch = pytest.importorskip("torch")
  state = {
    name: golden.weight(name, tuple(value.shape), 0) for name, value in module.state_dict().items()
  }
  module.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
  module.eval()
  return state


def _image():
  x = np.random.default_rng(0).standard_normal((1, SIZE, SIZE, 3)).astype(np.float32)
  return x, np.ascontiguousarray(x.transpose(0, 3, 1, 2))


@pytest.mark.nightly
@pytest.mark.parametrize(
  "backbone, config, tolerance", [("base", PLAIN, 1e-4), ("hybrid", HYBRID, 1e-3)]
)
def test_depth_equals_that_of_transformers(golden, tmp_path, backbone, config, tolerance):
  """With the eps of layer norm that transformers takes, 1e-12, and with that of DPT itself, 1e-6."""
  torch = pytest.importorskip("torch")
  transformers = pytest.importorskip("transformers")
  pytest.importorskip("safetensors")
  config = transformers.DPTConfig(image_size=SIZE, patch_size=16, **config)
  module = transformers.DPTForDepthEstimation(config)
  _draw(golden, module)
  module.save_pretrained(tmp_path)
  state = files.read(tmp_path / "model.safetensors")
  options = dict(backbone=backbone, uncertainty=False, invert=False, non_negative=True)
  variables = convert.from_torch("dpt", state, **options)
  x, torch_x = _image()
  have = jax.jit(models.create("dpt", **options).apply)(variables, x).depth
  for eps, limit in ((config.layer_norm_eps, tolerance), (1e-6, tolerance / 10)):
    for layer in module.modules():
      if isinstance(layer, torch.nn.LayerNorm):
        layer.eps = eps
    with torch.no_grad():
      want = module(torch.from_numpy(torch_x)).predicted_depth.numpy()
    assert (want > 0).mean() > 0.2
    mean = np.linalg.norm(have - want) / np.linalg.norm(want)
    print(f"transformers {backbone}, eps {eps}: {_error(have, want):.1e}, in the mean {mean:.1e}")
    assert mean <= limit and _error(have, want) <= 2 * limit


def _features(module, x):
  """Outputs of timm's network: those of every block and the last class token behind the norm."""
  torch = pytest.importorskip("torch")
  blocks, stages = [], []
  for block in module.blocks:
    block.register_forward_hook(lambda m, i, out: blocks.append(out.numpy()))
  for stage in getattr(getattr(module.patch_embed, "backbone", None), "stages", ())[:2]:
    stage.register_forward_hook(lambda m, i, out: stages.append(out.numpy()))
  with torch.no_grad():
    token = module.forward_features(torch.from_numpy(x))[:, 0].numpy()
  return [s.transpose(0, 2, 3, 1) for s in stages], blocks, token


@pytest.mark.nightly
@pytest.mark.parametrize("source", ["timm", "google"])
@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_equal_those_of_timm(golden, tmp_path, name, source):
  """From timm's state dict, and from a file of Google's naming that timm loads by its own reader."""
  timm = pytest.importorskip("timm")
  backbone, tolerance = BACKBONES[name]
  module = timm.create_model(name, pretrained=False)
  state = _draw(golden, module)
  if source == "google":
    depths = (
      [len(s.blocks) for s in module.patch_embed.backbone.stages] if backbone == "hybrid" else []
    )
    path = tmp_path / "google.npz"
    np.savez(path, **google.arrays(state, module.blocks[0].attn.num_heads, depths))
    _draw_other(module)
    module.load_pretrained(str(path))
    state = files.read(path)
  variables = convert.from_torch("dpt", state, backbone=backbone)
  assert set(variables["params"]) == {"backbone"}
  variant = dpt.VARIANTS[backbone]
  x, torch_x = _image()
  stages, blocks, token = _features(module, torch_x)
  got = jax.jit(dpt.Encoder(variant).apply)({"params": variables["params"]["backbone"]}, x)
  wanted = (stages, [blocks[i] for i in variant.taps], token)
  errors = [
    _error(a, b) for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True)
  ]
  print(f"{source} {name}: {max(errors):.1e}")
  assert max(errors) <= tolerance


@pytest.mark.nightly
def test_efficientnet_equals_that_of_timm_at_456_pixels(golden):
  """The size whose padding ours has at every size."""
  timm = pytest.importorskip("timm")
  torch = pytest.importorskip("torch")
  module = timm.create_model("tf_efficientnet_b5.ap_in1k", pretrained=False)
  state, wanted = _draw(golden, module), []
  for i in (0, 1, 2, 4):
    module.blocks[i].register_forward_hook(lambda m, given, out: wanted.append(out.numpy()))
  x = np.random.default_rng(0).standard_normal((1, 456, 456, 3)).astype(np.float32)
  with torch.no_grad():
    wanted.append(module.forward_features(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy())
  variables = convert.from_torch("efficientnet_unet", state)
  encoder = {collection: tree["encoder"] for collection, tree in variables.items()}
  maps = jax.jit(efficientnet.EfficientNet().apply)(encoder, x)
  for have, want in zip(maps, wanted, strict=True):
    assert _error(have.transpose(0, 3, 1, 2), want) <= 1e-4


@pytest.mark.nightly
@pytest.mark.parametrize("layers", [18, 34, 50, 101, 152])
def test_resnets_equal_those_of_torchvision(golden, layers):
  """EPCDepth's encoder: its five maps, from torchvision's state dict, the classifier among it."""
  torch = pytest.importorskip("torch")
  torchvision = pytest.importorskip("torchvision")
  module = getattr(torchvision.models, f"resnet{layers}")(weights=None)
  state, wanted = _draw(golden, module), []
  for part in (module.relu, module.layer1, module.layer2, module.layer3, module.layer4):
    part.register_forward_hook(lambda m, given, out: wanted.append(out.numpy().copy()))
  x = np.random.default_rng(0).standard_normal((1, 96, 128, 3)).astype(np.float32)
  with torch.no_grad():
    module(torch.from_numpy(x.transpose(0, 3, 1, 2)))
  variables = convert.from_torch("epcdepth", state, layers=layers)
  encoder = {collection: tree["encoder"] for collection, tree in variables.items()}
  maps = jax.jit(resnet.ResNet(layers).apply)(encoder, x)
  for have, want in zip(maps, wanted, strict=True):
    assert _error(have.transpose(0, 3, 1, 2), want) <= 1e-4


def _draw_other(module):
  """Forgets the weights, so that what is loaded afterwards shows."""
  torch = pytest.importorskip("torch")
  with torch.no_grad():
    for parameter in module.parameters():
      parameter.zero_()
