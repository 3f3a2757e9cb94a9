"""The depth network under the names of Akada et al. (hiroyasuakada's repository, `model/network.py`).

Its encoder alone may come from efficientnet_pytorch, which numbers all blocks, or from timm, which
numbers the blocks of each stage; both name a classifier besides.
"""

from bicross_jax.convert import t2net
from bicross_jax.convert.naming import Naming, Rule, batch_norm, conv
from bicross_jax.convert.network import Network
from bicross_jax.models import efficientnet

_ENCODER = "encoder.encoder_pre_trained."
_BLOCKS = (("center.0", "center"), *((f"deconv{i}", f"deconv{i}") for i in (5, 4, 3, 2)))
_FIRST = "decoder.center.0.model.3"  # PReLU
_PLACES = [place for theirs, _ in _BLOCKS for place in t2net.after_up(f"decoder.{theirs}")]


def _layer(theirs: str, norm: str, ours: str, layout: str = "conv") -> list[Rule]:
  """Rules of a convolution and its norm."""
  return [*conv(theirs, f"params/{ours}", layout), *batch_norm(norm, f"{ours}_norm")]


def _pytorch(prefix: str) -> list[Rule]:
  """Rules of efficientnet_pytorch, below a prefix."""
  rules = [
    *_layer(f"{prefix}_conv_stem", f"{prefix}_bn0", "encoder/stem"),
    *_layer(f"{prefix}_conv_head", f"{prefix}_bn1", "encoder/head"),
  ]
  before = 0
  for stage, depth in enumerate(efficientnet.VARIANTS["b5"].depths, 1):
    for i in range(depth):
      theirs, ours = f"{prefix}_blocks.{before + i}", f"encoder/stage{stage}_{i}"
      rules += [
        *_layer(f"{theirs}._expand_conv", f"{theirs}._bn0", f"{ours}/expand"),
        *_layer(f"{theirs}._depthwise_conv", f"{theirs}._bn1", f"{ours}/depthwise"),
        *conv(f"{theirs}._se_reduce", f"params/{ours}/squeeze"),
        *conv(f"{theirs}._se_expand", f"params/{ours}/excite"),
        *_layer(f"{theirs}._project_conv", f"{theirs}._bn2", f"{ours}/project"),
      ]
    before += depth
  return rules


def _timm() -> list[Rule]:
  rules = [*_layer("conv_stem", "bn1", "encoder/stem"), *_layer("conv_head", "bn2", "encoder/head")]
  for stage in range(1, len(efficientnet.STAGES) + 1):
    theirs, ours = f"blocks.{stage - 1}.{{}}", f"encoder/stage{stage}_{{}}"
    names = ("conv_dw", "conv_pw") if stage == 1 else ("conv_pw", "conv_dw", "conv_pwl")
    layers = ("expand", "depthwise", "project")[-len(names) :]
    for i, (name, layer) in enumerate(zip(names, layers, strict=True), 1):
      rules += _layer(f"{theirs}.{name}", f"{theirs}.bn{i}", f"{ours}/{layer}")
    rules += conv(f"{theirs}.se.conv_reduce", f"params/{ours}/squeeze")
    rules += conv(f"{theirs}.se.conv_expand", f"params/{ours}/excite")
  return rules


def _decoder() -> list[Rule]:
  rules = [
    rule for theirs, ours in _BLOCKS for rule in t2net.up(f"decoder.{theirs}", f"decoder/{ours}")
  ]
  rules += conv("decoder.output1.model.1", "params/decoder/output/conv")
  return [*rules, *t2net.slopes("decoder/negative_slope", _FIRST, _PLACES)]


NETWORK = Network(
  namings=(
    Naming(
      "Akada et al.'s depth network",
      mark=_ENCODER.replace(".", r"\.") + r"_conv_stem\.weight",
      rules=[*_pytorch(_ENCODER), *_decoder()],
      unused=r"(?!)",
    ),
    Naming(
      "efficientnet_pytorch",
      mark=r"_conv_stem\.weight",
      rules=_pytorch(""),
      unused=r"_fc\.(weight|bias)",
      part="encoder",
    ),
    Naming(
      "timm's EfficientNet",
      mark=r"conv_stem\.weight",
      rules=_timm(),
      unused=r"classifier\.(weight|bias)",
      part="encoder",
    ),
  ),
  fill=lambda published: t2net.repeated(published, _FIRST, _PLACES),
)
