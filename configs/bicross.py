"""BiCross: depth from spike streams with knowledge from RGB.

    python scripts/train.py --config configs/bicross.py:crossmodality
    python scripts/train.py --config configs/bicross.py:crossmodality,scene --config.data.data_dir=/data/kitti

Stages
  pretrain        depth and uncertainty from source RGB (or spikes: input.modality=spike)
  crossmodality   CFKD: a spike network learns from labels and from the frozen RGB network
  crossdomain     SCTS: that network moves to a domain without labels (`target`): pseudo labels of an
                  EMA teacher where it is sure, adversarial alignment, source supervision

Scenarios
  synthetic       the procedural world, domain `clear` (crossdomain: clear -> foggy; any other pair by
                  data.domain=NAME,target.domain=NAME): no data needed, minutes on a CPU
  scene           KITTI (Eigen split) in BiCross's layout, DPT-hybrid at 384x384, published settings

The specification and the published numbers are those of Zhang et al., "BiCross" (repository
Theia-4869/BiCross).
"""

import ml_collections

from bicross_jax import config as grammar

STAGES = ("crossmodality", "pretrain", "crossdomain")
SCENARIOS = ("synthetic", "scene")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """The config of `stage[,scenario][,key=value...]`; crossmodality on synthetic by default."""
  stage, scenario, overrides = grammar.split_arg(arg, STAGES, SCENARIOS)
  make = {"pretrain": _pretrain, "crossmodality": _crossmodality, "crossdomain": _crossdomain}
  config = make[stage](scenario)
  config.distributed = _distributed()
  for item in overrides:
    grammar.override(config, item)
  return config


def get_tables() -> dict[str, grammar.Table]:
  """The tables that `scripts/table.py --table configs/bicross.py:NAME` can make."""
  return {"cfkd": _cfkd_table(), "gap": _gap_table()}


def _cfkd_table() -> grammar.Table:
  """What distillation is worth: scratch, RGB initialisation, CFKD; all labels and 100."""
  own, parent = get_config("crossmodality").train, get_config("pretrain").train
  both = int(own.steps) + int(parent.steps)
  rows = {}
  for labels, words in (("", "all labels"), (",data.labelled=100", "100 labels")):
    scratch = f"from scratch, {words}"
    few = labels.replace("labelled", "limit")  # those rows learn from nothing but labels
    rows[scratch] = grammar.Row(get_config(
        f"pretrain,input.modality=spike,train.steps={both}{few}"))
    rows[f"RGB-initialised, {words}"] = grammar.Row(
        get_config(f"crossmodality,distill.coarse=0,distill.fine=0{few}"), against=scratch)
    half = labels and ",data.oversample_labelled=true"
    rows[f"CFKD, {words}"] = grammar.Row(
        get_config(f"crossmodality{labels}{half}"), against=f"RGB-initialised, {words}")
  return grammar.Table(
      "cfkd", "Cross-modality distillation on the synthetic world, domain clear", rows)


def _gap_table() -> grammar.Table:
  """The domain gap: spike networks trained on `clear` and tested elsewhere, over those at home."""
  rows = {}
  for domain in ("clear", "foggy", "rainy", "night", "other_town"):
    spike = "pretrain,input.modality=spike"
    rows[f"clear -> {domain}"] = grammar.Row(get_config(spike), test=(f"data.domain={domain}",))
    if domain != "clear":
      rows[f"{domain} -> {domain}"] = grammar.Row(
          get_config(f"{spike},data.domain={domain}"), against=f"clear -> {domain}")
  return grammar.Table("gap", "Domain gap of the synthetic world", rows)


def _pretrain(scenario: str) -> ml_collections.ConfigDict:
  config = {"synthetic": _synthetic, "scene": _scene}[scenario]()
  config.stage = "pretrain"
  config.recipe = "bicross_jax.recipes.pretrain:create"
  config.input.modality = "rgb"
  return config


