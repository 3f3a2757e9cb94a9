"""transformers' names of DPT-hybrid, made from isl-org's; written for these tests."""

import re

import numpy as np

_SIMPLE = (  # in order; the first that occurs in a name is replaced
  (
    "pretrained.model.patch_embed.backbone.stem.conv",
    "dpt.embeddings.backbone.bit.embedder.convolution",
  ),
  ("pretrained.model.patch_embed.backbone.stem.norm", "dpt.embeddings.backbone.bit.embedder.norm"),
  ("pretrained.model.patch_embed.proj", "dpt.embeddings.projection"),
  ("pretrained.model.cls_token", "dpt.embeddings.cls_token"),
  ("pretrained.model.pos_embed", "dpt.embeddings.position_embeddings"),
  ("pretrained.model.norm", "dpt.layernorm"),
  ("pretrained.act_postprocess3.0.project.0", "neck.reassemble_stage.readout_projects.2.0"),
  ("pretrained.act_postprocess4.0.project.0", "neck.reassemble_stage.readout_projects.3.0"),
  ("pretrained.act_postprocess3.3", "neck.reassemble_stage.layers.2.projection"),
  ("pretrained.act_postprocess4.3", "neck.reassemble_stage.layers.3.projection"),
  ("pretrained.act_postprocess4.4", "neck.reassemble_stage.layers.3.resize"),
  ("scratch.output_conv", "head.head"),
  ("attn.proj", "attention.output.dense"),
  ("mlp.fc1", "intermediate.dense"),
  ("mlp.fc2", "output.dense"),
  ("norm1", "layernorm_before"),
  ("norm2", "layernorm_after"),
)


def arrays(state):
  """{transformers' name: array} of isl-org's state dict; what transformers does not have is left out."""
  out = {}
  for name, value in state.items():
    if name.startswith(("pretrained.model.head", "uncertaity_head")):
      continue
    kind = name.rsplit(".", 1)[-1]
    block = re.match(r"pretrained\.model\.blocks\.(\d+)\.(.*)", name)
    unit = re.match(r"scratch\.refinenet(\d)\.(.*)", name)
    layer = re.match(r"scratch\.layer(\d)_rn", name)
    stage = re.match(
      r"pretrained\.model\.patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.(.*)", name
    )
    if block and "qkv" in name:
      for part, array in zip(("query", "key", "value"), np.split(value, 3)):
        out[f"dpt.encoder.layer.{block[1]}.attention.attention.{part}.{kind}"] = array
    elif block:
      out[f"dpt.encoder.layer.{block[1]}.{_simple(block[2])}"] = value
    elif stage:
      out[f"dpt.embeddings.backbone.bit.encoder.stages.{stage[1]}.layers.{stage[2]}.{stage[3]}"] = (
        value
      )
    elif unit:  # the deepest comes first
      rest = unit[2].replace("resConfUnit", "residual_layer").replace(".conv", ".convolution")
      rest = rest.replace("out_conv", "projection")
      out[f"neck.fusion_stage.layers.{4 - int(unit[1])}.{rest}"] = value
    elif layer:
      out[f"neck.convs.{int(layer[1]) - 1}.{kind}"] = value
    else:
      out[_simple(name)] = value
  return out


def _simple(name):
  for theirs, ours in _SIMPLE:
    if theirs in name:
      return name.replace(theirs, ours)
  raise ValueError(f"no name for {name}")
