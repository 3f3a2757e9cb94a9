"""What the fields of the configs of Akada et al. may be, and what of them must fit together."""

from bicross_jax import errors
from bicross_jax.config import rules
from bicross_jax.config.rules import flag, number, one_of, several, whole

_MULTIPLE, _LEAST = 32, 64  # of the networks' height and width
_FACTORS = 3  # groups of the encoder's parameters


def _in_some(rule: rules.Rule) -> rules.Rule:
  """Of a field that only some stages have in its section."""
  return rule._replace(needed=False)


RULES: rules.Rules = {
  "model.name": one_of("efficientnet_unet"),
  "model.variant": one_of("b5", "small", "nano"),
  "model.dtype": one_of("float32", "bfloat16"),
  "generator.width": whole(1, 1 << 10),
  "generator.blocks": whole(1, 64),
  "generator.skips": flag(),
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
  "ssrl.decoder": one_of("fresh", "given"),
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


def check(config) -> None:
  """What must fit together in a config of Akada et al.

  Raises:
    errors.UserError: it does not; one line.
  """
  lacking = [name for name in ("model", "loss", "augment", "optim") if name not in config]
  if lacking:
    raise errors.UserError(f"the config has no section {', '.join(lacking)}")
  size = _size(config.data)
  for name in ("data", "target", "truth"):
    if name not in config:
      continue
    own = _size(config[name])
    if any(side % _MULTIPLE or side < _LEAST for side in own):
      raise errors.UserError(
        f"config.{name}: height and width are multiples of {_MULTIPLE}, and at least {_LEAST}, "
        f"not {own[0]}x{own[1]}"
      )
    if own != size:
      raise errors.UserError(
        f"config.{name}: the networks see pictures of the source's {size[0]}x{size[1]}, "
        f"not {own[0]}x{own[1]}"
      )
  factors = config.optim.get("encoder", (1,) * _FACTORS)
  if len(factors) != _FACTORS:
    raise errors.UserError(
      f"config.optim.encoder has {len(factors)} factors: it must have {_FACTORS}, of the encoder's "
      "early, middle and late stages"
    )
  if "task" in config.loss and config.augment.labels == "bilinear" and config.loss.mask:
    raise errors.UserError(
      "config.augment.labels=bilinear mixes unknown depth with known: it needs "
      "config.loss.mask=False, by which every pixel counts"
    )


def _size(section) -> tuple[int, int]:
  return section.height, section.width