def _crossmodality(scenario: str) -> ml_collections.ConfigDict:
  config = _pretrain(scenario)
  config.stage = "crossmodality"
  config.recipe = "bicross_jax.recipes.crossmodality:create"
  config.input.modality = "spike"
  config.distill = ml_collections.ConfigDict(dict(
      coarse=0.01,  # weight of the contrastive branch
      fine=0.01,  # weight of the feature branch
      uncertainty_filter=False,  # fine branch only where the teacher is sure and the student is not
  ))
  config.student_init = "rgb"  # "rgb": the teacher's weights, new stem; "inflate": stem too; "scratch"
  if scenario == "synthetic":  # from single validation runs; `scene` has the published weights
    config.student_init = "inflate"
    config.distill.update(coarse=0.001, fine=0.1)
    config.optim.extra_lr = 1e-4
  if scenario == "scene":
    config.data.batch_size = 8
    config.train.steps = "10 epochs"
  return _with_parent(config, _pretrain(scenario))


def _crossdomain(scenario: str) -> ml_collections.ConfigDict:
  config = _pretrain(scenario)
  config.stage = "crossdomain"
  config.recipe = "bicross_jax.recipes.crossdomain:create"
  config.input.modality = "spike"
  config.target = config.data.copy_and_resolve_references()
  del config.target.flip  # `data.flip` speaks for both
  same = ("steps", "train", "validation", "test", "batch_size")
  if scenario == "synthetic":
    config.target.domain = "foggy"
    same += ("name", "data_dir", "height", "width")
  _share(config.data, config.target, same)
  config.adapt = ml_collections.ConfigDict(dict(
      method="scts",  # scts, adversarial, meanteacher
      scp=1.0,  # weight of the pseudo labels
      sca=0.1,  # weight of the domain loss
      reverse=1.0,  # what its gradient is multiplied by (negated) before it reaches the features
      heads="shared",  # shared, or legacy: one for each domain, as published
      filter="head",  # which pseudo labels count: none, head, disagreement, variance
      augment=True,  # the student sees strongly augmented target streams
      alpha=0.99,  # of the teacher's moving average
      warmup=4,  # steps on the source alone
  ))
  config.oracle = False  # choose the checkpoint by labelled target validation; else it is the last
  config.optim.update(backbone_lr=3e-4, head_lr=3e-4)
  if scenario == "scene":
    config.data.batch_size = 8
    config.train.steps = "20 epochs"
    config.optim.update(backbone_lr=1e-5, head_lr=1e-4)
    config.adapt.update(reverse=0.01, alpha=0.999)
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
  return ml_collections.ConfigDict(dict(
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
          activation="softplus",
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
      train=dict(
          steps="400",
          log_every="50",
          validate_every="200",
          checkpoint_every="400",
      ),
      eval=dict(min_depth=1e-3, max_depth=80.0, crop="none"),
  ))


def _distributed() -> ml_collections.ConfigDict:
  """Which of several processes this is; all None: what the environment says, else the only one."""
  return ml_collections.ConfigDict(dict(
      coordinator=ml_collections.config_dict.placeholder(str),  # host:port of process 0
      processes=ml_collections.config_dict.placeholder(int),
      process=ml_collections.config_dict.placeholder(int),
  ))


def _synthetic() -> ml_collections.ConfigDict:
  config = _base()
  config.scenario = "synthetic"
  return config


def _scene() -> ml_collections.ConfigDict:
  config = _base()
  config.scenario = "scene"
  config.input.update(height=384, width=384)
  config.data.update(
      name="kitti", domain="eigen", height=352, width=1216, batch_size=16, flip=False,
      train=0, validation=0, test=0)
  config.model.update(
      backbone="hybrid", scale=6.016e-5, shift=0.00579, activation="linear", stem_bins=0)
  config.loss.crop = "garg"
  config.eval.crop = "garg"
  config.optim.update(
      backbone_lr=1e-5, head_lr=1e-4, extra_lr=1e-5, schedule="constant", warmup=0,
      plateau_factor=0.1, clip_norm=0.0)
  config.train.update(
      steps="30 epochs", log_every="50", validate_every="1 epoch", checkpoint_every="1 epoch")
  return config
