"""What the fields of EPCDepth's configs may be, and what of them must fit together."""

from bicross_jax import errors
from bicross_jax.config import rules
from bicross_jax.config.rules import flag, number, one_of, whole

RULES: rules.Rules = {
  "model.name": one_of("epcdepth"),
  "model.encoder": one_of("resnet", "rsu"),
  "model.layers": rules.Rule(
    int, lambda n: None if n in (18, 34, 50, 101, 152) else "choose from 18, 34, 50, 101, 152"
  ),
  "model.divisor": whole(1, 16),
  "model.decoder": one_of("full_scale", "plain"),
  "model.padding": one_of("zeros", "reflect"),
  "model.dtype": one_of("float32", "bfloat16"),
  "rig.focal": number(0),
  "rig.baseline": number(0),
  "rig.unit": number(0, above=True),
  "rig.min_depth": number(0, above=True),
  "rig.max_depth": number(0, above=True),
  "judge": one_of("depth", "photometric"),
  "output": whole(-1, 2),
  "loss.automask": flag(),
  "loss.hints": flag(),
  "loss.distillation": number(0),
  "loss.smoothness": number(0),
  "loss.smoothness_by": one_of("scale", "index"),
  "augment.flip": number(0, 1),
  "augment.jitter": number(0, 1),
  "augment.graft": one_of("none", "sign", "legacy"),
  **rules.ONE_RATE,
}
_SECTIONS = ("model", "rig", "loss", "augment", "optim")


def check(config) -> None:
  """What must fit together in a config of EPCDepth.

  Raises:
    errors.UserError: it does not; one line.
  """
  lacking = [name for name in _SECTIONS if name not in config]
  if lacking:
    raise errors.UserError(f"the config has no section {', '.join(lacking)}")
  rig, size = config.rig, (config.data.height, config.data.width)
  if not rig.min_depth < rig.max_depth:
    raise errors.UserError(
      f"config.rig: min_depth {rig.min_depth:g} must be below max_depth {rig.max_depth:g}"
    )
  if size[0] % 32 or size[1] % 32:
    raise errors.UserError(
      f"config.data: the network halves images five times, so height and width are multiples of 32, "
      f"not {size[0]}x{size[1]}"
    )
  chosen = config.data.get("sensors", ())
  needed = ("rgb", "rgb_right", "baseline", "intrinsics", "depth_hint")
  if config.loss.hints and not set(needed) <= set(chosen):
    told = ",".join(dict.fromkeys((*chosen, *needed)))
    raise errors.UserError(
      f"config.loss.hints=True needs depth_hint and intrinsics among config.data.sensors: "
      f"data.sensors={told}"
    )
  model = config.model
  if model.decoder == "full_scale" and model.padding == "reflect" and min(size) < 160:
    raise errors.UserError(
      f"config.model.padding='reflect' needs images of at least 160x160, not {size[0]}x{size[1]}: at "
      "the coarsest scale nothing is left to mirror"
    )
