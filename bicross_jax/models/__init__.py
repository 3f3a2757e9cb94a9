"""Networks only: linen modules without losses, files or config objects.

`create(name, **options)` makes any of them; the options are the attributes of its class.
`init(module, key, shape)` makes its variables, much faster than `module.init`.
"""

import dataclasses
import difflib

import flax.linen as nn

from bicross_jax import errors
from bicross_jax.models import (
  deeplab,
  discriminator,
  dpt,
  efficientnet_unet,
  epcdepth,
  motion_events,
  projection,
  simsiam,
  spike_unet,
  stereospike,
  t2net_unet,
  translator,
)
from bicross_jax.models.initialise import init

__all__ = ["MODELS", "create", "find", "init"]

MODELS = {
  "deeplab": deeplab.DeepLab,
  "dpt": dpt.DPT,
  "efficientnet_unet": efficientnet_unet.EfficientNetUNet,
  "epcdepth": epcdepth.EPCDepth,
  "motion_events": motion_events.MotionEvents,
  "patch_discriminator": discriminator.PatchDiscriminator,
  "projection_head": projection.ProjectionHead,
  "simsiam_head": simsiam.SimSiamHead,
  "spike_unet": spike_unet.SpikeUNet,
  "stereospike": stereospike.StereoSpike,
  "stereospike_ann": stereospike.StereoSpikeANN,
  "t2net_unet": t2net_unet.T2NetUNet,
  "translator": translator.Translator,
}


def create(name: str, /, **options) -> nn.Module:
  """The network `name` with `options`.

  Raises:
    errors.UserError: no such network, option or value; the message lists the right ones.
  """
  kind = find(name)
  known = [f.name for f in dataclasses.fields(kind) if f.name not in ("parent", "name")]
  for option in options:
    if option not in known:
      raise errors.UserError(f"{name} has no option {option!r}; it has {_listed(option, known)}")
  return kind(**options)


def find(name: str) -> type[nn.Module]:
  """The class of the network `name`.

  Raises:
    errors.UserError: no such network; the message lists them.
  """
  if name not in MODELS:
    raise errors.UserError(f"no model {name!r}; there are {_listed(name, MODELS)}")
  return MODELS[name]


def _listed(word, choices):
  """The choices, the ones most like `word` first."""
  near = difflib.get_close_matches(word, choices, n=len(choices))
  return ", ".join(near + [c for c in sorted(choices) if c not in near])
