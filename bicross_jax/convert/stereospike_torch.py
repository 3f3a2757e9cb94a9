"""StereoSpike in PyTorch's own operations with the sizes of one of ours and random weights, to compare with."""

from collections.abc import Callable, Sequence
import time
from typing import Any

from bicross_jax.models import stereospike


def runner(
  module: stereospike.StereoSpike, shape: Sequence[int], gradients: bool, threads: int
) -> tuple[Callable[[], None], dict[str, Any]]:
  """The network of integrate-and-fire neurons on random events, on the CPU.

  Args:
    module: one of ours, for its sizes; its neurons are taken as "if", or "plif" where they leak.
    shape: (T, B, H, W) of the input.
    gradients: forward and the gradient by every weight; else forward alone.
    threads: that PyTorch computes with.

  Returns:
    (call, about): call runs it once; about has the version and `began`, `time.perf_counter` when
    all was imported.
  """
  import torch
  from torch.nn import functional

  began = time.perf_counter()
  torch.set_num_threads(threads)
  width, leaky = module.width, module.neuron != "if"

  class Spike(torch.autograd.Function):
    """1 where x >= 0, with ATan's gradient."""

    @staticmethod
    def forward(context, x):
      context.save_for_backward(x)
      return (x >= 0).float()

    @staticmethod
    def backward(context, gradient):
      (x,) = context.saved_tensors
      return gradient / (1 + (torch.pi * x) ** 2)

  def fire(x):
    """Spikes [T, B, ...] of neurons with a detached hard reset."""
    potential, spikes = torch.zeros_like(x[0]), []
    for now in x:
      charged = potential + (now - potential) / module.tau if leaky else potential + now
      spike = Spike.apply(charged - module.threshold)
      potential = charged * (1 - spike.detach())
      spikes.append(spike)
    return torch.stack(spikes)

  weights = []

  def weight(features, channels, size):
    drawn = (torch.rand(features, channels, size, size) * 2 - 1) / (channels * size**2) ** 0.5
    weights.append(drawn.requires_grad_())
    return weights[-1]

  widths = [width * 2**k for k in range(stereospike.LEVELS + 1)]
  down = [weight(widths[0], module.in_channels, 5)]
  down += [weight(widths[k], widths[k - 1], 5) for k in range(1, len(widths))]
  middle = [weight(widths[-1], widths[-1], 3) for _ in range(4)]
  up = {k: weight(widths[k - 1], widths[k], 5) for k in range(stereospike.LEVELS, 0, -1)}
  heads = {k: weight(1, widths[k - 1], 3) for k in module.heads}
  x = torch.randint(0, 3, (*shape[:2], module.in_channels, *shape[2:])).float()

  def convolve(x, kernel, stride=1, padding=0, size=None):
    folded = x.flatten(0, 1)
    if size is not None:
      folded = functional.interpolate(folded, size, mode="nearest")
    y = functional.conv2d(folded, kernel, stride=stride, padding=padding) * module.gain
    return y.unflatten(0, x.shape[:2])

  def forward():
    maps = []
    y = x
    for k, kernel in enumerate(down):
      y = fire(convolve(y, kernel, 2 if k else 1, 2))
      maps.append(y)
    for first, second in (middle[:2], middle[2:]):
      y = fire(convolve(fire(convolve(y, first, padding=1)), second, padding=1)) + y
    depth = 0
    for k in range(stereospike.LEVELS, 0, -1):
      skip = maps[k - 1]
      y = fire(convolve(y, up[k], size=[n + 4 for n in skip.shape[-2:]])) + skip
      if k in heads:
        depth = depth + convolve(y, heads[k], size=[n + 2 for n in x.shape[-2:]])
    return depth.sum(0)

  def call():
    if not gradients:
      with torch.inference_mode():
        forward()
      return
    for kernel in weights:
      kernel.grad = None
    (forward() - 1).abs().mean().backward()

  return call, {"began": began, "torch": torch.__version__}
