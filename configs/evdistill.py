"""EvDistill: classes of every pixel from events, learned from labelled frames without event labels.

    python scripts/train.py --config configs/evdistill.py:student
    python scripts/train.py --config configs/evdistill.py:student,ddd17 --config.data.data_dir=/data/ddd17

Stages
  teacher      a network of frames, with labels
  student      the same network on event images learns from it; generators translate frames to events and back.
               regime=label_free (default), or regime=with_event_labels
  supervised   the same network on event images, with labels: what the student could reach

Scenarios
  synthetic   the procedural world: no data needed, minutes on a CPU; frames and events are of different scenes
  smoke       the same with the smallest networks, few and small pictures: seconds; for tests
  ddd17       DDD17 as EvDistill has it: an event image and a frame side by side
  mvsec       MVSEC in the same form
  dsec        DSEC-Semantic, 11 classes; its frames are not paired with its events here

docs/systems/evdistill.md says what is published, what is inferred and what is ours.
"""

import ml_collections

from bicross_jax.config import grammar, sections

STAGES = ("teacher", "student", "supervised")
_REAL = {  # scenario: set, domain, classes, protocol
  "ddd17": ("ddd17_seg", "published", 6, "ddd17_evdistill"),
  "mvsec": ("mvsec_seg", "published", 6, "ddd17_evdistill"),
  "dsec": ("dsec_semantic", "11classes", 11, "dsec"),
}
SCENARIOS = ("synthetic", "smoke", *_REAL)

_SHARED = (*sections.FOLLOW, "input", "-input.modality", "model", "-model.reconstruction")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """The config of `stage[,scenario][,key=value...]`; teacher on synthetic by default."""
  stage, scenario, overrides = grammar.split_arg(arg, STAGES, SCENARIOS)
  config = _begin(stage, scenario)
  if stage == "student":
    _distil(config)
  if scenario in _REAL:
    _make_real(config)
  else:
    _make_synthetic(config)
  for item in overrides:
    grammar.override(config, item)
  return config


def _begin(stage: str, scenario: str) -> ml_collections.ConfigDict:
  """What all stages of a scenario have: the published settings."""
  config = sections.base("evdistill", "classes")
  kind = "student" if stage == "student" else "supervised"
  config.update(
    stage=stage, scenario=scenario, recipe=f"bicross_jax.recipes.evdistill.{kind}:create"
  )
  events = stage == "supervised"
  config.update(
    dict(
      input=dict(
        modality="events" if events else "frames",
        grey=True,  # frames without colours, as event cameras have them
        normalise=False,  # by the mean and deviation of ImageNet
      ),
      data=sections.world(),
      model=dict(
        name="deeplab",
        backbone="resnet",
        layers=101,
        divisor=1,
        classes=6,
        output_stride=16,
        dropout="all",
        reconstruction="none",
        dtype="float32",
      ),
      loss=dict(labels=10.0, ohem=0.7),
      augment=dict(  # shares of the examples, and how much they may be enlarged
        flip=0.5, jitter=0.0 if events else 1.0, scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
      ),
      optim=_optimiser("sgd", 1e-3, 0.005, "poly", 1000),
      evals=dict(source=sections.evaluation("classes", "data", "ddd17")),
      parents=dict(weights=sections.parent(None)),  # none unless a checkpoint is given
    )
  )
  del config.data.flip  # `augment` says it
  return config


def _optimiser(name, lr, weight_decay, schedule, warmup):
  return dict(name=name, lr=lr, weight_decay=weight_decay, schedule=schedule, warmup=warmup)


def _distil(config) -> None:
  """What the student has besides."""
  del config.input.modality, config.evals.source
  config.update(
    dict(
      regime="label_free",
      aligned=False,  # every event image comes with the frame of its moment
      publish="events",  # or frames, the network that distill.mutual trains
      generator=dict(width=64, blocks=9),
      discriminator=dict(width=64),
      gan=_optimiser("adam", 2e-4, 0.0, "constant", 0),
      target=sections.world(),
      validate=("target",),
      test="target",
    )
  )
  config.distill = ml_collections.ConfigDict(
    dict(  # weights
      pixelwise_source=20.0,  # translated frames, whose teacher sees the frames
      pixelwise_target=20.0,  # events, whose teacher sees them translated
      affinity=0.1,
      consistency=1.0,
      distribution=0.01,
      mutual=0.0,
      image=10.0,  # of a network with a reconstruction
    )
  )
  config.bmr = ml_collections.ConfigDict(  # bidirectional modality reconstruction
    dict(
      on=True,
      events="motion",  # what makes events of frames: their motion (ours), or a translator
      adversarial=1.0,
      cycle=10.0,
      reconstruction=10.0,  # where frames stand beside the events
      end_to_end=1.0,  # the student's gradient into the generator of events is multiplied by it
    )
  )
  del config.target.flip
  config.evals.target = sections.evaluation("classes", "target", "ddd17")
  config.parents.teacher = sections.parent("teacher", follow=_SHARED)


def _make_synthetic(config) -> None:
  """The synthetic world in minutes, or the smallest of everything in seconds."""
  small = config.scenario == "smoke"
  config.model.update(layers=18, divisor=16 if small else 4, dropout="none")
  config.data.update(sensors=("rgb", "label"), train=500, validation=60, test=60, batch_size=8)
  if small:
    config.data.update(height=32, width=64, train=8, validation=3, test=3, batch_size=4)
  if config.stage == "supervised":
    config.data.update(sensors=("event_image", "label"), scenes=1)
  if config.stage == "student":
    for name in ("height", "width", "train", "validation", "test", "batch_size", "data_dir"):
      setattr(config.target, name, config.data.get_ref(name))
    config.target.update(sensors=("event_image", "label"), scenes=1)
    config.generator.update(width=4 if small else 8, blocks=1 if small else 3)
    config.discriminator.update(width=4 if small else 8)
    config.gan = _optimiser("adam", 2e-3, 0.0, "cosine", 20)
    config.bmr.end_to_end = 0.0
    config.distill.update(pixelwise_source=0.125, pixelwise_target=0.125)
  config.loss.labels = 1.0
  config.augment.scales = (1.0, 1.25, 1.5)
  config.optim = _optimiser("adam", 3e-3, 0.0, "cosine", 20)
  config.train.update(steps="800", log_every="50", validate_every="200", checkpoint_every="200")
  if small:
    config.optim.warmup = 0
    if config.stage == "student":
      config.gan.warmup = 0
    config.train.update(steps="2", log_every="1", validate_every="2", checkpoint_every="2")


def _make_real(config) -> None:
  """The published settings: 40,000 steps of 32 pictures of 256x512."""
  name, domain, classes, protocol = _REAL[config.scenario]
  config.model.classes = classes
  sensors = {"teacher": ("rgb", "label"), "supervised": ("event_image", "label")}
  config.data = sections.real(name, domain, 256, 512)
  config.data.update(
    batch_size=32, crop="bicubic", sensors=sensors.get(config.stage, ("rgb", "label"))
  )
  del config.data.flip, config.data.parts  # no set here has a domain "listed"
  if config.stage == "student":
    config.target = config.data.copy_and_resolve_references()
    config.target.sensors = ("event_image", "label")
    for name in ("data_dir", "height", "width", "batch_size"):
      setattr(config.target, name, config.data.get_ref(name))
  data = "target" if config.stage == "student" else "data"
  config.evals[("target" if config.stage == "student" else "source")] = sections.evaluation(
    "classes", data, protocol
  )
  config.train.update(
    steps="40000", log_every="100", validate_every="1000", checkpoint_every="1000"
  )
