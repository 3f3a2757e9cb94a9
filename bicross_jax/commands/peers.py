"""The same network in other frameworks, each in a process of its own, timed in turns.

`scripts/benchmark.py --peer` asks these processes; a person starts none of them. A process makes its network
ready, says how, and then runs it for a while whenever it is told to.
"""

from collections.abc import Callable, Sequence
import importlib.util
import sys
import time
from typing import Any

from bicross_jax import errors
from bicross_jax.commands import contest
from bicross_jax.config import grammar

WORKS = ("forward", "gradients")  # gradients: forward, and the gradient by every weight
_PACKAGES = {  # peer -> what must be installed
  "pytorch": ("torch",),
  "transformers": ("torch", "transformers"),
  "transformers-compiled": ("torch", "transformers"),
  "onnxruntime": ("onnx", "onnxruntime"),
  "openvino": ("onnx", "openvino"),
}
_FORWARD_ONLY = ("onnxruntime", "openvino")
PEERS = tuple(_PACKAGES)
OURS = "bicross_jax"
_SIDE = {"cpu": 2048}  # of the matrices whose product measures the machine; of others 8192


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
  """The network of a config as its peers have it: StereoSpike, or DPT with one head and a ReLU.

  Raises:
    errors.UserError: the config has another network, or one that no peer has.
  """
  from bicross_jax import recipes
  from bicross_jax.models import dpt

  networks = recipes.create(config, grammar.trusted(config)).networks.values()
  module = next(iter(networks))
  if _is_spiking(config):
    return module
  if len(networks) > 1 or not isinstance(module, dpt.DPT):
    raise errors.UserError(
      "--peer: peers have DPT and StereoSpike; this config has another network"
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
    if (peer == "pytorch") != _is_spiking(config):
      network = "StereoSpike" if peer == "pytorch" else "DPT"
      raise errors.UserError(f"--peer {peer} has {network} alone; this config has another network")
  if _is_spiking(config):
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
    work: of WORKS.
    rounds: turns of each.
    seconds: of a turn.

  Returns:
    {OURS or peer: Result}.

  Raises:
    errors.TrainingError: a process ended early.
  """
  names = [OURS, *(p for p in peers if work == "forward" or p not in _FORWARD_ONLY)]
  module = ["-m", "bicross_jax.commands.peers"]
  contestants = {name: [*module, name, work, spec, *overrides] for name in names}
  return contest.measure(contestants, work, rounds=rounds, seconds=seconds)


def _make(name: str, work: str, spec: str, *overrides: str) -> contest.Made:
  """What a contestant's process does."""
  config = grammar.load(spec, overrides)
  return _MAKERS[name](config, shape_of(config), work, contest.threads())


def shape_of(config) -> tuple[int, ...]:
  """What the input of a config's network has but for its channels: (B, H, W), or (T, B, H, W)."""
  if _is_spiking(config):
    return config.input.steps, config.data.batch_size, config.data.height, config.data.width
  return config.data.batch_size, config.input.height, config.input.width


def _is_spiking(config) -> bool:
  return config.get("model", {}).get("name") == "stereospike"


def _ours(config, shape, work, threads):
  """JAX: jitted, and compiled before the first call."""
  del threads
  import jax
  import jax.numpy as jnp

  from bicross_jax import models, recipes
  from bicross_jax.train import devices

  devices.keep_memory()
  jax.config.update("jax_enable_compilation_cache", False)
  device = jax.devices()[0]
  module = counterpart(config)
  x = jax.random.normal(jax.random.key(0), (*shape, module.in_channels))
  x = jnp.round(jnp.abs(x)) if _is_spiking(config) else x  # counts
  variables = jax.block_until_ready(models.init(module, jax.random.key(1), x.shape))
  began = time.perf_counter()
  run = lambda variables, x: module.apply(variables, x).depth
  if work == "gradients":
    run = jax.value_and_grad(
      lambda variables, x: jnp.abs(module.apply(variables, x).depth - 1).mean()
    )
  step = (
    jax.jit(recipes.convolving(config, run))
    .lower(variables, x)
    .compile(devices.compiler_options() if work == "gradients" else None)
  )
  host = jax.local_devices(backend="cpu")[0]  # plugins of other backends count no operations
  with jax.default_device(host), jax.default_matmul_precision("highest"):  # as such: ops.exact
    given = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (variables, x))
    flops = jax.jit(run).lower(*given).cost_analysis()["flops"]
  call = lambda: jax.block_until_ready(step(variables, x))

  def memory():
    stats = device.memory_stats()
    return stats["peak_bytes_in_use"] if stats else contest.host_memory()

  about = {
    "device": device.device_kind,
    "jax": jax.__version__,
    "dtype": str(jnp.dtype(module.dtype)),
  }
  return (
    call,
    memory,
    {"began": began, "flops": flops, "peak": _peak(jnp.dtype(module.dtype)), **about},
  )


