"""Measures of how far to trust a cross-domain network, by the functions that filter pseudo labels.

What is judged is the published network on streams as they are; in training the teacher may also
match firing rates and average mirror images (`adapt.match`, `adapt.mirror`).
"""

import jax
import jax.numpy as jnp

from bicross_jax.losses import pseudo
from bicross_jax.losses import uncertainty as uncertainty_losses
from bicross_jax.ops import augment
from bicross_jax.recipes.bicross import common
from bicross_jax.train import state as train_state

MEASURES = ("head", "disagreement", "variance")
PARTS = {"teacher": ("teacher", "params"), "student": ("params", "student")}


def measures(config, module) -> train_state.Uncertainty:
  """The network's depth with every measure of how far to trust it.

  Of a batch with `spike` uint8[B, H, W, T/8] they are float32[B, h, w], all on the scale of
  relative errors: "head" (where the network has one; of a head trained by l1log, its width over
  the depth), "disagreement" (of teacher and student, which sees what it sees in training; where
  there is a teacher) and "variance" (over the stream, its mirror image and a strongly augmented
  view, which the number of the batch draws).

  Args:
    config: of stage crossdomain.
    module: the network.
  """

  def predict(params, spike):
    return module.apply({"params": params}, common.network_input(config, {"spike": spike}))

  def floored(params, spike):
    return jnp.maximum(predict(params, spike).depth, common.MIN_DEPTH)

  @jax.jit
  def run(params, parts, spike, number):
    strong = augment.strong(jax.random.fold_in(jax.random.key(0), number), spike)
    output = predict(params, spike)
    depth = jnp.maximum(output.depth, common.MIN_DEPTH)
    out = {"depth": output.depth}
    if output.uncertainty is not None:
      out["head"] = output.uncertainty
      if config.loss.uncertainty == "l1log":
        out["head"] = uncertainty_losses.width(output.uncertainty) / depth
    if parts:
      student = floored(parts["student"], strong if config.adapt.augment else spike)
      out["disagreement"] = pseudo.disagreement(floored(parts["teacher"], spike), student)
    out["variance"] = pseudo.view_spread(lambda x: floored(params, x), spike, strong, depth)
    return out

  def measure(variables, parts, batch, number):
    found = run(variables["params"], parts, batch["spike"], number)
    return {name: found[name] for name in ("depth", *MEASURES) if name in found}

  teaches = config.adapt.method != "adversarial"
  return train_state.Uncertainty(PARTS if teaches else {}, measure)
