"""What a StereoSpike network sees of a batch, what it remembers, and what it says.

The equations are those of docs/systems/stereospike.md.
"""

from typing import Any

import jax
import jax.numpy as jnp

from bicross_jax import models
from bicross_jax.ops import label_space, spikes
from bicross_jax.train.state import AXIS

CAMERA = 2  # channels of a camera in event counts: ON, OFF


def channels(config) -> int:
  """Input channels of the network at one of its time steps."""
  see = config.input
  return see.slices * (CAMERA * see.cameras if see.modality == "events" else 1)


def network(config):
  """The linen module of `config.model` for what `config.input` says it sees."""
  options = dict(config.model)
  if options["name"] == "stereospike_ann":
    options["axis_name"] = AXIS
  return models.create(options.pop("name"), in_channels=channels(config), **options)


def initialise(config, module, key: jax.Array) -> dict[str, Any]:
  """Random variables of the network of a config."""
  shape = (config.input.steps, 1, config.data.height, config.data.width, channels(config))
  return models.init(module, key, shape)


def network_input(config, batch) -> jax.Array:
  """float32[T, B, H, W, C]: the input of the network at each of its `config.input.steps` steps.

  A step has `config.input.slices` slices of time, one after the other; its channels are, slice by
  slice, L_ON, L_OFF and of a pair R_ON, R_OFF (events: counts), or the share of steps of a spike
  camera at which a pixel fires.

  Args:
    config: its section `input`.
    batch: with `events` [B, H, W, T * slices, C], or `spike` uint8[B, H, W, n/8].
  """
  see = config.input
  if see.modality == "spike":
    bins = see.steps * see.slices
    packed = batch["spike"]
    x = spikes.bin_counts(packed, bins) * (bins / (8 * packed.shape[-1]))
  else:
    x = batch["events"][..., : CAMERA * see.cameras].astype(jnp.float32)
  x = x.reshape(*x.shape[:3], see.steps, channels(config))
  return jnp.moveaxis(x, 3, 0)


def labels(config) -> label_space.LabelSpace:
  """The space of `config.labels`, that the network learns and predicts in."""
  return label_space.LabelSpace(**config.labels)


def is_stateful(config) -> bool:
  """Whether the network goes on from the potentials that the window before left."""
  return config.data.get("sequence", 0) > 0


def fresh(state: Any, reset: jax.Array) -> Any:
  """Potentials of which some rows begin anew.

  Args:
    state: of the network, every leaf with the batch in front; neurons begin at 0.
    reset: bool[B].
  """
  rows = lambda x: reset.reshape(-1, *(1,) * (x.ndim - 1))
  return jax.tree.map(lambda x: jnp.where(rows(x), 0, x), state)