def _peak(dtype) -> float:
  """FLOP a second of a product of two large matrices, the best of ten."""
  import jax

  side = _SIDE.get(jax.default_backend(), 8192)
  a = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
  product = jax.jit(lambda a: a @ a).lower(a).compile()
  best = float("inf")
  for _ in range(10):
    began = time.perf_counter()
    jax.block_until_ready(product(a))
    best = min(best, time.perf_counter() - began)
  return 2 * side**3 / best


def _transformers(config, shape, work, threads, compiled=False):
  """DPT of `transformers`, eager or through torch.compile."""
  from bicross_jax.convert.dpt import counterpart as theirs

  module = counterpart(config)
  call, memory, about = theirs.runner(module, shape, work == "gradients", threads, compiled)
  return call, memory or contest.host_memory, {"dtype": module.dtype, **about}


def _pytorch(config, shape, work, threads):
  """StereoSpike in PyTorch's own operations."""
  from bicross_jax.convert import stereospike_torch as theirs

  call, about = theirs.runner(counterpart(config), shape, work == "gradients", threads)
  return call, contest.host_memory, {"dtype": "float32", **about}


def _compiled(config, shape, work, threads):
  return _transformers(config, shape, work, threads, compiled=True)


def _as_onnx(config, shape) -> bytes:
  import jax
  import jax.numpy as jnp

  from bicross_jax import export, models

  module = counterpart(config)
  shape = (*shape, module.in_channels)
  variables = models.init(module, jax.random.key(1), shape)
  run = lambda given: {"depth": module.apply(variables, given["x"]).depth}
  inputs = {"x": jax.ShapeDtypeStruct(shape, jnp.float32)}
  return export.function_to_onnx(run, inputs, {})[0]


def _onnxruntime(config, shape, work, threads):
  """ONNX Runtime on our exported network."""
  del work
  import numpy as np
  import onnxruntime

  file = _as_onnx(config, shape)
  began = time.perf_counter()
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = threads
  session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
  given = session.get_inputs()[0]
  x = {given.name: np.random.default_rng(0).standard_normal(given.shape, np.float32)}
  about = {"began": began, "dtype": "float32", "onnxruntime": onnxruntime.__version__}
  return lambda: session.run(None, x), contest.host_memory, about


def _openvino(config, shape, work, threads):
  """OpenVINO on our exported network, in float32 as the others."""
  del work
  import numpy as np
  import openvino

  file = _as_onnx(config, shape)
  began = time.perf_counter()
  options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
  core = openvino.Core()
  network = core.compile_model(core.read_model(file), "CPU", options)
  x = np.random.default_rng(0).standard_normal(list(network.inputs[0].shape), np.float32)
  about = {"began": began, "dtype": "float32", "openvino": openvino.__version__}
  return lambda: network([x]), contest.host_memory, about


# (config, shape, work, threads) -> (call, memory, about)
_MAKERS: dict[str, Callable[..., contest.Made]] = {
  OURS: _ours,
  "pytorch": _pytorch,
  "transformers": _transformers,
  "transformers-compiled": _compiled,
  "onnxruntime": _onnxruntime,
  "openvino": _openvino,
}


if __name__ == "__main__":
  contest.serve(lambda: _make(*sys.argv[1:]))
