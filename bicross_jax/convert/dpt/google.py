"""Backbones of DPT as Google publishes its Vision Transformers (.npz): R50+ViT-B/16, ViT-B/16, ViT-L/16.

The arrays are those of JAX already, with the heads of attention on an axis of their own and group
norms as [1, 1, 1, C]; blocks and units of the ResNet count from 1.
"""

from bicross_jax.convert.dpt.published import BACKBONE
from bicross_jax.convert.naming import Naming, Rule

_DEPTHS = (3, 4, 9)  # of the ResNet
_LAYER, _VIT = "Transformer/encoderblock_{}/", BACKBONE + "/vit/block{}/"
_ATTENTION = _LAYER + "MultiHeadDotProductAttention_1/"


def _dense(theirs: str, ours: str) -> list[Rule]:
  return [Rule(f"{theirs}/{kind}", f"{ours}/{kind}") for kind in ("kernel", "bias")]


def _norm(theirs: str, ours: str, layout: str = "same") -> list[Rule]:
  return [Rule(f"{theirs}/{kind}", f"{ours}/{kind}", layout) for kind in ("scale", "bias")]


def _resnet() -> list[Rule]:
  rules = [
    Rule("conv_root/kernel", f"{BACKBONE}/resnet/stem/conv/kernel"),
    *_norm("gn_root", f"{BACKBONE}/resnet/stem/norm", "channels"),
  ]
  for stage, depth in enumerate(_DEPTHS):
    for unit in range(depth):
      theirs = f"block{stage + 1}/unit{unit + 1}/"
      ours = f"{BACKBONE}/resnet/stage{stage}/block{unit}/"
      rules += [
        Rule(theirs + "conv_proj/kernel", ours + "shortcut_conv/kernel"),
        *_norm(theirs + "gn_proj", ours + "shortcut_norm", "channels"),
        Rule(theirs + "conv{}/kernel", ours + "conv{}/kernel"),
        *_norm(theirs + "gn{}", ours + "norm{}", "channels"),
      ]
  return rules


def _transformer() -> list[Rule]:
  rules = [
    Rule("cls", f"{BACKBONE}/vit/cls_token"),
    Rule("Transformer/posembed_input/pos_embedding", f"{BACKBONE}/vit/pos_embed"),
    *_dense("embedding", f"{BACKBONE}/patch_embed"),
    *_norm("Transformer/encoder_norm", f"{BACKBONE}/vit/norm"),
    *_norm(_LAYER + "LayerNorm_0", _VIT + "norm1"),
    *_norm(_LAYER + "LayerNorm_2", _VIT + "norm2"),
    *_dense(_LAYER + "MlpBlock_3/Dense_0", _VIT + "mlp_in"),
    *_dense(_LAYER + "MlpBlock_3/Dense_1", _VIT + "mlp_out"),
    Rule(_ATTENTION + "out/kernel", _VIT + "attention/out/kernel", "heads_first"),
    Rule(_ATTENTION + "out/bias", _VIT + "attention/out/bias"),
  ]
  for piece, name in enumerate(("query", "key", "value")):
    for kind in ("kernel", "bias"):
      rules.append(
        Rule(f"{_ATTENTION}{name}/{kind}", f"{_VIT}attention/qkv/{kind}", "heads_last", piece)
      )
  return rules


NAMING = Naming(
  title="Google",
  mark=r"Transformer/posembed_input/pos_embedding",
  rules=_transformer() + _resnet(),
  unused=r"(head|pre_logits)/(kernel|bias)",
  part="backbone",
)
