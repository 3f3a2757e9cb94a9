"""DeepLab under the names of EvDistill's checkpoints (addisonwang2013/evdistill, `modeling/`).

A checkpoint is one state dict, of `DeepLab` or `DeepLab_Dual*`; those of jfzhang95/pytorch-deeplab-xception,
from which its code is, have the same names. MobileNetV2's layers are there twice. A backbone alone may
come from ImageNet, under the names that this code starts from. The stem of six channels is read as
`conv1_` or `conv1`, and written as `conv1`.
"""

from bicross_jax.convert import resnet
from bicross_jax.convert.naming import Naming, Rule, batch_norm, conv
from bicross_jax.convert.network import Network

_LOW_LEVEL = 4  # layers of MobileNetV2 up to the low level's map
# Names of MobileNetV2's layers besides the first.
_TWICE = r"backbone\.(low|high)_level_features\..*"


def _backbone(theirs: str) -> list[Rule]:
  """Rules of a ResNet, DRN-D-54 or MobileNetV2, with `theirs` in front of names."""
  ours, block = "backbone/", f"{theirs}features.{{}}.conv."
  rules = [
    *resnet.rules(theirs, ours),
    *conv(f"{theirs}conv1_", f"params/{ours}conv1"),
    *conv(f"{theirs}layer{{}}.0", f"params/{ours}conv_level{{}}"),
    *batch_norm(f"{theirs}layer{{}}.1", f"{ours}norm_level{{}}"),
    *conv(f"{theirs}features.0.0", f"params/{ours}conv_stem"),
    *batch_norm(f"{theirs}features.0.1", f"{ours}norm_stem"),
  ]
  for i in (1, 2, 3):
    rules += conv(f"{block}{3 * i - 3}", f"params/{ours}block{{}}/conv{i}")
    rules += batch_norm(f"{block}{3 * i - 2}", f"{ours}block{{}}/norm{i}")
  return rules


def _decoder(theirs: str, ours: str) -> list[Rule]:
  last = f"{theirs}.last_conv."
  return [
    *conv(f"{theirs}.conv1", f"params/{ours}/conv_low"),
    *batch_norm(f"{theirs}.bn1", f"{ours}/norm_low"),
    *conv(last + "0", f"params/{ours}/conv1"),
    *batch_norm(last + "1", f"{ours}/norm1"),
    *conv(last + "4", f"params/{ours}/conv2"),
    *batch_norm(last + "5", f"{ours}/norm2"),
    *conv(last + "8", f"params/{ours}/out"),
  ]


def _residual(theirs: str, ours: str) -> list[Rule]:
  return [
    *conv(f"{theirs}.conv.0", f"params/{ours}/conv1"),
    *conv(f"{theirs}.conv.2", f"params/{ours}/conv2"),
    *conv(f"{theirs}.residual_upsampler.0", f"params/{ours}/skip"),
  ]


def _heads() -> list[Rule]:
  """Rules of all behind the backbone."""
  return [
    *conv("aspp.aspp{}.atrous_conv", "params/aspp/conv{}"),
    *batch_norm("aspp.aspp{}.bn", "aspp/norm{}"),
    *conv("aspp.global_avg_pool.1", "params/aspp/conv_pool"),
    *batch_norm("aspp.global_avg_pool.2", "aspp/norm_pool"),
    *conv("aspp.conv1", "params/aspp/conv_out"),
    *batch_norm("aspp.bn1", "aspp/norm_out"),
    *_decoder("decoder", "decoder"),
    *_decoder("sr_decoder", "image_decoder"),
    *conv("up_sr_{}", "params/deconvolved/up{}", "transposed_conv"),
    *_residual("up_edsr_{}", "deconvolved/residual{}"),
    *conv("up_conv_last", "params/deconvolved/out"),
    *_residual("up_res", "shuffled/residual"),
    *conv("upsampler.0", "params/shuffled/conv1"),
    *conv("upsampler.2", "params/shuffled/conv2"),
    *conv("up_conv_last.0", "params/shuffled/out"),
    *conv("pointwise.0", "params/pointwise"),
    *batch_norm("pointwise.1", "pointwise_norm"),
    *conv("aux_logit", "params/auxiliary"),
  ]


def _advise(missing, found, module):
  """What the weights seem to be without, where that is an option."""
  branch = ("image_decoder", "deconvolved", "shuffled", "pointwise")
  top = {path.split("/")[1].removesuffix("_norm") for path in missing}
  if top and top <= set(branch):
    return "they have no such branch for images: reconstruction=none, or another one"
  return "they have no auxiliary logits: auxiliary=False" if top == {"auxiliary"} else ""


def _full(published):
  """MobileNetV2's layers a second time, which strict loading asks for."""
  twice = {}
  for name, array in published.items():
    pieces = name.split(".")
    if pieces[:2] == ["backbone", "features"]:
      part = "low" if int(pieces[2]) < _LOW_LEVEL else "high"
      twice[".".join(["backbone", f"{part}_level_features", *pieces[2:]])] = array
  return twice


NETWORK = Network(
  namings=(
    Naming(
      "EvDistill",
      mark=r"backbone\.(conv1_?|layer0\.0|features\.0\.0)\.weight",
      rules=[*_backbone("backbone."), *_heads()],
      unused=_TWICE,
    ),
    Naming(
      "torchvision's ResNet, DRN or MobileNetV2",
      mark=r"(conv1|layer0\.0|features\.0\.0)\.weight",
      rules=_backbone(""),
      unused=r"(fc|classifier|features\.18)\..*",
      part="backbone",
    ),
  ),
  advise=_advise,
  fill=_full,
)
