"""The DPT of `transformers` with the sizes of one of ours and random weights, to compare with."""

from collections.abc import Callable, Sequence
import time
from typing import Any

from bicross_jax.models import dpt


def config_of(module: dpt.DPT, size: Sequence[int]) -> Any:
  """The DPTConfig of `transformers` with the sizes of one of ours: one head, a ReLU behind it.

  Args:
    module: one of ours, with one head.
    size: height and width of the input, equal: theirs has positions for it alone, and takes squares.
  """
  import transformers

  v = dpt.VARIANTS[module.backbone]
  options: dict[str, Any] = dict(backbone_out_indices=list(v.taps))
  if v.stages:
    bit = transformers.BitConfig(
      num_channels=module.in_channels,
      embedding_size=v.stem,
      hidden_sizes=list(v.stages),
      depths=list(v.depths),
      num_groups=v.groups,
      layer_type="bottleneck",
      global_padding="same",
      embedding_dynamic_padding=True,
      out_features=["stage1", "stage2", "stage3"],
    )
    options = dict(
      is_hybrid=True,
      backbone_config=bit,
      backbone_featmap_shape=[1, v.stages[-1], *(n // 16 for n in size)],
      backbone_out_indices=[0, 1, *v.taps],
      neck_ignore_stages=[0, 1],
    )
  return transformers.DPTConfig(
    num_channels=module.in_channels,
    image_size=list(size),
    hidden_size=v.dim,
    num_hidden_layers=v.depth,
    num_attention_heads=v.heads,
    intermediate_size=4 * v.dim,
    neck_hidden_sizes=list(v.widths),
    fusion_hidden_size=v.features,
    readout_type="project",
    **options,
  )


def runner(
  module: dpt.DPT, shape: Sequence[int], gradients: bool, threads: int, compiled: bool
) -> tuple[Callable[[], None], Callable[[], int] | None, dict[str, Any]]:
  """A network on random input, on a GPU where PyTorch sees one.

  Args:
    module: one of ours, as for `config_of`.
    shape: (B, H, W) of the input.
    gradients: forward and the gradient by every weight; else forward alone.
    threads: that PyTorch computes with.
    compiled: through `torch.compile`.

  Returns:
    (call, memory, about): call runs it once and waits; memory tells the bytes that the GPU held
    at most, None on CPUs; about has versions and `began`, `time.perf_counter` when all was imported.
  """
  import torch
  import transformers

  began = time.perf_counter()
  torch.set_num_threads(threads)
  gpu = torch.cuda.is_available()
  dtype = getattr(torch, module.dtype)
  network = transformers.DPTForDepthEstimation(config_of(module, shape[1:]))
  network = network.to(device="cuda" if gpu else "cpu").train(gradients)
  x = torch.randn(shape[0], module.in_channels, *shape[1:], device=network.device)
  run = torch.compile(network) if compiled else network
  cast = torch.autocast(network.device.type, dtype, enabled=dtype != torch.float32)

  def call():
    if gradients:
      network.zero_grad(set_to_none=True)
      with cast:
        loss = (run(x).predicted_depth.float() - 1).abs().mean()
      loss.backward()
    else:
      with torch.inference_mode(), cast:
        run(x)
    if gpu:
      torch.cuda.synchronize()

  versions = {"torch": torch.__version__, "transformers": transformers.__version__}
  return call, torch.cuda.max_memory_allocated if gpu else None, {"began": began, **versions}
