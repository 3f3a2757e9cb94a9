"""What the processes do that `commands/peers` times: a network in JAX or in another framework, made ready.

python -m bicross_jax.commands.contestants NAME WORK SPEC [key=value ...]
"""

from collections.abc import Callable
import sys
import time
from typing import Any

from bicross_jax.commands import cases, contest
from bicross_jax.commands.peers import OURS, counterpart, is_spiking, is_stereo, shape_of
from bicross_jax.config import grammar

_SIDE = {"cpu": 2048}  # of the matrices whose product measures the machine; of others 8192


def _make(name: str, work: str, spec: str, *overrides: str) -> contest.Made:
  """What a contestant's process does."""
  config = grammar.load(spec, overrides)
  return _MAKERS[name](config, shape_of(config), work, contest.threads())


def _ours(config, shape, work, threads):
  """JAX: jitted, and compiled before the first call."""
  del threads
  import jax
  import jax.numpy as jnp

  from bicross_jax import models, recipes
  from bicross_jax.train import devices

  devices.keep_memory()
  jax.config.update("jax_enable_compilation_cache", False)
  if is_stereo(config):
    return _whole(config, work)
  module = counterpart(config)
  x = jax.random.normal(jax.random.key(0), (*shape, module.in_channels))
  x = jnp.round(jnp.abs(x)) if is_spiking(config) else x  # counts
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
  return call, _memory, {"began": began, "flops": flops, **_machine(jnp.dtype(module.dtype))}


def _whole(config, work):
  """The recipe's own step or prediction, without augmentation, which PyTorch's users do elsewhere."""
  import jax

  case = cases.Case(_plain(config))
  began = time.perf_counter()
  train = work == "training step"
  run = (case.compile_train if train else case.compile_predict)()[0]
  about = {
    "began": began,
    "flops": case.flops(train),
    **_machine(jax.numpy.dtype(config.model.dtype)),
  }
  return lambda: jax.block_until_ready(run()), _memory, about


def _plain(config):
  """A config whose batches are learned from as they are."""
  config = config.copy_and_resolve_references()
  config.augment.update(flip=0.0, jitter=0.0, graft="none")
  return config


def _memory() -> int:
  """The most bytes that were held: of the GPU, where there is one."""
  import jax

  stats = jax.devices()[0].memory_stats()
  return stats["peak_bytes_in_use"] if stats else contest.host_memory()


def _machine(dtype) -> dict[str, Any]:
  """What every contestant is judged against."""
  import jax

  device = jax.devices()[0].device_kind
  return {"peak": _peak(dtype), "device": device, "jax": jax.__version__, "dtype": str(dtype)}


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
  """StereoSpike or EPCDepth in PyTorch's own operations."""
  if is_stereo(config):
    return _pytorch_stereo(config, work, threads)
  from bicross_jax.convert import stereospike_torch as theirs

  call, about = theirs.runner(counterpart(config), shape, work == "gradients", threads)
  return call, contest.host_memory, {"dtype": "float32", **about}


def _pytorch_stereo(config, work, threads):
  import numpy as np

  from bicross_jax import recipes
  from bicross_jax.convert import epcdepth_torch as theirs

  config = grammar.resolve_durations(config, cases.EPOCH)
  recipe = recipes.create(config, grammar.trusted(config))
  rows = config.data.batch_size
  batch = cases.random_batch(np.random.default_rng(0), recipe.batch_spec(), rows, recipe.fields)
  train = work == "training step"
  call, about = theirs.runner(config, counterpart(config), batch, train, threads)
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
