"""Stage `neuromorphic`: a front end for spikes and a depth network behind it learn together."""

from bicross_jax import models
from bicross_jax.models import spike_unet
from bicross_jax.recipes.bicross import pretrain
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS


def create(config) -> train_state.Recipe:
  """The recipe of a config of stage `neuromorphic` (docs/systems/bicross.md).

  As stage `pretrain` on spikes, but for the network: `config.front_end` (senet, unet, usenet; see
  `models.spike_unet`) takes the stream, or its `model.stem_bins` windows of time, and the network
  of `config.model` takes what that makes. Both are trained, the front end with the rate of a new
  part (`optim.head_lr`). Its batch norms pool over all devices. Batch fields: spike, depth.
  """
  options = dict(config.model)
  bins = options.pop("stem_bins")
  front_end = models.create(
    "spike_unet",
    **config.front_end,
    in_channels=bins or config.data.steps,
    axis_name=AXIS,
    dtype=config.model.dtype,
  )
  network = models.create(options.pop("name"), in_channels=front_end.out_channels, **options)
  networks = {"fronted_dpt": spike_unet.FrontedDPT(front_end, network)}
  return pretrain.supervised(config, networks, front_end.in_channels)
