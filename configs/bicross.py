"""BiCross: depth from spike streams with knowledge from RGB.

    python scripts/train.py --config configs/bicross.py:crossmodality
    python scripts/train.py --config configs/bicross.py:crossmodality,scene --config.data.data_dir=/data/kitti
    python scripts/train.py --config configs/bicross.py:crossdomain,scene --config.data.data_dir=/data/kitti \\
        --config.target.data_dir=/data/drivingstereo

Stages
  pretrain        depth and uncertainty from source RGB (or spikes: input.modality=spike)
  neuromorphic    the same from spikes alone, through a front end: a U-Net that turns them into an image
                  (front_end.kind=usenet, unet), or attention over time (senet)
  crossmodality   CFKD: a spike network learns from labels and from the frozen RGB network
  crossdomain     SCTS: that network moves to a domain without labels (`target`): pseudo labels of an
                  EMA teacher where it is sure, adversarial alignment, source supervision
  all             crossdomain with the stages it stands on, and a table of all three in the end

Scenarios
  synthetic       the procedural world, domain `clear` (crossdomain: clear -> foggy; any other pair by
                  data.domain=NAME,target.domain=NAME): no data needed, minutes on a CPU
  smoke           the same with the smallest network, few and small pictures: seconds; for tests
  syn2real        Virtual KITTI -> partial KITTI (target.domain=eigen: the Eigen split)
  weather_foggy   DrivingStereo's cloudy frames -> foggy ones
  weather_rainy   DrivingStereo's cloudy frames -> rainy ones
  scene           KITTI (Eigen split) -> DrivingStereo
  respike         NYU v2 -> Respike indoor, a real spike camera
  respike_outdoor NYU v2 -> Respike outdoor

All but the first two are real: DPT-hybrid with the published settings, on sets in their published layout
or BiCross's (docs/data.md). `data` is the source, `target` what crossdomain moves to; each has its
`data_dir`, but for the weathers, which lie in one. With validate=target the checkpoint of crossdomain is
chosen by labelled target validation; otherwise no label of the target is read, and the last one counts. What the stages compute, and where it departs from
Liu, Zhang et al., "BiCross" (repository Theia-4869/BiCross): docs/systems/bicross.md.
"""

import ml_collections

from bicross_jax.config import grammar, sections

STAGES = ("crossmodality", "pretrain", "crossdomain", "neuromorphic", "all")
_VIEWS = {  # of a real set: height and width of what is cut out of its frames (bottom, centred)
  "vkitti": (352, 1216),
  "kitti": (352, 1216),
  "drivingstereo": (384, 864),
  "drivingstereo_weather": (384, 864),
  "nyu": (480, 640),  # whole
  "respike": (250, 400),  # whole
}
_REAL = {  # scenario: set and domain of the source, and of the target
  "syn2real": (("vkitti", "clone"), ("kitti", "partial")),
  "weather_foggy": (("drivingstereo_weather", "cloudy"), ("drivingstereo_weather", "foggy")),
  "weather_rainy": (("drivingstereo_weather", "cloudy"), ("drivingstereo_weather", "rainy")),
  "scene": (("kitti", "eigen"), ("drivingstereo", "selected")),
  "respike": (("nyu", "lists"), ("respike", "indoor")),
  "respike_outdoor": (("nyu", "lists"), ("respike", "outdoor")),
}
SCENARIOS = ("synthetic", "smoke", *_REAL)
# What a parent shares with its child besides the data.
_NETWORK = (
  *sections.FOLLOW,
  "input.height",
  "input.width",
  "model",
  "loss.min_depth",
  "loss.max_depth",
)


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """The config of `stage[,scenario][,key=value...]`; crossmodality on synthetic by default."""
  stage, scenario, overrides = grammar.split_arg(arg, STAGES, SCENARIOS)
  make = {
    "pretrain": _pretrain,
    "crossmodality": _crossmodality,
    "crossdomain": _crossdomain,
    "all": _crossdomain,
    "neuromorphic": _neuromorphic,
  }
  config = make[stage](scenario)
  config.report = stage == "all"
  for item in overrides:
    grammar.override(config, item)
  return config


