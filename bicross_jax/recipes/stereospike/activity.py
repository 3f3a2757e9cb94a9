"""How active the layers of a StereoSpike network are, and what they cost at that.

For `scripts/firing_rates.py` (docs/systems/stereospike.md, Firing rates and energy).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bicross_jax.models import stereospike
from bicross_jax.recipes.stereospike import common

Densities = dict[str, jax.Array]  # tensor -> float32[B], share of its entries that are not 0


def meter(config) -> Callable[[Mapping[str, Any], Mapping[str, Any], Any], tuple[Densities, Any]]:
  """The function (variables, batch, carry) -> (densities of every tensor, carry).

  The tensors are "input" and those of `StereoSpikeOutput.activity`; a density is the mean over
  time steps. The carry is the network's memory, as of a recipe's `predict`.
  """
  module = common.network(config)
  stateful = common.is_stateful(config)

  def measure(variables, batch, carry=()):
    x = common.network_input(config, batch)
    state = carry if jax.tree.leaves(carry) else None
    if state is not None and "reset" in batch:
      state = common.fresh(state, batch["reset"])
    output = module.apply(variables, x, state)
    tensors = {"input": x, **output.activity}
    share = lambda x: (x != 0).astype(jnp.float32).mean((0, *range(2, x.ndim)))
    return {n: share(x) for n, x in tensors.items()}, output.state if stateful else carry

  return measure


def layers(config) -> list[dict[str, Any]]:
  """The layers with weights in order, the fields of `evaluation.energy.Layer` and "source" each.

  "source" names the tensor that is the layer's input. Enlarging a map costs nothing; the convolution behind
  it is counted at its full size, as the published 27.5 GMAC are.
  """
  height, width, levels = config.data.height, config.data.width, stereospike.LEVELS
  sizes = [(-(-height // 2**k), -(-width // 2**k)) for k in range(levels + 1)]
  channels = [config.model.width * 2**k for k in range(levels + 1)]
  deepest = channels[levels]
  out = []

  def add(name, source, kernel, level, inputs, features, at, fires=True):
    (h, w), (from_h, from_w) = sizes[level], sizes[at]
    out.append(
      dict(
        name=name,
        source=source,
        macs=h * w * kernel**2 * inputs * features,
        weights=kernel**2 * inputs * features,
        inputs=from_h * from_w * inputs,
        outputs=h * w * features,
        spiking=source != "input",
        fires=fires,
      )
    )

  add("bottom", "input", 5, 0, common.channels(config), channels[0], 0)
  for k in range(1, levels + 1):
    source = f"conv{k - 1}" if k > 1 else "bottom"
    add(f"conv{k}", source, 5, k, channels[k - 1], channels[k], k - 1)
  before = f"conv{levels}"
  for block in ("bottleneck_0", "bottleneck_1"):
    add(f"{block}_conv1", before, 3, levels, deepest, deepest, levels)
    add(f"{block}_conv2", f"{block}_conv1", 3, levels, deepest, deepest, levels)
    before = block
  for k in range(levels, 0, -1):
    add(f"deconv{k}", before, 5, k - 1, channels[k], channels[k - 1], k)
    before = f"add{k}"
    if k in config.model.get("heads", range(1, levels + 1)):
      add(f"predict_depth{k}", before, 3, 0, channels[k - 1], 1, k - 1, fires=False)
  return out
