"""What the fields of StereoSpike's configs may be, and what of them must fit together."""

from bicross_jax import errors
from bicross_jax.config import rules
from bicross_jax.config.rules import flag, number, one_of, several, whole

# Those whose only parameter is alpha.
SURROGATES = (
  *("atan", "sigmoid", "piecewise_quadratic", "piecewise_exp", "soft_sign", "super_spike", "erf"),
  *("nonzero_sign_log_abs", "q_pseudo_spike", "fake_numerical_gradient", "log_tailed_relu", "rect"),
)
_SURROGATE = one_of(*SURROGATES)
_NEURON = one_of("if", "lif", "plif")

# Of the network: which of these a config has depends on its name.
_MODEL: rules.Rules = {
  "width": whole(1, 1 << 10),
  "neuron": _NEURON,
  "bottleneck_neuron": _NEURON,
  "tau": number(1, above=True),
  "threshold": number(0, above=True),
  "reset": one_of("hard", "soft"),
  "detach": flag(),
  "decay_input": flag(),
  "multiply_factor": number(0, above=True),
  "surrogate": _SURROGATE,
  "alpha": number(0, above=True),
  "bottleneck_surrogate": _SURROGATE,
  "bottleneck_alpha": number(0, above=True),
  "connect": one_of("add", "and", "iand", "or"),
  "skips": flag(),
  "heads": several(whole(1, 4), least=1),
  "activation": one_of("sigmoid", "tanh", "leaky_relu"),
  "dtype": one_of("float32", "bfloat16"),
}
RULES: rules.Rules = {
  "input.modality": one_of("events", "spike"),
  "input.cameras": whole(1, 2),
  "input.steps": whole(1, 1 << 10),
  "input.slices": whole(1, 1 << 10),
  "model.name": one_of("stereospike", "stereospike_ann"),
  **{f"model.{name}": rule._replace(needed=False) for name, rule in _MODEL.items()},
  "labels.name": one_of("lin", "log", "disp"),
  "labels.far": number(0, above=True),
  "labels.alpha": number(0, above=True),
  "labels.focal_baseline": number(0, above=True),
  "loss.min_depth": number(0, above=True),
  "loss.max_depth": number(0, above=True),
  "loss.gradient": number(0),
  "loss.absolute": number(0),
  "loss.activity": number(0),
  "augment.horizontal": number(0, 1),
  "augment.vertical": number(0, 1),
  "augment.reverse_time": number(0, 1),
  "augment.drop": number(0, 1),
  **rules.ONE_RATE,
}
_SECTIONS = ("input", "model", "labels", "loss", "augment", "optim")
_CONTINUOUS = ("horizontal", "vertical", "reverse_time")  # what a window alone cannot undergo


def check(config) -> None:
  """What must fit together in a config of StereoSpike.

  Raises:
    errors.UserError: it does not; one line.
  """
  lacking = [name for name in _SECTIONS if name not in config]
  if lacking:
    raise errors.UserError(f"the config has no section {', '.join(lacking)}")
  see, loss, augment = config.input, config.loss, config.augment
  if not loss.min_depth < loss.max_depth:
    raise errors.UserError(
      f"config.loss: min_depth {loss.min_depth:g} must be below max_depth {loss.max_depth:g}"
    )
  parts = see.steps * see.slices
  if see.modality == "events" and parts != config.data.bins:
    raise errors.UserError(
      f"config.input: {see.steps} steps of {see.slices} slices are {parts}, not the "
      f"config.data.bins={config.data.bins} of an event window"
    )
  if see.modality == "events" and see.cameras > config.data.cameras:
    raise errors.UserError(
      f"config.input.cameras={see.cameras}, but config.data.cameras={config.data.cameras}"
    )
  if see.modality == "spike" and config.data.steps % parts:
    raise errors.UserError(
      f"config.input: {see.steps} steps of {see.slices} slices do not divide "
      f"config.data.steps={config.data.steps}"
    )
  if see.modality == "spike" and see.cameras != 1:
    raise errors.UserError("config.input.cameras=2: spikes come from one camera")
  if see.modality == "spike" and (augment.reverse_time or augment.drop):
    raise errors.UserError("config.augment: reverse_time and drop are of events")
  if see.cameras == 2 and augment.horizontal:
    raise errors.UserError(
      "config.augment.horizontal: a mirrored pair has its other camera on the left, and depth is "
      "known for the left camera alone; vertical=0.5 serves pairs"
    )
  if config.data.get("sequence", 0) and any(augment[name] for name in _CONTINUOUS):
    raise errors.UserError(
      f"config.augment: {', '.join(_CONTINUOUS)} would differ from window to window of a sequence; "
      "set them to 0 with config.data.sequence"
    )
