"""DPT under its published names (isl-org's DPT and MiDaS, BiCross), and its backbones under timm's.

isl-org built DPT around timm's networks, so the names of a backbone are timm's behind a prefix.
Two groups of published entries take no part in any output: timm's classifier and
`scratch.refinenet4.resConfUnit1` (the deepest fusion has no second input). "uncertaity" is spelt as
BiCross publishes it.
"""

from collections.abc import Mapping, Sequence
import math

import flax.linen as nn
import numpy as np

from bicross_jax.convert.naming import Naming, Rule, conv, linear, norm
from bicross_jax.convert.network import Inflated
from bicross_jax.models import dpt, transfer
from bicross_jax.ops import resize

BACKBONE = "params/backbone"
HEAD = "params/uncertainty_head"
_POSITIONS = f"{BACKBONE}/vit/pos_embed"
_FIRST = (f"{BACKBONE}/resnet/stem/conv/kernel", f"{BACKBONE}/patch_embed/kernel")
_CLASSES = 1000  # of the classifier that published files hold


def _backbone(prefix: str) -> list[Rule]:
  """Rules of timm's ResNetV2 and ViT behind a prefix."""
  resnet = prefix + "patch_embed.backbone."
  block, ours = resnet + "stages.{}.blocks.{}.", BACKBONE + "/resnet/stage{}/block{}/"
  layer, vit = prefix + "blocks.{}.", BACKBONE + "/vit/block{}/"
  return [
    Rule(prefix + "cls_token", f"{BACKBONE}/vit/cls_token"),
    Rule(prefix + "pos_embed", _POSITIONS),
    *conv(resnet + "stem.conv", f"{BACKBONE}/resnet/stem/conv"),
    *norm(resnet + "stem.norm", f"{BACKBONE}/resnet/stem/norm"),
    *conv(block + "downsample.conv", ours + "shortcut_conv"),
    *norm(block + "downsample.norm", ours + "shortcut_norm"),
    *conv(block + "conv{}", ours + "conv{}"),
    *norm(block + "norm{}", ours + "norm{}"),
    *conv(prefix + "patch_embed.proj", f"{BACKBONE}/patch_embed"),
    *norm(prefix + "norm", f"{BACKBONE}/vit/norm"),
    *norm(layer + "norm{}", vit + "norm{}"),
    *linear(layer + "attn.qkv", vit + "attention/qkv"),
    *linear(layer + "attn.proj", vit + "attention/out"),
    *linear(layer + "mlp.fc1", vit + "mlp_in"),
    *linear(layer + "mlp.fc2", vit + "mlp_out"),
  ]


def _decoder() -> list[Rule]:
  """Rules of what isl-org and BiCross put behind the backbone."""
  post = "pretrained.act_postprocess"
  unit = ("scratch.refinenet{}.resConfUnit{}.conv{}", "params/fusion{}/unit{}/conv{}")
  rules = [
    *linear(post + "{}.0.project.0", "params/reassemble{}/readout"),
    *conv(post + "{}.3", "params/reassemble{}/project"),
    *conv(post + "1.4", "params/reassemble1/resize", "transposed_conv"),
    *conv(post + "2.4", "params/reassemble2/resize", "transposed_conv"),
    *conv(post + "4.4", "params/reassemble4/resize"),
    *conv("scratch.layer{}_rn", "params/skip{}"),
    *conv("scratch.refinenet{}.out_conv", "params/fusion{}/out"),
    *conv(*unit),
  ]
  for index, name in ((0, "conv1"), (2, "conv2"), (4, "out")):
    rules += conv(f"scratch.output_conv.{index}", f"params/depth_head/{name}")
    rules += conv(f"uncertaity_head.{index}", f"{HEAD}/{name}")
  return rules


PUBLISHED = Naming(
  title="DPT, MiDaS or BiCross",
  mark=r"pretrained\.model\.patch_embed\.proj\.weight",
  rules=_backbone("pretrained.model.") + _decoder(),
  unused=r"pretrained\.model\.head\.(weight|bias)|scratch\.refinenet4\.resConfUnit1\..*",
)
TIMM = Naming(
  title="timm",
  mark=r"patch_embed\.proj\.weight",
  rules=_backbone(""),
  unused=r"head\.(weight|bias)",
  part="backbone",
)


def example(module: nn.Module) -> tuple[int, int, int, int]:
  """The shape of a small input."""
  return 1, 64, 64, module.in_channels


def resized(module: nn.Module, found: Mapping[str, np.ndarray]) -> tuple[dict, list[str]]:
  """Brings a square grid of positions to the network's own, bilinearly, as DPT does with any input.

  Args:
    module: the network to be.
    found: path -> array, in our layout; pos_embed is [1, 1 + n * n, C], class token first.

  Returns:
    (path -> array, what was done). A grid that is not square, or already right, stays as it is.
  """
  grid, old = dpt.VARIANTS[module.backbone].grid, found.get(_POSITIONS)
  if old is None or old.ndim != 3 or old.shape[1] == 1 + math.prod(grid):
    return dict(found), []
  side = math.isqrt(old.shape[1] - 1)
  if side < 1 or side**2 != old.shape[1] - 1:
    return dict(found), []
  new = np.asarray(resize.bilinear(old[:, 1:].reshape(1, side, side, -1), grid))
  new = np.concatenate([old[:, :1], new.reshape(1, -1, old.shape[2])], axis=1)
  note = f"positions resized from {side}x{side} to {grid[0]}x{grid[1]}"
  return {**found, _POSITIONS: new}, [note]


def inflation(module: nn.Module) -> Inflated:
  """How a network for spikes comes out of the same network for RGB."""
  channels = module.stem_bins or module.in_channels
  return Inflated(
    module.clone(in_channels=3, stem_bins=0),
    lambda variables: transfer.inflate_stem(variables, module.in_channels, module.stem_bins),
    f"RGB stem inflated to {channels} channels",
  )


def advice(missing: Sequence[str], found: Mapping[str, np.ndarray], module: nn.Module) -> str:
  """What the caller may do about weights that do not fit, or ""."""
  said = []
  if missing and all(path.startswith(HEAD + "/") for path in missing):
    said.append(
      "these weights have no uncertainty head: convert them for a network without one "
      "(uncertainty=False), which training can give a new one"
    )
  first = next((found[path] for path in _FIRST if path in found), None)
  if first is not None and first.ndim == 4 and first.shape[2] == 3 and module.in_channels != 3:
    said.append("the first layer takes RGB: `inflate` makes it one for spikes")
  return "; ".join(said)


def fillers(published: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Zeros for the published entries that take no part, so that PyTorch's strict loading is content.

  Args:
    published: published name -> array, of a whole network.
  """
  dim = published["pretrained.model.cls_token"].shape[-1]
  out = {
    "pretrained.model.head.weight": np.zeros((_CLASSES, dim), np.float32),
    "pretrained.model.head.bias": np.zeros(_CLASSES, np.float32),
  }
  for i in (1, 2):
    for kind in ("weight", "bias"):
      like = published[f"scratch.refinenet4.resConfUnit2.conv{i}.{kind}"]
      out[f"scratch.refinenet4.resConfUnit1.conv{i}.{kind}"] = np.zeros_like(like)
  return out
