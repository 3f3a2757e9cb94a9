"""StereoSpike: depth from the events of a stereo pair by spiking networks, and from spike cameras.

    python scripts/train.py --config configs/stereospike.py:binocular
    python scripts/train.py --config configs/stereospike.py:binocular,mvsec,split=1 --config.data.data_dir=/data/mvsec

Stages
  binocular   integrate-and-fire neurons see the events of both cameras in 50 ms
  monocular   the same network sees the left camera alone
  historical  parametric LIF neurons with a gain of 10: the form behind the first version of the paper
  ann         the same network with sigmoids and batch norms in place of spikes
  spikecam    a network of many time steps (PLIF, gradients through time) on the stream of a spike camera

Scenarios
  synthetic   the procedural world: no data needed, minutes on a CPU
  smoke       the same with the smallest network, few and small pictures: seconds; for tests
  mvsec       MVSEC, indoor_flying; split=1, 2 or 3 (data.domain=split1)
  dsec        DSEC, stereo at 640x480
  dense       DENSE (CARLA), one camera: for monocular, historical and ann

In real scenarios the settings are those of the paper; preset=repo takes those of the published
repository. What the stages compute, and where it departs from Rancon, Cuadrado-Anibarro, Cottereau and
Masquelier, "StereoSpike" (repository urancon/StereoSpike): docs/systems/stereospike.md.
"""

import ml_collections

from bicross_jax import errors
from bicross_jax.config import grammar, sections

STAGES = ("binocular", "monocular", "historical", "ann", "spikecam")
_REAL = {  # scenario: set, domain, height, width, cameras
  "mvsec": ("mvsec", "split1", 260, 346, 2),
  "dsec": ("dsec", "train", 480, 640, 2),
  "dense": ("dense", "town", 260, 346, 1),
}
SCENARIOS = ("synthetic", "smoke", *_REAL)
# Optimisation by preset: epochs, what the rate is multiplied by, and the epochs where it is.
_PRESETS = {"paper_v2": (30, 0.1, (10, 25, 40)), "repo": (70, 0.5, (8, 42, 60))}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """The config of `stage[,scenario][,key=value...]`; binocular on synthetic by default."""
  stage, scenario, overrides = grammar.split_arg(arg, STAGES, SCENARIOS)
  own = dict(item.split("=", 1) for item in overrides if item.startswith(("split=", "preset=")))
  config = _begin(stage, scenario)
  if scenario == "synthetic":
    _make_minutes(config)
  elif scenario == "smoke":
    _make_small(config)
  else:
    _make_real(config, scenario, own.pop("preset", "paper_v2"), own.pop("split", ""))
  if own:
    raise errors.UserError(f"scenario {scenario} has no {', '.join(own)}")
  for item in overrides:
    if not item.startswith(("split=", "preset=")):
      grammar.override(config, item)
  return config


def _begin(stage: str, scenario: str) -> ml_collections.ConfigDict:
  """What all scenarios of a stage have."""
  config = sections.base("stereospike", "depth")
  config.update(
    stage=stage, scenario=scenario, recipe="bicross_jax.recipes.stereospike.depth:create"
  )
  events = stage != "spikecam"
  config.update(
    dict(
      input=dict(
        modality="events" if events else "spike",
        cameras=2 if stage in ("binocular", "historical", "ann") else 1,
        steps=1 if events else 8,  # time steps of the network in a window
        slices=1 if events else 4,  # slices of time that it sees at each, side by side
      ),
      data=sections.world(),
      model=_model(stage),
      labels=dict(name="lin", far=10.0, alpha=6.0, focal_baseline=7.0 * 19.941772),
      loss=dict(
        min_depth=1e-3,  # metres; labels between these two count
        max_depth=80.0,
        gradient=0.5,  # weight of the gradient matching loss
        absolute=0.0,  # weight of the mean absolute error, which the paper has not
        activity=0.0,  # weight of the spike penalty
      ),
      # Shares of the examples that are changed in training; what each does: docs/systems/stereospike.md.
      augment=dict(horizontal=0.0, vertical=0.0, reverse_time=0.0, drop=0.0),
      optim=dict(lr=2e-4, schedule="step", warmup=0, milestones=(), gamma=0.1, clip_norm=0.0),
      evals=dict(source=sections.evaluation("depth", "data", "mvsec", max_depth=80.0)),
    )
  )
  config.data.update(sensors=("events", "depth", "depth_before") if events else ("spike", "depth"))
  del config.data.flip  # `augment` says it
  return config


