"""Google's published .npz of Vision Transformers, made from timm's names; written for these tests.

Source of the names: the released files of `google-research/vision_transformer`, R50+ViT-B_16.npz,
ViT-B_16.npz and ViT-L_16.npz.
"""

import numpy as np


def arrays(state, heads, depths=()):
  """{Google's name: array} of timm's state dict {name: array in PyTorch's layout}.

  Args:
    state: of `vit_base_r50_s16_384`, `vit_base_patch16_384` or `vit_large_patch16_384`.
    heads: of attention.
    depths: units in the blocks of the ResNet, in front of a hybrid.
  """
  dim = state["cls_token"].shape[-1]
  split = (heads, dim // heads)
  out = {
    "cls": state["cls_token"],
    "Transformer/posembed_input/pos_embedding": state["pos_embed"],
    "embedding/kernel": _hwio(state["patch_embed.proj.weight"]),
    "embedding/bias": state["patch_embed.proj.bias"],
    "Transformer/encoder_norm/scale": state["norm.weight"],
    "Transformer/encoder_norm/bias": state["norm.bias"],
    "head/kernel": state["head.weight"].T,
    "head/bias": state["head.bias"],
  }
  layer = 0
  while f"blocks.{layer}.norm1.weight" in state:
    at, to = f"blocks.{layer}.", f"Transformer/encoderblock_{layer}/"
    for theirs, ours in (("LayerNorm_0", "norm1"), ("LayerNorm_2", "norm2")):
      out[f"{to}{theirs}/scale"] = state[f"{at}{ours}.weight"]
      out[f"{to}{theirs}/bias"] = state[f"{at}{ours}.bias"]
    for theirs, ours in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
      out[f"{to}MlpBlock_3/{theirs}/kernel"] = state[f"{at}mlp.{ours}.weight"].T
      out[f"{to}MlpBlock_3/{theirs}/bias"] = state[f"{at}mlp.{ours}.bias"]
    to += "MultiHeadDotProductAttention_1/"
    weight, bias = state[f"{at}attn.qkv.weight"], state[f"{at}attn.qkv.bias"]
    for i, name in enumerate(("query", "key", "value")):
      rows = slice(i * dim, (i + 1) * dim)
      out[f"{to}{name}/kernel"] = weight[rows].T.reshape(dim, *split)
      out[f"{to}{name}/bias"] = bias[rows].reshape(split)
    out[f"{to}out/kernel"] = state[f"{at}attn.proj.weight"].T.reshape(*split, dim)
    out[f"{to}out/bias"] = state[f"{at}attn.proj.bias"]
    layer += 1
  if depths:
    _convolution(
      out,
      "conv_root",
      "gn_root",
      state,
      "patch_embed.backbone.stem.conv",
      "patch_embed.backbone.stem.norm",
    )
  for stage, depth in enumerate(depths):
    for unit in range(depth):
      at = f"patch_embed.backbone.stages.{stage}.blocks.{unit}."
      to = f"block{stage + 1}/unit{unit + 1}/"
      for i in (1, 2, 3):
        _convolution(out, f"{to}conv{i}", f"{to}gn{i}", state, f"{at}conv{i}", f"{at}norm{i}")
      if unit == 0:
        _convolution(
          out,
          f"{to}conv_proj",
          f"{to}gn_proj",
          state,
          f"{at}downsample.conv",
          f"{at}downsample.norm",
        )
  return out


def _convolution(out, conv, norm, state, at_conv, at_norm):
  out[f"{conv}/kernel"] = _hwio(state[f"{at_conv}.weight"])
  out[f"{norm}/scale"] = state[f"{at_norm}.weight"][None, None, None]
  out[f"{norm}/bias"] = state[f"{at_norm}.bias"][None, None, None]


def _hwio(weight):
  return np.transpose(weight, (2, 3, 1, 0))
