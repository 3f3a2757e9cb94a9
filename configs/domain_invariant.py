"""Akada et al. (WACV 2022): depth for real pictures, learned from rendered ones.

    python scripts/train.py --config configs/domain_invariant.py:all
    python scripts/train.py --config configs/domain_invariant.py:finetune,vkitti2kitti --config.data.data_dir=/data/vkitti --config.target.data_dir=/data/kitti_raw

Stages
  source        the depth network on labelled source pictures alone: the row to compare with
  translation   two generators between source and target learn the style of the other, by a depth network
  ssrl          the depth network's decoder learns to see pictures and their translations alike; no labels
  finetune      that network learns depth of source pictures and their translations
  all           the same, and in the end every stage is tested

Scenarios
  synthetic      the procedural world, clear -> night; no data needed, minutes on a CPU
  smoke          the same with the smallest networks, few and small pictures: seconds; for tests
  vkitti2kitti   Virtual KITTI -> KITTI, Eigen's split, 288x960, as published

docs/systems/domain_invariant.md has the equations and the settings.
"""

import ml_collections

from bicross_jax.config import grammar, sections

STAGES = ("source", "translation", "ssrl", "finetune", "all")
SCENARIOS = ("synthetic", "smoke", "vkitti2kitti")

# Steps of the published stages, epochs that are constant, and all of them.
_PUBLISHED = {
  "source": (28240, 10, 20),
  "translation": (28240, 10, 20),
  "ssrl": (17600, 50, 100),
  "finetune": (42360, 15, 30),
}
_BATCH = {"ssrl": 128}  # else 16
_NETWORKS = (
  *sections.FOLLOW,
  "target",
  "-target.batch_size",
  "truth",
  "-truth.batch_size",
  "model",
  "generator",
  "loss.max_depth",
  "loss.mask",
)


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """The config of `stage[,scenario][,key=value...]`; source on synthetic by default."""
  stage, scenario, overrides = grammar.split_arg(arg, STAGES, SCENARIOS)
  config = _begin("finetune" if stage == "all" else stage, scenario)
  config.report = stage == "all"
  if scenario == "vkitti2kitti":
    _make_real(config)
  else:
    _make_synthetic(config, scenario)
  for item in overrides:
    grammar.override(config, item)
  return config


def _begin(stage: str, scenario: str) -> ml_collections.ConfigDict:
  """What all scenarios of a stage have: the published settings."""
  config = sections.base("domain_invariant", "depth")
  config.update(
    stage=stage, scenario=scenario, recipe=f"bicross_jax.recipes.domain_invariant.{stage}:create"
  )
  config.update(
    dict(
      data=sections.world(),
      model=dict(name="efficientnet_unet", variant="b5", dtype="float32"),
      loss=dict(
        max_depth=80.0,  # metres that the network calls 1
        mask=True,  # pixels without depth do not count; False: they are 0 m, as published
        task=100.0,  # weights
      ),
      augment=dict(flip=0.5, rotate=0.5, labels="nearest"),
      optim=dict(
        lr=4e-4,
        encoder=(1e-3, 1e-2, 1e-1),  # what it is multiplied by for stages of the encoder
        constant=0.5,  # share of the training before the rates fall
        epochs=0,  # equal lengths in which they are constant; 0: they fall at every step
      ),
      evals=dict(source=sections.evaluation("depth", "data", "akada_validation")),
    )
  )
  if stage == "ssrl":
    del config.loss.task
    config.optim.lr = 3.2e-3
    del config.optim.encoder
  del config.data.flip  # `augment` says it
  if stage != "source":
    _adapt(config, stage)
  if stage != "finetune":
    config.parents.weights = sections.parent(
      None
    )  # of the encoder; none unless a checkpoint is given
  return config