def _model(stage: str) -> dict:
  """The network of a stage as published; spikecam has none, and this is ours."""
  if stage == "ann":
    return dict(name="stereospike_ann", width=32, activation="sigmoid", skips=True, dtype="float32")
  neuron = dict(neuron="if", bottleneck_neuron="if", tau=3.0, multiply_factor=1.0)
  surrogate = dict(
    surrogate="atan", alpha=2.0, bottleneck_surrogate="sigmoid", bottleneck_alpha=1.0
  )
  if stage == "historical":
    neuron.update(neuron="plif", bottleneck_neuron="plif", multiply_factor=10.0)
    surrogate.update(surrogate="sigmoid", alpha=1.0)
  if stage == "spikecam":
    neuron.update(neuron="plif", bottleneck_neuron="plif", tau=2.0, multiply_factor=10.0)
    surrogate.update(bottleneck_surrogate="atan", bottleneck_alpha=2.0)
  return dict(
    name="stereospike",
    width=32,
    **neuron,
    threshold=1.0,
    reset="hard",
    detach=True,  # no gradient through the reset
    decay_input=True,
    **surrogate,
    connect="add",
    skips=True,
    heads=(1, 2, 3, 4),
    dtype="float32",
  )


def _make_minutes(config) -> None:
  """The synthetic world in minutes: a quarter of the width, and metres that are held by their mean.

  Chosen on validation data, by single runs.
  """
  config.model.width = 8
  if config.model.name == "stereospike":
    config.model.update(bottleneck_surrogate="atan", bottleneck_alpha=2.0)
    # A leaky neuron takes 1 / tau of its input.
    leaky = config.model.neuron != "if"
    config.model.multiply_factor = config.model.tau if leaky else 1.0
  config.loss.absolute = 1.0
  config.data.update(train=300, validation=60, test=60, batch_size=4)
  config.optim.update(lr=5e-3, schedule="cosine", warmup=20)
  config.train.update(steps="1000", log_every="50", validate_every="250", checkpoint_every="500")
  if config.stage == "spikecam":
    config.train.steps = "300"


def _make_small(config) -> None:
  """The smallest of everything: seconds on a CPU."""
  _make_minutes(config)
  config.model.width = 2
  config.labels.update(name="log", far=80.0, alpha=4.0)  # whatever it says is a depth
  config.data.update(height=32, width=64, train=8, validation=3, test=3)
  config.optim.warmup = 0
  if config.stage == "spikecam":
    config.input.steps = 2
  config.train.update(steps="2", log_every="1", validate_every="2", checkpoint_every="2")


def _make_real(config, scenario: str, preset: str, split: str) -> None:
  """The published settings."""
  if preset not in _PRESETS:
    raise errors.UserError(f"preset={preset}: choose from {', '.join(_PRESETS)}")
  name, domain, height, width, cameras = _REAL[scenario]
  if split and (scenario != "mvsec" or split not in ("1", "2", "3")):
    raise errors.UserError(f"split={split}: scenario mvsec has 1, 2 and 3")
  config.data = sections.recordings(name, f"split{split}" if split else domain, height, width)
  del config.data.flip
  config.data.update(batch_size=1, crop="none", cameras=cameras)
  epochs, gamma, milestones = _PRESETS[preset]
  config.optim.update(milestones=tuple(m / epochs for m in milestones if m < epochs), gamma=gamma)
  protocol = "dsec" if scenario == "dsec" else "mvsec"
  config.evals.source = sections.evaluation("depth", "data", protocol)
  config.loss.max_depth = config.evals.source.protocol.max_depth
  config.train.update(
    steps=f"{epochs} epochs", log_every="50", validate_every="1 epoch", checkpoint_every="1 epoch"
  )
  if cameras == 1:
    config.input.cameras = 1
