"""The same network in other frameworks, each in a process of its own, timed in turns.

`scripts/benchmark.py --peer` asks these processes (`commands/contestants`); a person starts none of them. A process makes
its network ready, says how, and then runs it for a while whenever it is told to.
"""

from collections.abc import Sequence
import importlib.util
from typing import Any

from bicross_jax import errors
from bicross_jax.commands import cases, contest
from bicross_jax.config import grammar

WORKS = ("forward", "gradients")  # gradients: forward, and the gradient by every weight
WHOLE = ("prediction", "training step")  # of EPCDepth, from a batch to metres or to new weights
_PACKAGES = {  # peer -> what must be installed
  "pytorch": ("torch",),
  "transformers": ("torch", "transformers"),
  "transformers-compiled": ("torch", "transformers"),
  "onnxruntime": ("onnx", "onnxruntime"),
  "openvino": ("onnx", "openvino"),
}
_FORWARD_ONLY = ("onnxruntime", "openvino")
_OF_PYTORCH = {"stereospike": "StereoSpike", "epcdepth": "EPCDepth"}  # networks of that peer
PEERS = tuple(_PACKAGES)
OURS = "bicross_jax"


def chosen(names: Sequence[str]) -> list[str]:
  """The peers that `--peer NAME...` means; "all": those whose packages are installed, on CPUs.

  Raises:
    errors.UserError: no such peer, or its packages are missing.
  """
  missing = {
    peer: [p for p in packages if importlib.util.find_spec(p) is None]
    for peer, packages in _PACKAGES.items()
  }
  how = 'pip install "bicross_jax[peers]"'
  if "all" in names:
    there = [peer for peer in PEERS if not missing[peer] and peer != "transformers-compiled"]
    if not there:
      raise errors.UserError(f"--peer: no peer is installed: {how}")
    return there
  for name in names:
    if name not in PEERS:
      raise errors.UserError(f"--peer {errors.shown(name)}: not one of all, {', '.join(PEERS)}")
    if missing[name]:
      raise errors.UserError(f"--peer {name} needs {', '.join(missing[name])}: {how}")
  return list(dict.fromkeys(names))


def counterpart(config) -> Any:
  """The network of a config as its peers have it; a DPT with one head and a ReLU.

  Raises:
    errors.UserError: the config has another network, or one that no peer has.
  """
  from bicross_jax import recipes
  from bicross_jax.models import dpt

  config = grammar.resolve_durations(config, cases.EPOCH)
  networks = recipes.create(config, grammar.trusted(config)).networks.values()
  module = next(iter(networks))
  if _network(config) in _OF_PYTORCH:
    return module
  if len(networks) > 1 or not isinstance(module, dpt.DPT):
    raise errors.UserError(
      "--peer: peers have DPT, StereoSpike and EPCDepth; this config has another network"
    )
  if module.stem_bins or dpt.VARIANTS[module.backbone].late:
    raise errors.UserError(
      "--peer: no peer has the heads of tiny and nano or the stem's bins of time; take "
      "model.backbone=hybrid,model.stem_bins=0"
    )
  return module.clone(uncertainty=False, activation="linear", non_negative=True, invert=False)


def check(config, peers: Sequence[str]) -> None:
  """Whether the peers have a config's network at the size of its input.

  Raises:
    errors.UserError: one has not.
  """
  counterpart(config)
  for peer in peers:
    if (peer == "pytorch") != (_network(config) in _OF_PYTORCH):
      network = " and ".join(_OF_PYTORCH.values()) if peer == "pytorch" else "DPT"
      raise errors.UserError(f"--peer {peer} has {network} alone; this config has another network")
  if is_stereo(config) and not (config.rig.focal and config.rig.baseline):
    raise errors.UserError("--peer pytorch wants config.rig.focal and config.rig.baseline above 0")
  if is_stereo(config) and config.model.encoder != "resnet":
    raise errors.UserError("--peer pytorch has ResNets alone: config.model.encoder=resnet")
  if is_stereo(config) and config.loss.smoothness:
    raise errors.UserError("--peer pytorch has no smoothness: config.loss.smoothness=0")
  if _network(config) in _OF_PYTORCH:
    return
  size = config.input.height, config.input.width
  if size[0] != size[1] and any(peer.startswith("transformers") for peer in peers):
    raise errors.UserError(
      f"--peer: the DPT of transformers takes squares; input is {size[0]}x{size[1]}"
    )


def measure(
  spec: str,
  overrides: Sequence[str],
  peers: Sequence[str],
  work: str,
  *,
  rounds: int,
  seconds: float,
) -> dict[str, contest.Result]:
  """Times ours and its peers in turns; in each turn one call that does not count, then `seconds`.

  Args:
    spec, overrides: of a config, as `grammar.load` takes them.
    peers: of PEERS; those that cannot do the work are left out.
    work: of `works`.
    rounds: turns of each.
    seconds: of a turn.

  Returns:
    {OURS or peer: Result}.

  Raises:
    errors.TrainingError: a process ended early.
  """
  names = [OURS, *(p for p in peers if work == "forward" or p not in _FORWARD_ONLY)]
  module = ["-m", "bicross_jax.commands.contestants"]
  contestants = {name: [*module, name, work, spec, *overrides] for name in names}
  return contest.measure(contestants, work, rounds=rounds, seconds=seconds)


def works(config) -> tuple[str, ...]:
  """What is timed of a config."""
  return WHOLE if is_stereo(config) else WORKS


def shape_of(config) -> tuple[int, ...]:
  """What the input of a config's network has but for its channels: (B, H, W), or (T, B, H, W)."""
  if is_spiking(config):
    return config.input.steps, config.data.batch_size, config.data.height, config.data.width
  size = config.data if is_stereo(config) else config.input
  return config.data.batch_size, size.height, size.width


def _network(config) -> str:
  return config.get("model", {}).get("name", "")


def is_spiking(config) -> bool:
  """Whether it is StereoSpike's."""
  return _network(config) == "stereospike"


def is_stereo(config) -> bool:
  """Whether it is EPCDepth's, of which whole steps and predictions are timed."""
  return _network(config) == "epcdepth"
