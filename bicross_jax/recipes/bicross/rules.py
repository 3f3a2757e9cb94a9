"""What the fields of BiCross's configs may be, and what of them must fit together."""

from bicross_jax import errors
from bicross_jax.config import rules
from bicross_jax.config.rules import flag, number, one_of, several, whole

_MULTIPLE = 32  # the input's height and width, for DPT

RULES: rules.Rules = {
  "input.modality": one_of("rgb", "spike"),
  "input.height": whole(_MULTIPLE, rules.SIDE, multiple=_MULTIPLE),
  "input.width": whole(_MULTIPLE, rules.SIDE, multiple=_MULTIPLE),
  "model.name": one_of("dpt"),
  "model.backbone": one_of("hybrid", "base", "large", "small", "tiny", "nano"),
  "model.scale": number(0, above=True),
  "model.shift": number(0),
  "model.invert": flag(),
  "model.activation": one_of("linear", "softplus"),
  "model.non_negative": flag(),
  "model.uncertainty": flag(),
  "model.stem_bins": whole(0, 1 << 16),
  "model.dtype": one_of("float32", "bfloat16"),
  "loss.depth": one_of("sig", "ssi", "mse"),
  "loss.uncertainty": one_of("l1", "l2", "l1log"),
  "loss.uncertainty_weight": number(0),
  "loss.detach": flag(),
  "loss.min_depth": number(0, above=True),
  "loss.max_depth": number(0, above=True),
  "loss.crop": one_of("none", "garg", "eigen"),
  "optim.backbone_lr": number(0),
  "optim.head_lr": number(0),
  "optim.extra_lr": number(0),
  "optim.schedule": one_of("constant", "cosine"),
  "optim.warmup": whole(0),
  "optim.plateau_factor": number(0, 1, above=True),
  "optim.plateau_patience": whole(0),
  "optim.clip_norm": number(0),
  "photometric": number(0, 10),
  "front_end.kind": one_of("usenet", "unet", "senet"),
  "front_end.widths": several(whole(1, 1 << 16), least=1),
  "front_end.reduction": whole(1, 1 << 16),
  "distill.coarse": number(0),
  "distill.fine": number(0),
  "distill.uncertainty_filter": flag(),
  "student_init": one_of("rgb", "inflate", "scratch"),
  "adapt.method": one_of("scts", "adversarial", "meanteacher"),
  "adapt.scp": number(0),
  "adapt.sca": number(0),
  "adapt.reverse": number(0),
  "adapt.heads": one_of("shared", "legacy"),
  "adapt.filter": one_of("none", "head", "disagreement", "variance"),
  "adapt.match": flag(),
  "adapt.mirror": flag(),
  "adapt.augment": flag(),
  "adapt.alpha": number(0, 1),
  "adapt.publish": one_of("teacher", "student"),
  "adapt.warmup": whole(0),
}
_SECTIONS = ("input", "model", "loss", "optim")


def check(config) -> None:
  """What must fit together in a config of BiCross.

  Raises:
    errors.UserError: it does not; one line.
  """
  lacking = [name for name in _SECTIONS if name not in config]
  if lacking:
    raise errors.UserError(f"the config has no section {', '.join(lacking)}")
  loss, model, steps = config.loss, config.model, config.data.get("steps")
  if not loss.min_depth < loss.max_depth:
    raise errors.UserError(
      f"config.loss: min_depth {loss.min_depth:g} must be below max_depth {loss.max_depth:g}"
    )
  if config.input.modality == "spike" and model.stem_bins and steps % model.stem_bins:
    raise errors.UserError(
      f"config.model.stem_bins={model.stem_bins} does not divide config.data.steps={steps}"
    )
  if "distill" in config and config.distill.uncertainty_filter and not model.uncertainty:
    raise errors.UserError("config.distill.uncertainty_filter needs config.model.uncertainty")
  if "adapt" in config and config.adapt.filter == "head" and not model.uncertainty:
    raise errors.UserError("config.adapt.filter=head needs config.model.uncertainty")
