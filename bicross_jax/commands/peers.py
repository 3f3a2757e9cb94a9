"""The same network in other frameworks, each in a process of its own, timed in turns.

`scripts/benchmark.py --peer` asks these processes; a person starts none of them. A process makes its network
ready, says how, and then runs it for a while whenever it is told to.
"""

from collections.abc import Callable, Mapping, Sequence
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

from bicross_jax import errors
from bicross_jax.config import grammar

WORKS = ("forward", "gradients")  # gradients: forward, and the gradient by every weight
_PACKAGES = {  # peer -> what must be installed
  "transformers": ("torch", "transformers"),
  "transformers-compiled": ("torch", "transformers"),
  "onnxruntime": ("onnx", "onnxruntime"),
  "openvino": ("onnx", "openvino"),
}
_FORWARD_ONLY = ("onnxruntime", "openvino")
PEERS = tuple(_PACKAGES)
OURS = "bicross_jax"
_SIDE = {"cpu": 2048}  # of the matrices whose product measures the machine; of others 8192


class Result(NamedTuple):
  """What one contestant did.

  Attributes:
    seconds: of one call, by round.
    ready: seconds from an imported framework to the end of the first call: build, compile.
    memory: bytes, the largest that the process held (of the GPU, where there is one).
    about: versions, device, threads; of ours `flops` of one call, as convolutions and products
      have them, and `peak`, FLOP a second of a product of large matrices.
  """

  seconds: list[float]
  ready: float
  memory: int
  about: dict[str, Any]


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
  """The depth network of a config, with what its peers have: one head with a ReLU.

  Raises:
    errors.UserError: the config has another network, or one that no peer has.
  """
  from bicross_jax import recipes
  from bicross_jax.models import dpt

  networks = recipes.create(config, grammar.trusted(config)).networks.values()
  module = next(iter(networks))
  if len(networks) > 1 or not isinstance(module, dpt.DPT):
    raise errors.UserError("--peer: peers have DPT alone; this config has another network")
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
) -> dict[str, Result]:
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
  running: dict[str, _Process] = {}
  try:
    for name in names:
      print(f"{work}: {name} gets ready", file=sys.stderr, flush=True)
      running[name] = _Process(name, spec, overrides, work)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
      for name, process in running.items():
        taken[name].append(process.ask(seconds)["seconds"])
        said = f"{work}, round {number + 1} of {rounds}: {name} {taken[name][-1]:.3f} s"
        print(said, file=sys.stderr, flush=True)
    return {
      name: Result(taken[name], p.about.pop("ready"), p.ask(0)["memory"], p.about)
      for name, p in running.items()
    }
  finally:
    for process in running.values():
      process.end()


def rows(results: Mapping[str, Result]) -> dict[str, dict[str, str]]:
  """The lines of the table: medians, and ratios of each peer's median to ours."""
  ours = results[OURS]
  own = statistics.median(ours.seconds)
  out = {}
  for name, result in results.items():
    median = statistics.median(result.seconds)
    out[name] = {
      "median": f"{median:.3f} s",
      "fastest": f"{min(result.seconds):.3f} s",
      "ratio": f"{median / own:.2f}",
      "of peak": f"{ours.about['flops'] / median / ours.about['peak']:.0%}",
      "ready": f"{result.ready:.1f} s",
      "memory": f"{result.memory / 2**20:.0f} MiB",
    }
  return out


class _Process:
  """A contestant: answers one line of JSON for each line."""

  def __init__(self, name, spec, overrides, work):
    argv = [sys.executable, "-m", "bicross_jax.commands.peers", name, work, spec, *overrides]
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    env = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ, **path}
    self.name = name
    self.process = subprocess.Popen(
      argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    self.about = self._read()

  def ask(self, seconds: float) -> dict[str, Any]:
    print(seconds, file=self.process.stdin, flush=True)
    return self._read()

  def end(self):
    self.process.kill()
    self.process.communicate()

  def _read(self):
    line = self.process.stdout.readline()
    if not line:
      status = self.process.wait()
      raise errors.TrainingError(f"{self.name} ended with status {status}; what it said is above")
    return json.loads(line)


def _serve(name: str, work: str, spec: str, overrides: Sequence[str]) -> None:
  """The life of a contestant's process."""
  answers, sys.stdout = sys.stdout, sys.stderr  # frameworks print
  say = lambda **values: print(json.dumps(values), file=answers, flush=True)
  config = grammar.load(spec, overrides)
  shape = (config.data.batch_size, config.input.height, config.input.width)
  threads = len(os.sched_getaffinity(0))
  call, memory, about = _MAKERS[name](config, shape, work, threads)
  began = about.pop("began")
  call()
  say(ready=time.perf_counter() - began, threads=threads, **about)
  for line in sys.stdin:
    wanted = float(line)
    if not wanted:
      say(memory=memory())
      continue
    call()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < wanted:
      call()
      count += 1
    say(seconds=(time.perf_counter() - began) / count)


def _host_memory() -> int:
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
    return stats["peak_bytes_in_use"] if stats else _host_memory()

  about = {"device": device.device_kind, "jax": jax.__version__, "dtype": module.dtype}
  return call, memory, {"began": began, "flops": flops, "peak": _peak(module.dtype), **about}


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
  return call, memory or _host_memory, {"dtype": module.dtype, **about}


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
  return lambda: session.run(None, x), _host_memory, about


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
  return lambda: network([x]), _host_memory, about


# (config, shape, work, threads) -> (call, memory, about)
_MAKERS: dict[str, Callable[..., tuple[Callable[[], Any], Callable[[], int], dict[str, Any]]]] = {
  OURS: _ours,
  "transformers": _transformers,
  "transformers-compiled": _compiled,
  "onnxruntime": _onnxruntime,
  "openvino": _openvino,
}


if __name__ == "__main__":
  _serve(*sys.argv[1:4], sys.argv[4:])
