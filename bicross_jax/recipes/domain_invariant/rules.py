"""What the fields of the configs of Akada et al. may be."""

from bicross_jax.config import rules
from bicross_jax.config.rules import flag, number, one_of, several, whole


def _in_some(rule: rules.Rule) -> rules.Rule:
  """Of a field that only some stages have in its section."""
  return rule._replace(needed=False)


RULES: rules.Rules = {
  "model.name": one_of("efficientnet_unet"),
  "model.variant": one_of("b5", "small", "nano"),
  "model.dtype": one_of("float32", "bfloat16"),
  "generator.width": whole(1, 1 << 10),
  "generator.blocks": whole(1, 64),
  "discriminator.width": whole(1, 1 << 10),
  "loss.max_depth": number(0, above=True),
  "loss.mask": flag(),
  "loss.task": _in_some(number(0)),
  "loss.smooth": _in_some(number(0)),
  "loss.consistency": _in_some(number(0)),
  "translate.adversarial": number(0),
  "translate.cycle": number(0),
  "translate.identity": number(0),
  "translate.pool": whole(0, 1 << 16),
  "ssrl.weight": number(0),
  "ssrl.shrink": whole(1, 1 << 10),
  "freeze_bn": one_of("always", "until_first_validation", "never"),
  "augment.flip": number(0, 1),
  "augment.rotate": number(0, 1),
  "augment.labels": one_of("nearest", "bilinear"),
  "optim.lr": number(0),
  "optim.gan_lr": _in_some(number(0)),
  "optim.encoder": _in_some(several(number(0), least=3)),
  "optim.constant": number(0, 1),
  "optim.epochs": whole(0),
}