def _pretrain(scenario: str) -> ml_collections.ConfigDict:
  config = _begin(scenario)
  config.stage = "pretrain"
  config.recipe = "bicross_jax.recipes.bicross.pretrain:create"
  config.photometric = 0.0 if scenario in _REAL else 1.0  # strength of what is done to RGB frames
  config.parents.weights = sections.parent(None)  # weights to start from, else random ones
  return config


def _neuromorphic(scenario: str) -> ml_collections.ConfigDict:
  config = _begin(scenario)
  config.stage = "neuromorphic"
  config.recipe = "bicross_jax.recipes.bicross.neuromorphic:create"
  config.input.modality = "spike"
  config.front_end = ml_collections.ConfigDict(
    dict(
      kind="usenet",  # usenet, unet, senet
      widths=(128, 256, 512, 512),  # of a U-Net's levels, finest first
      reduction=16,  # of the squeeze-excite
    )
  )
  if scenario == "synthetic":
    config.front_end.update(widths=(16, 32, 64, 64), reduction=4)
  if scenario == "smoke":
    config.front_end.update(widths=(8, 8), reduction=2)
  return config


def _crossmodality(scenario: str) -> ml_collections.ConfigDict:
  config = _begin(scenario)
  config.stage = "crossmodality"
  config.recipe = "bicross_jax.recipes.bicross.crossmodality:create"
  config.input.modality = "spike"
  config.distill = ml_collections.ConfigDict(
    dict(
      coarse=0.01,  # weight of the contrastive branch
      fine=0.01,  # weight of the feature branch
      uncertainty_filter=False,  # fine branch only where the teacher is sure and the student is not
    )
  )
  config.student_init = "rgb"  # the teacher's weights, new stem; "inflate": stem too; "scratch"
  # The teacher sees RGB, whose stem has no bins.
  config.parents.teacher = sections.parent("pretrain", follow=(*_NETWORK, "-model.stem_bins"))
  if scenario in _REAL:
    config.data.batch_size = 8
    config.train.steps = "10 epochs"
  else:  # from single validation runs; real ones have the published weights
    config.student_init = "inflate"
    config.distill.update(coarse=0.001, fine=0.1)
    config.optim.extra_lr = 1e-4
  return config


def _crossdomain(scenario: str) -> ml_collections.ConfigDict:
  config = _begin(scenario)
  config.stage = "crossdomain"
  config.recipe = "bicross_jax.recipes.bicross.crossdomain:create"
  config.input.modality = "spike"
  config.target = _target(config, scenario)
  config.evals.target = config.evals.source.copy_and_resolve_references()
  config.evals.target.data = "target"
  config.test = "target"
  config.adapt = ml_collections.ConfigDict(
    dict(
      method="scts",  # scts, adversarial, meanteacher
      scp=1.0,  # weight of the pseudo labels
      sca=0.1,  # weight of the domain loss
      reverse=1.0,  # what its gradient is multiplied by (negated) before it reaches the features
      heads="shared",  # shared, or legacy: one for each domain, as published
      filter="head",  # which pseudo labels count: none, head, disagreement, variance
      match=True,  # the teacher sees target streams with the source's firing rates
      mirror=True,  # and their mirror images too
      augment=True,  # the student sees strongly augmented target streams
      alpha=0.999,  # of the teacher's moving average
      publish="teacher",  # or student; without a teacher, the student
      warmup=4,  # steps on the source alone
    )
  )
  config.parents.student = sections.parent("crossmodality", follow=_NETWORK)
  if scenario in _REAL:
    config.data.batch_size = 8
    config.train.steps = "20 epochs"
    config.optim.update(backbone_lr=1e-5, head_lr=1e-4)
    config.adapt.reverse = 0.01
  else:  # chosen on validation data of foggy and rainy
    config.adapt.update(augment=False, reverse=0.02, publish="student")
    config.optim.extra_lr = 3e-3
  return config


