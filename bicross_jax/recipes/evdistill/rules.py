"""What the fields of EvDistill's configs may be, and what of them must fit together."""

from bicross_jax import errors
from bicross_jax.config import rules
from bicross_jax.config.rules import flag, number, one_of, several, whole

_OPTIMISER: rules.Rules = {
  "name": one_of("sgd", "adam"),
  "lr": number(0),
  "weight_decay": number(0),
  "schedule": one_of("constant", "cosine", "poly"),
  "warmup": whole(0),
}

RULES: rules.Rules = {
  "input.modality": one_of("frames", "events")._replace(needed=False),
  "input.grey": flag(),
  "input.normalise": flag(),
  "model.name": one_of("deeplab"),
  "model.backbone": one_of("resnet", "mobilenet", "drn"),
  "model.layers": whole(18, 152),
  "model.divisor": whole(1, 64),
  "model.classes": whole(2, 255),
  "model.output_stride": whole(8, 16, multiple=8),
  "model.dropout": one_of("all", "aspp", "none"),
  "model.reconstruction": one_of("none", "dual", "dual_v2", "dual_v3"),
  "model.dtype": one_of("float32", "bfloat16"),
  "generator.width": whole(1, 1 << 10),
  "generator.blocks": whole(1, 64),
  "discriminator.width": whole(1, 1 << 10),
  "regime": one_of("label_free", "with_event_labels"),
  "aligned": flag(),
  "publish": one_of("events", "frames"),
  "loss.labels": number(0),
  "loss.ohem": number(0, 1),
  "distill.pixelwise_source": number(0),
  "distill.pixelwise_target": number(0),
  "distill.affinity": number(0),
  "distill.consistency": number(0),
  "distill.distribution": number(0),
  "distill.mutual": number(0),
  "distill.image": number(0),
  "bmr.on": flag(),
  "bmr.events": one_of("motion", "translator"),
  "bmr.adversarial": number(0),
  "bmr.cycle": number(0),
  "bmr.reconstruction": number(0),
  "bmr.end_to_end": number(0),
  "augment.flip": number(0, 1),
  "augment.jitter": number(0, 1),
  "augment.scales": several(number(0, above=True)),
  **{
    f"{section}.{name}": rule for section in ("optim", "gan") for name, rule in _OPTIMISER.items()
  },
}


def check(config) -> None:
  """What must fit together in a config of EvDistill.

  Raises:
    errors.UserError: it does not; one line.
  """
  if "regime" not in config:
    return
  needs = {
    "distill.mutual": config.distill.mutual > 0,
    f"model.reconstruction={config.model.reconstruction}": config.model.reconstruction != "none",
  }
  for name, wanted in needs.items():
    if wanted and not config.aligned:
      raise errors.UserError(f"config.{name} needs frames beside the events: config.aligned=True")
  if config.publish == "frames" and not config.distill.mutual:
    raise errors.UserError(
      "config.publish=frames needs config.distill.mutual, which trains that network"
    )
