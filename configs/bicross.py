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
  syn2real        Virtual KITTI -> partial KITTI (target.domain=eigen: the Eigen split)
  weather_foggy   DrivingStereo's cloudy frames -> foggy ones
  weather_rainy   DrivingStereo's cloudy frames -> rainy ones
  scene           KITTI (Eigen split) -> DrivingStereo
  respike         NYU v2 -> Respike indoor, a real spike camera
  respike_outdoor NYU v2 -> Respike outdoor

All but the first are real: DPT-hybrid with the published settings, on sets in their published layout
or BiCross's (`bicross_jax/data/layouts`). `data` is the source, `target` what crossdomain moves to;
each has its `data_dir`, but for the weathers, which lie in one.

The specification and the published numbers are those of Zhang et al., "BiCross" (repository
Theia-4869/BiCross).
"""

import ml_collections

from bicross_jax.config import grammar

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
SCENARIOS = ("synthetic", *_REAL)


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
  config.report = stage == "all"  # test every stage of the chain when the last is trained
  config.distributed = _distributed()
  for item in overrides:
    grammar.override(config, item)
  return config


def get_tables() -> dict[str, grammar.Table]:
  """The tables that `scripts/table.py --table configs/bicross.py:NAME` can make."""
  return {
    "cfkd": _cfkd_table(),
    "gap": _gap_table(),
    "crossdomain": _crossdomain_table(),
    "ablation": _ablation_table(),
  }


def _cfkd_table() -> grammar.Table:
  """What distillation is worth: scratch, RGB initialisation, CFKD; all labels and 100."""
  own, parent = get_config("crossmodality").train, get_config("pretrain").train
  both = int(own.steps) + int(parent.steps)
  rows = {}
  for labels, words in (("", "all labels"), (",data.labelled=100", "100 labels")):
    scratch = f"from scratch, {words}"
    few = labels.replace("labelled", "limit")  # those rows learn from nothing but labels
    rows[scratch] = grammar.Row(
      get_config(f"pretrain,input.modality=spike,train.steps={both}{few}")
    )
    rows[f"RGB-initialised, {words}"] = grammar.Row(
      get_config(f"crossmodality,distill.coarse=0,distill.fine=0{few}"), against=scratch
    )
    half = labels and ",data.oversample_labelled=true"
    rows[f"CFKD, {words}"] = grammar.Row(
      get_config(f"crossmodality{labels}{half}"), against=f"RGB-initialised, {words}"
    )
  return grammar.Table(
    "cfkd", "Cross-modality distillation on the synthetic world, domain clear", rows
  )


def _gap_table() -> grammar.Table:
  """The domain gap: spike networks trained on `clear` and tested elsewhere, over those at home."""
  rows = {}
  for domain in ("clear", "foggy", "rainy", "night", "other_town"):
    spike = "pretrain,input.modality=spike"
    rows[f"clear -> {domain}"] = grammar.Row(get_config(spike), test=(f"data.domain={domain}",))
    if domain != "clear":
      rows[f"{domain} -> {domain}"] = grammar.Row(
        get_config(f"{spike},data.domain={domain}"), against=f"clear -> {domain}"
      )
  return grammar.Table("gap", "Domain gap of the synthetic world", rows)


def _crossdomain_table() -> grammar.Table:
  """BiCross's claim: source only > MonoCross > BiCross in error on the target, for two weathers.

  `source only` and `supervised` are spike networks from scratch, on the source and on the target,
  with the steps of stage `pretrain`, which are also those of MonoCross on spikes. Two further rows
  have as many steps as both stages behind MonoCross.
  """
  both = int(get_config("crossmodality").train.steps) + int(get_config("pretrain").train.steps)
  scratch, long, rows = "pretrain,input.modality=spike", f"train.steps={both}", {}
  for target in ("foggy", "rainy"):
    there, home = (f"data.domain={target}",), f"{scratch},data.domain={target}"
    label = lambda method, target=target: f"{method}, clear -> {target}"
    rows[label("source only")] = grammar.Row(get_config(scratch), there)
    rows[label("MonoCross")] = grammar.Row(get_config("crossmodality"), there, label("source only"))
    rows[label("BiCross")] = grammar.Row(
      get_config(f"crossdomain,target.domain={target}"), against=label("MonoCross")
    )
    rows[label("supervised")] = grammar.Row(get_config(home), against=label("BiCross"))
    rows[label(f"source only {both} steps")] = grammar.Row(
      get_config(f"{scratch},{long}"), there, label("MonoCross")
    )
    rows[label(f"supervised {both} steps")] = grammar.Row(
      get_config(f"{home},{long}"), against=label("BiCross")
    )
  return grammar.Table("crossdomain", "Cross-domain BiCross on the synthetic world", rows)


def _ablation_table() -> grammar.Table:
  """What the parts of CFKD and of SCTS are worth: each left out or changed, tested on foggy."""
  foggy, whole = ("data.domain=foggy",), "BiCross (SCTS)"
  rows = {"CFKD": grammar.Row(get_config("crossmodality"), foggy)}
  for words, change in (
    ("without coarse", "distill.coarse=0"),
    ("without fine", "distill.fine=0"),
    ("with filter", "distill.uncertainty_filter=true"),
    ("without augmented RGB", "parent.photometric=0"),
  ):
    rows[f"CFKD {words}"] = grammar.Row(get_config(f"crossmodality,{change}"), foggy, "CFKD")
  rows[whole] = grammar.Row(get_config("crossdomain"), against="CFKD")
  for words, change in (
    ("without SCP", "adapt.scp=0"),
    ("without SCA", "adapt.sca=0"),
    ("without matched rates", "adapt.match=false"),
    ("without mirror image", "adapt.mirror=false"),
    ("filter none", "adapt.filter=none"),
    ("filter disagreement", "adapt.filter=disagreement"),
    ("filter variance", "adapt.filter=variance"),
    ("strong augmentation", "adapt.augment=true"),
    ("published meanteacher", "adapt.method=meanteacher,adapt.match=false,adapt.mirror=false"),
    ("published adversarial", "adapt.method=adversarial,adapt.heads=legacy,adapt.reverse=0.01"),
  ):
    rows[f"SCTS, {words}"] = grammar.Row(get_config(f"crossdomain,{change}"), against=whole)
  return grammar.Table("ablation", "Parts of CFKD and SCTS, clear -> foggy", rows)


def _pretrain(scenario: str) -> ml_collections.ConfigDict:
  config = _real(scenario) if scenario in _REAL else _synthetic()
  config.stage = "pretrain"
  config.recipe = "bicross_jax.recipes.bicross.pretrain:create"
  config.init_from = ml_collections.config_dict.placeholder(str)  # weights; None: random ones
  config.input.modality = "rgb"
  config.photometric = 0.0 if scenario in _REAL else 1.0  # strength of what is done to RGB frames
  return config


def _neuromorphic(scenario: str) -> ml_collections.ConfigDict:
  config = _pretrain(scenario)
  config.stage = "neuromorphic"
  config.recipe = "bicross_jax.recipes.bicross.neuromorphic:create"
  del config.init_from, config.photometric
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
  return config


def _crossmodality(scenario: str) -> ml_collections.ConfigDict:
  config = _pretrain(scenario)
  del config.photometric
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
  config.student_init = (
    "rgb"  # "rgb": the teacher's weights, new stem; "inflate": stem too; "scratch"
  )
  if scenario == "synthetic":  # from single validation runs; real ones have the published weights
    config.student_init = "inflate"
    config.distill.update(coarse=0.001, fine=0.1)
    config.optim.extra_lr = 1e-4
  if scenario in _REAL:
    config.data.batch_size = 8
    config.train.steps = "10 epochs"
  return _with_parent(config, _pretrain(scenario))


def _crossdomain(scenario: str) -> ml_collections.ConfigDict:
  config = _pretrain(scenario)
  del config.photometric
  config.stage = "crossdomain"
  config.recipe = "bicross_jax.recipes.bicross.crossdomain:create"
  config.input.modality = "spike"
  config.target = config.data.copy_and_resolve_references()
  del config.target.flip  # `data.flip` speaks for both
  same = ("steps", "train", "validation", "test", "batch_size")
  if scenario == "synthetic":
    config.target.domain = "foggy"
    same += ("name", "data_dir", "height", "width")
  else:
    source, target = _REAL[scenario]
    _choose(config.target, *target)
    if target[0] == source[0]:
      same += ("data_dir",)
  _share(config.data, config.target, same)
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
  config.oracle = False  # choose the checkpoint by labelled target validation; else it is the last
  if scenario == "synthetic":  # chosen on validation data of foggy and rainy
    config.adapt.update(augment=False, reverse=0.02, publish="student")
    config.optim.extra_lr = 3e-3
  if scenario in _REAL:
    config.data.batch_size = 8
    config.train.steps = "20 epochs"
    config.optim.update(backbone_lr=1e-5, head_lr=1e-4)
    config.adapt.reverse = 0.01
  return _with_parent(config, _crossmodality(scenario))


def _with_parent(config, parent) -> ml_collections.ConfigDict:
  """`config` with the stage that it starts from, which follows it in what both must share."""
  config.init_from = ml_collections.config_dict.placeholder(str)  # instead of training `parent`
  config.parent = parent
  _share(config, parent, ("seed",))
  own = ("batch_size", "limit", "labelled", "oversample_labelled", "parts")
  _share(config.data, parent.data, [k for k in config.data if k not in own])
  _share(config.data.parts, parent.data.parts, list(config.data.parts))
  _share(config.input, parent.input, ("height", "width"))
  same = config.input.modality == parent.input.modality
  _share(config.model, parent.model, [k for k in config.model if same or k != "stem_bins"])
  _share(config.eval, parent.eval, list(config.eval))
  return config


def _share(config, parent, names):
  """Makes fields of the parent follow those of the child."""
  for name in names:
    setattr(parent, name, config.get_ref(name))


def _base() -> ml_collections.ConfigDict:
  return ml_collections.ConfigDict(
    dict(
      system="bicross",
      stage="",
      scenario="",
      recipe="",
      seed=0,
      input=dict(modality="rgb", height=96, width=160),  # what the network sees
      data=dict(
        name="spike_world",
        domain="clear",
        data_dir=ml_collections.config_dict.placeholder(str),
        height=96,
        width=160,
        steps=128,  # of a spike stream
        train=500,
        validation=100,
        test=100,
        limit=0,  # use only so many training examples; 0: all
        labelled=0,  # keep depth in only so many training examples; 0: in all
        oversample_labelled=False,  # half of every batch comes from the labelled ones
        allow_missing=False,  # leave out frames of a real set that lack files
        parts=dict(train=(), validation=(), test=()),  # drives or frames of domain "listed"
        batch_size=8,
        flip=True,  # random horizontal flips
      ),
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
      train=dict(steps="400", log_every="50", validate_every="200", checkpoint_every="400"),
      eval=dict(min_depth=1e-3, max_depth=80.0, crop="none"),
    )
  )


def _distributed() -> ml_collections.ConfigDict:
  """Which of several processes this is; all None: what the environment says, else the only one."""
  return ml_collections.ConfigDict(
    dict(
      coordinator=ml_collections.config_dict.placeholder(str),  # host:port of process 0
      processes=ml_collections.config_dict.placeholder(int),
      process=ml_collections.config_dict.placeholder(int),
    )
  )


def _synthetic() -> ml_collections.ConfigDict:
  config = _base()
  config.scenario = "synthetic"
  return config


def _real(scenario: str) -> ml_collections.ConfigDict:
  """The published settings; of indoor sets those for the shorter range, and the smaller input.

  The indoor cap is not stated anywhere: 10 m is what NYU v2 is evaluated to elsewhere.
  """
  config = _base()
  config.scenario = scenario
  source, target = _REAL[scenario]
  _choose(config.data, *source)
  config.data.update(batch_size=16, flip=False, train=0, validation=0, test=0)
  indoor = source[0] == "nyu"
  size, scale, shift = (224, 3.05e-4, 0.1378) if indoor else (384, 6.016e-5, 0.00579)
  config.input.update(height=size, width=size)
  config.model.update(backbone="hybrid", scale=scale, shift=shift, activation="linear", stem_bins=0)
  config.loss.crop = "garg"
  config.eval.update(crop="garg", max_depth=10.0 if target[1] == "indoor" else 80.0)
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
  return config


def _choose(section: ml_collections.ConfigDict, name: str, domain: str) -> None:
  """Makes a section of a config name a real set, whose folder is still to be given."""
  height, width = _VIEWS[name]
  section.update(name=name, domain=domain, height=height, width=width)
  section.data_dir = ml_collections.config_dict.placeholder(str)
