"""EPCDepth: depth from one image, learned from rectified stereo pairs without a label.

    python scripts/train.py --config configs/epcdepth.py:tiny
    python scripts/train.py --config configs/epcdepth.py:resnet18,kitti --config.data.data_dir=/data/kitti_raw

Stages:
  tiny          a quarter of the width of ResNet-18, for CPUs
  resnet18      320x1024, as published
  resnet50      the same with 50 layers
  resnet18_lr   192x640
Each has the ingredients of the paper, and each can be left out: augment.graft=none,
model.decoder=plain (not full scale), loss.distillation=0, loss.hints=False.

Scenarios:
  synthetic   the synthetic world, 96x160; the default; minutes on a CPU with stage tiny; without hints, or with
              loss.hints=True,data.sensors=rgb,rgb_right,depth,baseline,intrinsics,depth_hint
  smoke       the same with a nano network and the plain decoder, seconds
  kitti       KITTI raw, Eigen's split, with the depth hints that scripts/depth_hints.py makes
  custom      your own rectified stereo rig: folders left and right and a calibration file

docs/systems/epcdepth.md has the equations and the settings.
"""

import ml_collections

from bicross_jax.config import grammar, sections

STAGES = ("tiny", "resnet18", "resnet50", "resnet18_lr")
SCENARIOS = ("synthetic", "smoke", "kitti", "custom")

_SIZES = {"tiny": (96, 160), "resnet18_lr": (192, 640)}  # of real images; else 320x1024
_EPOCHS, _CUT = 20, 15  # of KITTI's training, and where the rate is cut


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """The config of `stage[,scenario][,key=value...]`; tiny on synthetic by default."""
  stage, scenario, overrides = grammar.split_arg(arg, STAGES, SCENARIOS)
  config = _begin(stage, scenario)
  if scenario in ("synthetic", "smoke"):
    _make_synthetic(config, scenario)
  else:
    _make_real(config, scenario)
  for item in overrides:
    grammar.override(config, item)
  return config


def _begin(stage: str, scenario: str) -> ml_collections.ConfigDict:
  """What all scenarios of a stage have."""
  config = sections.base("epcdepth", "depth")
  config.update(stage=stage, scenario=scenario, recipe="bicross_jax.recipes.epcdepth.stereo:create")
  config.update(
    dict(
      data=sections.world(),
      model=dict(
        name="epcdepth",
        encoder="resnet",  # or rsu
        layers=50 if stage == "resnet50" else 18,
        divisor=4 if stage == "tiny" else 1,
        decoder="full_scale",  # or plain
        padding="zeros",  # or reflect; of the full-scale decoder
        dtype="float32",
      ),
      # The camera that the network learns metres of. The published one calls 0.54 m 0.1.
      rig=dict(
        focal=0.58,  # focal length over the image's width; 0: what the data say
        baseline=0.54,  # metres; 0: what the data say
        unit=5.4,  # metres of one unit of the network's depth
        min_depth=0.1,  # units
        max_depth=100.0,
      ),
      judge="depth",  # what validation looks at: depth, or where there is none photometric
      output=0,  # the map that is predicted: 0, 1 or 2; -1: the mean of them
      loss=dict(
        automask=True,  # pixels that the partner's image explains as it is do not count
        hints=False,  # learn from depth hints where they explain a pixel better
        distillation=1.0,  # weight of the self-distillation
        smoothness=0.0,  # weight of the edge-aware smoothness
        smoothness_by="scale",  # halved with every scale, or as published with every "index"
      ),
      augment=dict(
        flip=0.5,  # shares of the examples
        jitter=0.5,
        graft="sign",  # rows of partners of the same side; legacy: before they are mirrored; none
      ),
      optim=dict(lr=1e-4, schedule="step", warmup=0, milestones=(), gamma=0.1, clip_norm=0.0),
      evals=dict(source=sections.evaluation("depth", "data", "kitti_eigen")),
      parents=dict(weights=sections.parent(None)),  # none unless a checkpoint is given
    )
  )
  del config.data.flip  # `augment` says it
  return config


def _make_synthetic(config, scenario: str) -> None:
  """The synthetic world in minutes, or the smallest of everything in seconds."""
  config.data.sensors = ("rgb", "rgb_right", "depth", "baseline")
  config.data.update(train=500, validation=60, test=60, batch_size=4)
  # The published range begins at a disparity of 0.3 of the width, far from any true one: from random
  # weights some seeds never leave it.
  config.rig.update(focal=0.6, min_depth=0.4)
  config.evals.source = sections.evaluation("depth", "data", "kitti_eigen", crop="none")
  config.optim.update(lr=1e-3, schedule="cosine", warmup=20)
  config.train.update(steps="600", log_every="50", validate_every="200", checkpoint_every="300")
  if scenario == "smoke":
    config.model.update(divisor=16, decoder="plain")
    config.data.update(height=32, width=64, train=8, validation=3, test=3)
    config.optim.warmup = 0
    config.train.update(steps="2", log_every="1", validate_every="2", checkpoint_every="2")


def _make_real(config, scenario: str) -> None:
  """The published settings. KITTI is validated on depth, one's own rig on how well the partner is explained."""
  size = _SIZES.get(config.stage, (320, 1024))
  name, domain = ("kitti_stereo", "eigen") if scenario == "kitti" else ("custom", "both")
  config.data = sections.real(name, domain, *size)
  del config.data.flip
  config.data.update(batch_size=8, crop="resize")
  if scenario == "kitti":
    config.loss.hints = True
    config.data.sensors = ("rgb", "rgb_right", "baseline", "intrinsics", "depth_hint")
    config.truth = config.data.copy_and_resolve_references()
    del config.truth.oversample_labelled  # which is of training
    config.truth.data_dir = config.data.get_ref("data_dir")
    config.truth.sensors = ("rgb", "depth")
    config.evals.source.data = "truth"
  else:
    config.judge = "photometric"
    config.data.sensors = ("rgb", "rgb_right", "baseline", "intrinsics")
    config.rig.update(focal=0.0, baseline=0.0)
  config.optim.milestones = (_CUT / _EPOCHS,)
  config.train.update(
    steps=f"{_EPOCHS} epochs", log_every="100", validate_every="1 epoch", checkpoint_every="1 epoch"
  )
