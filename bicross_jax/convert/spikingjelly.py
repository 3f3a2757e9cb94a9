"""SpikingJelly's LIF neurons on random input, to compare with."""

from collections.abc import Callable
import time
from typing import Any


def runner(
  steps: int, neurons: int, gradients: bool, threads: int
) -> tuple[Callable[[], None], dict[str, Any]]:
  """Multi-step LIF neurons on PyTorch: tau 2, threshold 1, hard reset, detached, ATan.

  Args:
    steps, neurons: T and N.
    gradients: forward and the gradient by the input; else forward alone.
    threads: that PyTorch computes with.

  Returns:
    (call, about): call runs them once; about has the version and `began`, `time.perf_counter` when all
    was imported.
  """
  from spikingjelly.activation_based import functional, neuron, surrogate
  import torch

  began = time.perf_counter()
  torch.set_num_threads(threads)
  layer = neuron.LIFNode(detach_reset=True, surrogate_function=surrogate.ATan(), step_mode="m")
  x = torch.randn(steps, neurons) + 0.5
  ones = torch.ones_like(x)

  def call():
    functional.reset_net(layer)
    if gradients:
      x.grad = None
      layer(x.requires_grad_()).backward(ones)
    else:
      with torch.inference_mode():
        layer(x)

  return call, {"began": began, "torch": torch.__version__}