def _target(config, scenario) -> ml_collections.ConfigDict:
  """The section of the target, which follows `data` in what both share."""
  same = ("steps", "batch_size")
  if scenario not in _REAL:
    target = sections.world("foggy")
    same += ("name", "data_dir", "height", "width", "sensors", "train", "validation", "test")
  else:
    source, chosen = _REAL[scenario]
    target = sections.real(*chosen, *_VIEWS[chosen[0]])
    if chosen[0] == source[0]:
      same += ("data_dir",)
  del target.flip  # `data.flip` speaks for both
  for name in same:
    setattr(target, name, config.data.get_ref(name))
  return target


def _begin(scenario: str) -> ml_collections.ConfigDict:
  """What all stages of a scenario have."""
  config = sections.base("bicross", "depth")
  config.scenario = scenario
  config.update(
    dict(
      input=dict(modality="rgb", height=96, width=160),  # what the network sees
      data=sections.world(),
      model=dict(
        name="dpt",
        backbone="tiny",
        scale=0.1,
        shift=0.0,
        invert=True,  # the network says inverse depth; False: depth itself, as scale and shift do not
        activation="softplus",
        non_negative=False,
        uncertainty=True,
        stem_bins=16,
        dtype="float32",
      ),
      loss=dict(
        depth="sig",
        uncertainty="l1",
        uncertainty_weight=1.0,
        detach=True,  # no gradient from the uncertainty loss into the depth
        min_depth=1e-3,  # metres; labels between these two count
        max_depth=80.0,
        crop="none",
      ),
      optim=dict(
        backbone_lr=1e-3,
        head_lr=1e-3,
        extra_lr=1e-3,
        schedule="cosine",
        warmup=50,
        plateau_factor=1.0,  # 1: never cut
        plateau_patience=10,
        clip_norm=1.0,
      ),
      evals=dict(source=sections.evaluation("depth", crop="none")),
    )
  )
  if scenario == "smoke":
    _make_small(config)
  elif scenario != "synthetic":
    _make_real(config, scenario)
  return config


def _make_small(config) -> None:
  """The smallest of everything: seconds on a CPU."""
  config.model.backbone = "nano"
  config.input.update(height=32, width=64)
  config.data.update(height=32, width=64, train=8, validation=3, test=3, batch_size=4)
  config.optim.warmup = 0
  config.train.update(steps="2", log_every="1", validate_every="2", checkpoint_every="2")


def _make_real(config, scenario: str) -> None:
  """The published settings; of indoor sets those for the shorter range, and the smaller input.

  The indoor cap is not stated anywhere: 10 m is what NYU v2 is evaluated to elsewhere.
  """
  source, target = _REAL[scenario]
  config.data = sections.real(*source, *_VIEWS[source[0]])
  config.data.update(batch_size=16, flip=False)
  indoor = source[0] == "nyu"
  size, scale, shift = (224, 3.05e-4, 0.1378) if indoor else (384, 6.016e-5, 0.00579)
  cap = 10.0 if target[1] == "indoor" else 80.0
  config.input.update(height=size, width=size)
  config.model.update(backbone="hybrid", scale=scale, shift=shift, activation="linear", stem_bins=0)
  config.loss.update(crop="garg", max_depth=cap)
  config.evals.source = sections.evaluation("depth", crop="garg", max_depth=cap)
  config.optim.update(
    backbone_lr=1e-5,
    head_lr=1e-4,
    extra_lr=1e-5,
    schedule="constant",
    warmup=0,
    plateau_factor=0.1,
    clip_norm=0.0,
  )
  config.train.update(
    steps="30 epochs", log_every="50", validate_every="1 epoch", checkpoint_every="1 epoch"
  )
