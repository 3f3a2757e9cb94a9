"""Multi-step LIF neurons of ours and of SpikingJelly, each in a process of its own.

`scripts/benchmark.py --neurons` asks these processes. Neurons are as both packages have them by default:
tau 2, threshold 1, hard reset, the input decays, ATan; the reset is detached.
"""

import importlib.util
import sys
import time

from bicross_jax import errors
from bicross_jax.commands import contest

OURS, PEER = "bicross_jax", "spikingjelly"
WORKS = ("forward", "gradients")  # gradients: forward, and the gradient by the input
# T x neurons: a million, and the shape T=32, N=64, C=65536 of SpikingJelly's own figures.
SHAPES = ((8, 1 << 20), (32, 1 << 20), (128, 1 << 20), (32, 64 * 65536))
_BYTES = 4 * 6  # of a number of [T, N], as many times as SpikingJelly's gradients hold it


def check() -> None:
  """Raises errors.UserError where SpikingJelly is not installed."""
  lacking = [name for name in ("torch", PEER) if importlib.util.find_spec(name) is None]
  if lacking:
    raise errors.UserError(
      f'--neurons needs {", ".join(lacking)}: pip install "bicross_jax[peers]"'
    )


def fitting(steps: int, neurons: int, memory: int) -> int:
  """As many of the neurons as both can hold in bytes of memory: halved until they fit."""
  while steps * neurons * _BYTES > memory:
    neurons //= 2
  return neurons


def measure(
  steps: int, neurons: int, work: str, *, rounds: int, seconds: float
) -> dict[str, contest.Result]:
  """Times both in turns.

  Args:
    steps, neurons: T and N.
    work: of WORKS.
    rounds, seconds: as of `contest.measure`.
  """
  argv = lambda name: ["-m", __name__, name, work, str(steps), str(neurons)]
  return contest.measure(
    {name: argv(name) for name in (OURS, PEER)}, work, rounds=rounds, seconds=seconds
  )


def _ours(work, steps, neurons):
  import jax
  import jax.numpy as jnp

  from bicross_jax.models import spiking
  from bicross_jax.train import devices

  devices.keep_memory()
  neuron = spiking.Neuron("lif")
  x = jax.random.normal(jax.random.key(0), (steps, neurons)) + 0.5
  potential = jax.block_until_ready(spiking.initial(neuron, (neurons,)))
  began = time.perf_counter()
  run = lambda x: spiking.run(neuron, {}, potential, x)[0]
  if work == "gradients":
    run = lambda x, run=run: jax.vjp(run, x)[1](jnp.ones_like(x))[0]
  step = jax.jit(run).lower(x).compile(devices.compiler_options())
  about = {"began": began, "jax": jax.__version__, "device": jax.devices()[0].device_kind}
  return lambda: jax.block_until_ready(step(x)), contest.host_memory, about


def _spikingjelly(work, steps, neurons):
  from bicross_jax.convert import spikingjelly

  call, about = spikingjelly.runner(steps, neurons, work == "gradients", contest.threads())
  return call, contest.host_memory, about


if __name__ == "__main__":
  _name, _work, *_shape = sys.argv[1:]
  contest.serve(lambda: {OURS: _ours, PEER: _spikingjelly}[_name](_work, *map(int, _shape)))
