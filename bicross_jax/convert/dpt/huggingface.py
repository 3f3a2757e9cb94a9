"""DPT as `DPTForDepthEstimation` of Hugging Face's transformers names it, plain and hybrid.

Its depth is our depth with `invert=False, non_negative=True`. (Their layer norm has an eps of 1e-12,
DPT's own and ours 1e-6, which can make 1e-4 of the depth.) The deepest fusion comes first there,
and holds a first residual layer that is never used; attention has three matrices.
"""

from bicross_jax.convert.dpt.published import BACKBONE
from bicross_jax.convert.naming import Naming, Rule, conv, linear, norm

_EMBED = "dpt.embeddings."
_BIT = _EMBED + "backbone.bit."
_BLOCK, _OURS = _BIT + "encoder.stages.{}.layers.{}.", BACKBONE + "/resnet/stage{}/block{}/"
_LAYER, _VIT = "dpt.encoder.layer.{}.", BACKBONE + "/vit/block{}/"
_NECK = "neck.reassemble_stage."

_RULES = [
  Rule(_EMBED + "cls_token", f"{BACKBONE}/vit/cls_token"),
  Rule(_EMBED + "position_embeddings", f"{BACKBONE}/vit/pos_embed"),
  *conv(_BIT + "embedder.convolution", f"{BACKBONE}/resnet/stem/conv"),
  *norm(_BIT + "embedder.norm", f"{BACKBONE}/resnet/stem/norm"),
  *conv(_BLOCK + "downsample.conv", _OURS + "shortcut_conv"),
  *norm(_BLOCK + "downsample.norm", _OURS + "shortcut_norm"),
  *conv(_BLOCK + "conv{}", _OURS + "conv{}"),
  *norm(_BLOCK + "norm{}", _OURS + "norm{}"),
  *conv(_EMBED + "projection", f"{BACKBONE}/patch_embed"),
  *conv(_EMBED + "patch_embeddings.projection", f"{BACKBONE}/patch_embed"),
  *norm("dpt.layernorm", f"{BACKBONE}/vit/norm"),
  *norm(_LAYER + "layernorm_before", _VIT + "norm1"),
  *norm(_LAYER + "layernorm_after", _VIT + "norm2"),
  *linear(_LAYER + "attention.output.dense", _VIT + "attention/out"),
  *linear(_LAYER + "intermediate.dense", _VIT + "mlp_in"),
  *linear(_LAYER + "output.dense", _VIT + "mlp_out"),
]
for _piece, _name in enumerate(("query", "key", "value")):
  _RULES += [
    rule._replace(piece=_piece)
    for rule in linear(_LAYER + f"attention.attention.{_name}", _VIT + "attention/qkv")
  ]
for _i in range(4):
  _map, _fusion = f"params/reassemble{_i + 1}", f"neck.fusion_stage.layers.{3 - _i}."
  _resize = "transposed_conv" if _i < 2 else "conv"
  _RULES += linear(_NECK + f"readout_projects.{_i}.0", _map + "/readout")
  _RULES += conv(_NECK + f"layers.{_i}.projection", _map + "/project")
  _RULES += conv(_NECK + f"layers.{_i}.resize", _map + "/resize", _resize)
  _RULES += conv(f"neck.convs.{_i}", f"params/skip{_i + 1}")
  _RULES += conv(_fusion + "projection", f"params/fusion{_i + 1}/out")
  _RULES += conv(
    _fusion + "residual_layer{}.convolution{}", f"params/fusion{_i + 1}/unit{{}}/conv{{}}"
  )
for _i, _name in ((0, "conv1"), (2, "conv2"), (4, "out")):
  _RULES += conv(f"head.head.{_i}", f"params/depth_head/{_name}")

NAMING = Naming(
  title="Hugging Face",
  mark=r"dpt\.embeddings\.cls_token",
  rules=_RULES,
  unused=r"dpt\.pooler\.dense\.(weight|bias)|neck\.fusion_stage\.layers\.0\.residual_layer1\..*",
)
