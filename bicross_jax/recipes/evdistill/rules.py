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


_SECTIONS = ("input", "model", "loss", "augment", "optim")
_STUDENT = ("target", "distill", "bmr", "generator", "discriminator", "gan")
_LEAST = 24  # pixels that discriminators need of a side
_WINDOW = 16  # of the pool whose means `segmentation.feature_affinity` compares


def check(config) -> None:
  """What must fit together in a config of EvDistill.

  Raises:
    errors.UserError: it does not; one line.
  """
  student = "regime" in config
  wanted = (*_SECTIONS, *(_STUDENT if student else ()))
  lacking = [name for name in wanted if name not in config]
  if lacking:
    raise errors.UserError(f"the config has no section {', '.join(lacking)}")
  for name, entry in config.evals.items():
    if entry.protocol.get("classes", config.model.classes) != config.model.classes:
      raise errors.UserError(
        f"config.model.classes={config.model.classes}, but config.evals.{name}.protocol.classes="
        f"{entry.protocol.classes}"
      )
  if student:
    _check_student(config)


def _check_student(config) -> None:
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
  chosen = tuple(config.target.sensors)
  for field, cause, wanted in (
    ("rgb", "aligned=True", config.aligned),
    ("label", f"regime={config.regime}", config.regime == "with_event_labels"),
  ):
    if wanted and chosen and field not in chosen:
      raise errors.UserError(
        f"config.{cause} needs {field} among config.target.sensors: "
        f"target.sensors={','.join((*chosen, field))}"
      )
  made = config.model.reconstruction != "none"
  multiple = 8 if config.bmr.on and config.bmr.events == "motion" else 4
  least = _LEAST if config.bmr.on else _WINDOW if made else 1
  for section in ("data", "target"):
    size = (config[section].height, config[section].width)
    if (config.bmr.on or made) and (min(size) < least or any(side % multiple for side in size)):
      raise errors.UserError(
        f"config.{section}: generators and reconstructions need height and width in multiples of {multiple}, "
        f"at least {least}, not {size[0]}x{size[1]}"
      )
