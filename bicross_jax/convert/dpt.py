"""Names of DPT as BiCross, DPT and MiDaS publish it, and what they are in our tree.

Two groups of published entries take no part in any output and are dropped: the classifier
`pretrained.model.head` and `scratch.refinenet4.resConfUnit1` (the deepest fusion has no second
input). "uncertaity" is spelt as it is published.
"""

import flax.linen as nn

_MODEL = r"pretrained\.model\."
_RESNET = _MODEL + r"patch_embed\.backbone\."
_ENCODER = "params/backbone/"
_HEAD = (("0", "conv1"), ("2", "conv2"), ("4", "out"))

RULES: list[tuple[str, str, str]] = []


def _rule(pattern: str, path: str, layout: str = "same") -> None:
  RULES.append((pattern, path, layout))


def _layer(pattern: str, path: str, layout: str) -> None:
  """A layer with a weight (a kernel of ours) and perhaps a bias."""
  _rule(pattern + r"\.weight", path + "/kernel", layout)
  _rule(pattern + r"\.bias", path + "/bias")


def _norm(pattern: str, path: str) -> None:
  _rule(pattern + r"\.weight", path + "/scale")
  _rule(pattern + r"\.bias", path + "/bias")


_rule(_MODEL + r"head\.(weight|bias)", "")
_rule(r"scratch\.refinenet4\.resConfUnit1\..*", "")

_rule(_MODEL + r"(cls_token|pos_embed)", _ENCODER + r"vit/\1")
_layer(_RESNET + r"stem\.conv", _ENCODER + "resnet/stem/conv", "conv")
_norm(_RESNET + r"stem\.norm", _ENCODER + "resnet/stem/norm")
_block = _RESNET + r"stages\.(\d+)\.blocks\.(\d+)\."
_ours = _ENCODER + r"resnet/stage\1/block\2/"
_layer(_block + r"downsample\.conv", _ours + "shortcut_conv", "conv")
_norm(_block + r"downsample\.norm", _ours + "shortcut_norm")
_layer(_block + r"(conv\d)", _ours + r"\3", "conv")
_norm(_block + r"(norm\d)", _ours + r"\3")
_layer(_MODEL + r"patch_embed\.proj", _ENCODER + "patch_embed", "conv")
_norm(_MODEL + "norm", _ENCODER + "vit/norm")
_block = _MODEL + r"blocks\.(\d+)\."
_ours = _ENCODER + r"vit/block\1/"
_norm(_block + r"(norm\d)", _ours + r"\2")
_layer(_block + r"attn\.qkv", _ours + "attention/qkv", "linear")
_layer(_block + r"attn\.proj", _ours + "attention/out", "linear")
_layer(_block + r"mlp\.fc1", _ours + "mlp_in", "linear")
_layer(_block + r"mlp\.fc2", _ours + "mlp_out", "linear")

_post = r"pretrained\.act_postprocess"
_layer(_post + r"(\d)\.0\.project\.0", r"params/reassemble\1/readout", "linear")
_layer(_post + r"(\d)\.3", r"params/reassemble\1/project", "conv")
_layer(_post + r"([12])\.4", r"params/reassemble\1/resize", "transposed_conv")
_layer(_post + r"(4)\.4", r"params/reassemble\1/resize", "conv")

_layer(r"scratch\.layer(\d)_rn", r"params/skip\1", "conv")
_layer(r"scratch\.refinenet(\d)\.out_conv", r"params/fusion\1/out", "conv")
_layer(
  r"scratch\.refinenet(\d)\.resConfUnit(\d)\.(conv\d)", r"params/fusion\1/unit\2/\3", "conv"
)
for _index, _name in _HEAD:
  _layer(rf"scratch\.output_conv\.{_index}", f"params/depth_head/{_name}", "conv")
  _layer(rf"uncertaity_head\.{_index}", f"params/uncertainty_head/{_name}", "conv")


def example(module: nn.Module) -> tuple[int, int, int, int]:
  """The shape of a small input."""
  return 1, 64, 64, module.in_channels
