"""EPCDepth under the names of its checkpoints (prstrive/EPCDepth, `network/`).

A published file holds two state dicts, `encoder` and `depth_decoder`, beside other things; here every
name begins with the one that it is from. The encoder's classifier is listed there and has no part in
any output. The encoder alone may come from torchvision.
"""

import numpy as np

from bicross_jax.convert import resnet
from bicross_jax.convert.naming import Naming, Rule, conv
from bicross_jax.convert.network import Network
from bicross_jax.models import epcdepth

_FEATURES, _CLASSES = 512, 1000  # of the classifier of 18 and 34 layers
_EXPANSION = 4  # how many times as many features deeper ones have


def _block(theirs: str, ours: str) -> list[Rule]:
  """Rules of an RSU."""
  layer = f"{theirs}.rebnconv%s.conv_s1"
  return [
    *conv(layer % "in", f"params/{ours}/conv_in/conv"),
    *conv(layer % "{}", f"params/{ours}/conv{{}}/conv"),
    *conv(layer % "{}d", f"params/{ours}/conv{{}}d/conv"),
  ]


def _example(module):
  side = epcdepth.smallest(module.decoder, module.padding)
  return 1, side, side, 3


def _full(published):
  """The classifier, which strict loading asks for."""
  deep = "encoder.encoder.layer1.0.conv3.weight" in published
  features = _FEATURES * (_EXPANSION if deep else 1)
  return {
    "encoder.encoder.fc.weight": np.zeros((_CLASSES, features), np.float32),
    "encoder.encoder.fc.bias": np.zeros(_CLASSES, np.float32),
  }


_DECODER = "depth_decoder."
NETWORK = Network(
  namings=(
    Naming(
      "EPCDepth",
      mark=r"encoder\.encoder\.conv1\.weight",
      rules=[
        *resnet.rules("encoder.encoder.", "encoder/"),
        *_block(_DECODER + "stage{}d", "stage{}d"),
        *_block(_DECODER + "encoder_disps.{}.bottleneck", "encoder_stage{}"),
        *conv(_DECODER + "encoder_disps.{}.disp.0", "params/encoder_head{}/conv"),
        *conv(_DECODER + "disps.{}.0", "params/head{}/conv"),
        *conv(_DECODER + "upconv{}", "params/upconv{}/conv"),  # the plain decoder's are ours
        *conv(_DECODER + "iconv{}", "params/iconv{}/conv"),
      ],
      unused=r"encoder\.encoder\.fc\.(weight|bias)",
    ),
    Naming(
      "torchvision's ResNet",
      mark=r"conv1\.weight",
      rules=resnet.rules("", "encoder/"),
      unused=r"fc\.(weight|bias)",
      part="encoder",
    ),
  ),
  example=_example,
  fill=_full,
)