def _adapt(config, stage: str) -> None:
  """What stages with a target have besides."""
  config.target = sections.world("night")
  del config.target.flip
  config.evals.target = sections.evaluation("depth", "target", "akada_validation")
  config.update(
    validate=("target",), test="target", generator=dict(width=64, blocks=7, skips=False)
  )
  if stage != "ssrl":
    config.loss.update(smooth=0.1, consistency=1.0)
  if stage == "translation":
    config.discriminator = dict(width=64)
    config.translate = dict(adversarial=1.0, cycle=10.0, identity=100.0, pool=20)
    config.optim.gan_lr = 2e-4
  else:
    config.parents.generators = sections.parent("translation", follow=_NETWORKS)
  if stage == "ssrl":
    config.ssrl = dict(weight=1.0, shrink=3, decoder="fresh")
  if stage == "finetune":
    config.freeze_bn = "always"
    config.parents.task = sections.parent("ssrl", follow=_NETWORKS)


def _make_synthetic(config, scenario: str) -> None:
  """The synthetic world in minutes, or the smallest of everything in seconds.

  There is no encoder trained on ImageNet: that of stage `source` stands in for it.
  """
  small, stage = scenario == "smoke", config.stage
  config.model.variant = "nano" if small else "small"
  config.data.update(sensors=("rgb", "depth"), train=500, validation=60, test=60)
  config.data.batch_size = 8 if stage == "source" else 4
  if small:
    config.data.update(height=64, width=64, train=8, validation=3, test=3, batch_size=4)
  for entry in config.evals.values():
    entry.protocol = sections.evaluation("depth", crop="none", max_depth=80.0).protocol
  if stage != "source":
    for name in (
      "height",
      "width",
      "train",
      "validation",
      "test",
      "batch_size",
      "data_dir",
      "sensors",
    ):
      setattr(config.target, name, config.data.get_ref(name))
    # Without a way past the pools such narrow generators blur what they translate.
    config.generator.update(width=4 if small else 8, blocks=1 if small else 3, skips=True)
  if stage in ("translation", "ssrl"):
    config.parents.weights = sections.parent(
      "source", follow=(*sections.FOLLOW, "model", "loss.max_depth", "loss.mask")
    )
  if stage == "ssrl":
    # A fresh decoder would have to learn depth in the few steps that are left.
    config.ssrl.decoder = "given"
  if stage == "translation":
    config.discriminator.width = 4 if small else 8
    config.optim.gan_lr = 2e-3
  if stage != "ssrl":
    config.optim.encoder = (1.0, 1.0, 1.0)
  config.optim.lr = 1e-3 if stage == "ssrl" else 2e-3
  steps = {"source": "600", "translation": "400", "ssrl": "300", "finetune": "500"}[stage]
  config.train.update(steps=steps, log_every="50", validate_every="200", checkpoint_every="200")
  if small:
    config.train.update(steps="2", log_every="1", validate_every="2", checkpoint_every="2")


def _make_real(config) -> None:
  """Virtual KITTI -> KITTI. Labels of the target's validation part choose the last stage's checkpoint."""
  stage = config.stage
  steps, constant, epochs = _PUBLISHED[stage]
  config.data = sections.real("vkitti", "all", 288, 960)
  config.data.update(batch_size=_BATCH.get(stage, 16), crop="bicubic", sensors=("rgb", "depth"))
  del config.data.flip
  del config.data.parts  # Virtual KITTI has no domain of listed frames
  config.evals.source = sections.evaluation("depth", "data", "akada_kitti")
  if stage != "source":
    config.target = sections.real("kitti_stereo", "eigen_left", 288, 960)
    config.target.update(crop="bicubic", sensors=("rgb",))
    del config.target.flip
    config.truth = config.target.copy_and_resolve_references()
    del config.truth.oversample_labelled  # which is of training
    config.truth.sensors = ("rgb", "depth")
    config.truth.data_dir = config.target.get_ref("data_dir")
    for name in ("height", "width", "batch_size"):
      for section in (config.target, config.truth):
        setattr(section, name, config.data.get_ref(name))
    config.evals.target = sections.evaluation("depth", "truth", "akada_kitti")
  config.optim.update(constant=constant / epochs, epochs=epochs)
  config.train.update(
    steps=str(steps), log_every="40", validate_every="80", checkpoint_every=f"{steps // epochs}"
  )
