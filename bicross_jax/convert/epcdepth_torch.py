"""EPCDepth in PyTorch's own operations: network, losses, training step. To compare with.

The network has the published names, so that `convert.to_torch` fills it. Equations: docs/systems/epcdepth.md.
"""

from collections.abc import Callable, Mapping, Sequence
import time
from typing import TYPE_CHECKING, Any

from bicross_jax.models import epcdepth, resnet

if TYPE_CHECKING:
  import torch

_CLASSES = 1000  # of the encoder's classifier, which no output is read from
_FEATURES = 512  # that it sees, a bottleneck's EXPANSION as many
_C1, _C2, _SSIM = 0.01**2, 0.03**2, 0.85
_NOISE, _MISSING, _EMPTY = 1e-5, 1e3, 1e-7


def build(module: epcdepth.EPCDepth) -> "torch.nn.ModuleDict":
  """The network of one of ours, with PyTorch's own initial weights; `maps` applies it."""
  from torch import nn

  def layer(inputs, features, size=3, stride=1, bias=True, dilation=1, mode="zeros"):
    padding = dilation * (size // 2)
    return nn.Conv2d(
      inputs, features, size, stride, padding, dilation, bias=bias, padding_mode=mode
    )

  def residual(inputs, width, stride):
    if module.layers >= 50:
      plan = ((width, 1, 1), (width, 3, stride), (resnet.EXPANSION * width, 1, 1))
    else:
      plan = ((width, 3, stride), (width, 3, 1))
    parts, channels = {}, inputs
    for i, (features, size, step) in enumerate(plan, 1):
      parts[f"conv{i}"] = layer(channels, features, size, step, bias=False)
      parts[f"bn{i}"], channels = nn.BatchNorm2d(features), features
    if stride > 1 or inputs != channels:
      shortcut = layer(inputs, channels, 1, stride, bias=False)
      parts["downsample"] = nn.Sequential(shortcut, nn.BatchNorm2d(channels))
    return nn.ModuleDict(parts), channels

  channels = width = 64 // module.divisor
  encoder = {"conv1": layer(3, width, 7, 2, bias=False), "bn1": nn.BatchNorm2d(width)}
  widths = [width]  # of the encoder's maps
  for stage, depth in enumerate(resnet.DEPTHS[module.layers], 1):
    blocks = []
    for i in range(depth):
      block, channels = residual(channels, width, 2 if stage > 1 and i == 0 else 1)
      blocks.append(block)
    encoder[f"layer{stage}"] = nn.Sequential(*blocks)
    widths.append(channels)
    width *= 2
  deep = resnet.EXPANSION if module.layers >= 50 else 1
  encoder["fc"] = nn.Linear(_FEATURES * deep, _CLASSES)

  def unit(inputs, features, dilation=1):
    conv = layer(inputs, features, dilation=dilation, mode=module.padding)
    return nn.ModuleDict({"conv_s1": conv})

  def block(inputs, plan):
    height, (middle, features) = plan[0], map(module.narrow, plan[1:])
    parts = {"in": unit(inputs, features), "1": unit(features, middle)}
    parts |= {str(k): unit(middle, middle) for k in range(2, height)}
    parts[str(height)] = unit(middle, middle, 2)
    parts |= {f"{k}d": unit(2 * middle, middle) for k in range(height - 1, 1, -1)}
    parts["1d"] = unit(2 * middle, features)
    return nn.ModuleDict({f"rebnconv{name}": part for name, part in parts.items()})

  head = lambda inputs, mode: nn.Sequential(layer(inputs, 1, mode=mode), nn.Sigmoid())

  def full_scale():
    decoder, inputs = {}, widths[-1]
    for i, plan in enumerate(epcdepth.DECODER):
      skip = widths[-2 - i] if i < len(widths) - 1 else 0
      decoder[f"stage{5 - i}d"] = block(inputs + skip, plan)
      inputs = module.narrow(plan[-1])
    coarse = [
      nn.ModuleDict(
        {"bottleneck": block(n, plan), "disp": head(module.narrow(plan[-1]), module.padding)}
      )
      for n, plan in zip(widths, epcdepth.ENCODER, strict=True)
    ]
    heads = [head(module.narrow(plan[-1]), module.padding) for plan in epcdepth.DECODER]
    return decoder | {"encoder_disps": nn.ModuleList(coarse), "disps": nn.ModuleList(heads)}

  def plain():
    decoder, inputs, heads = {}, widths[-1], []
    for i, features in enumerate(map(module.narrow, epcdepth.PLAIN)):
      skip = widths[-2 - i] if i < len(widths) - 1 else 0
      decoder[f"upconv{5 - i}"] = layer(inputs, features, mode="reflect")
      decoder[f"iconv{5 - i}"] = layer(features + skip, features, mode="reflect")
      heads += [head(features, "reflect")] if i else []
      inputs = features
    return decoder | {"disps": nn.ModuleList(heads)}

  decoder = full_scale() if module.decoder == "full_scale" else plain()
  return nn.ModuleDict(
    {
      "encoder": nn.ModuleDict({"encoder": nn.ModuleDict(encoder)}),
      "depth_decoder": nn.ModuleDict(decoder),
    }
  )


def encoded(encoder: "torch.nn.ModuleDict", x: "torch.Tensor") -> "list[torch.Tensor]":
  """The five maps of a ResNet that `build` made, of an image as it sees it: float32[B, 3, H, W]."""
  from torch.nn import functional

  def residual(block, x):
    y, last = x, sum(name.startswith("conv") for name in block)
    for i in range(1, last + 1):
      y = block[f"bn{i}"](block[f"conv{i}"](y))
      y = y.relu() if i < last else y
    return (y + (block["downsample"](x) if "downsample" in block else x)).relu()

  x = encoder["bn1"](encoder["conv1"](x)).relu()
  found = [x]
  x = functional.max_pool2d(x, 3, 2, 1)
  for stage in range(1, 5):
    for block in encoder[f"layer{stage}"]:
      x = residual(block, x)
    found.append(x)
  return found


def maps(
  network: "torch.nn.ModuleDict", x: "torch.Tensor", *, all_of_them: bool = True
) -> "list[torch.Tensor]":
  """The disparities of a network that `build` made, float32[B, 1, h, w] each, as `EPCDepthOutput.maps`.

  Args:
    network: in training mode or not.
    x: float32[B, 3, H, W] in 0..1.
    all_of_them: or the first one, and nothing is computed that it does not need.
  """
  import torch
  from torch.nn import functional

  def fitted(x, like):
    if x.shape[2:] == like.shape[2:]:
      return x
    return functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)

  def rsu(block, x):
    unit = lambda name, x: functional.elu(block[f"rebnconv{name}"]["conv_s1"](x))
    height = len(block) // 2
    entry = unit("in", x)
    down = [unit("1", entry)]
    for k in range(2, height):
      down.append(unit(str(k), functional.max_pool2d(down[-1], 2, 2, ceil_mode=True)))
    y = unit(str(height), down[-1])
    for k in range(height - 1, 0, -1):
      y = unit(f"{k}d", torch.cat([fitted(y, down[k - 1]), down[k - 1]], 1))
    return y + entry

  twice = lambda x: functional.interpolate(x, scale_factor=2, mode="nearest")
  decoder = network["depth_decoder"]
  seen = encoded(network["encoder"]["encoder"], (x - epcdepth.MEAN) / epcdepth.DEVIATION)
  full, found, y = "encoder_disps" in decoder, [], seen[-1]
  for i in range(5):
    skip = [seen[-2 - i]] if i < len(seen) - 1 else []
    if full:
      y = rsu(decoder[f"stage{5 - i}d"], torch.cat([twice(y), *skip], 1))
    else:
      y = functional.elu(decoder[f"upconv{5 - i}"](twice(y)))
      y = functional.elu(decoder[f"iconv{5 - i}"](torch.cat([y, *skip], 1)))
    at = i if full else i - 1
    if at >= 0 and (all_of_them or i == 4):
      found.insert(0, decoder["disps"][at](y))
  if full and all_of_them:
    for i in reversed(range(len(seen))):
      part = decoder["encoder_disps"][i]
      found.append(part["disp"](rsu(part["bottleneck"], seen[i])))
  return found


def losses(
  config, found: "Sequence[torch.Tensor]", batch: "Mapping[str, torch.Tensor]", noise: float
) -> "dict[str, torch.Tensor]":
  """The parts of the loss, which is their sum.

  Args:
    config: its sections `loss` and `rig`, with a focal length and a baseline.
    found: from `maps`.
    batch: `rgb` and `rgb_right` float32[B, 3, H, W] in 0..1, `baseline` float32[B], with hints
      `depth_hint` float32[B, 1, H, W], metres of that rig.
    noise: deviation of what is added to the error of the partner's image as it is.
  """
  import torch
  from torch.nn import functional

  target, partner, rig = batch["rgb"], batch["rgb_right"], config.rig
  height, width = target.shape[2:]
  mean = lambda x: functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
  of_target = mean(target)
  spread_of_target = mean(target**2) - of_target**2

  def reprojection(image):
    of_image = mean(image)
    spread = mean(image**2) - of_image**2
    both = mean(image * target) - of_image * of_target
    like = (2 * of_image * of_target + _C1) * (2 * both + _C2)
    like = like / ((of_image**2 + of_target**2 + _C1) * (spread + spread_of_target + _C2))
    structure = ((1 - like) / 2).clamp(0, 1).mean(1, keepdim=True)
    return _SSIM * structure + (1 - _SSIM) * (target - image).abs().mean(1, keepdim=True)

  # What a unit of 1 / depth moves a pixel by, in the coordinates of grid_sample.
  per_unit = rig.focal * rig.baseline / rig.unit * width * torch.sign(batch["baseline"])
  per_unit = per_unit.view(-1, 1, 1) * 2 / (width - 1)
  row, column = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)

  def error(inverse):
    x = column - per_unit * inverse[:, 0]
    grid = torch.stack([x, row[:, None].expand_as(x)], -1)
    return reprojection(
      functional.grid_sample(partner, grid, padding_mode="border", align_corners=True)
    )

  resized = lambda x: functional.interpolate(
    x, (height, width), mode="bilinear", align_corners=False
  )
  found = [x if x.shape[2:] == target.shape[2:] else resized(x) for x in found]
  inverse = [1 / rig.max_depth + (1 / rig.min_depth - 1 / rig.max_depth) * x for x in found]
  errors = [error(x) for x in inverse]
  with torch.no_grad():
    still = reprojection(partner) if config.loss.automask else None
    if config.loss.hints:
      hint = batch["depth_hint"] / rig.unit
      of_hint = error(torch.where(hint > 0, 1 / hint.clamp_min(1e-6), 0)) + _MISSING * (hint <= 0)

  over = lambda x, mask: (x * mask).sum() / (mask.sum() + _EMPTY)
  photometric, hinted = [], []
  for x, s in zip(errors, inverse, strict=True):
    counts, wins, best = torch.ones_like(x), torch.zeros_like(x), x.detach()
    if still is not None:
      drawn = still + noise * torch.randn_like(still)
      counts, best = (best <= drawn).float(), torch.minimum(best, drawn)
    if config.loss.hints:
      wins = (of_hint < best).float()
      hinted.append(over(torch.log1p((hint - 1 / s).abs()), wins))
    photometric.append(over(x, torch.maximum(counts, wins)))
  parts = {"photometric_loss": torch.stack(photometric).mean()}
  if config.loss.hints:
    parts["hint_loss"] = torch.stack(hinted).mean()
  if config.loss.distillation:
    apart = []
    for maps_, errors_ in ((found[:5], errors[:5]), (found[5:], errors[5:])):
      if maps_:
        best = torch.cat(errors_, 1).detach().argmin(1, keepdim=True)
        label = torch.cat(maps_, 1).detach().gather(1, best)
        apart += [torch.log1p((label - x).abs()).mean() for x in maps_]
    parts["distillation_loss"] = config.loss.distillation * torch.stack(apart).mean()
  return parts


def runner(
  config, module: epcdepth.EPCDepth, batch: Mapping[str, Any], train: bool, threads: int
) -> tuple[Callable[[], None], dict[str, Any]]:
  """A training step (forward, all maps' losses, gradients, Adam), or the prediction of metres, on the CPU.

  Args:
    config: of the stage; its batch has a rig's focal length and baseline.
    module: of the config.
    batch: NumPy arrays of the config's fields.
    train: the step; else the prediction.
    threads: that PyTorch computes with.

  Returns:
    (call, about) as of `stereospike_torch.runner`.
  """
  import torch

  began = time.perf_counter()
  torch.set_num_threads(threads)
  network = build(module).train(train)
  rates = torch.optim.Adam(network.parameters(), lr=config.optim.lr)
  given = {name: torch.from_numpy(x) for name, x in batch.items()}
  pictures = {
    name: given[name].permute(0, 3, 1, 2).contiguous()
    for name in ("rgb", "rgb_right")
    if name in given
  }
  image = lambda name: pictures[name].float() / 255

  def step():
    now = {"rgb": image("rgb"), "rgb_right": image("rgb_right"), "baseline": given["baseline"]}
    if config.loss.hints:
      now["depth_hint"] = given["depth_hint"][:, None]
    rates.zero_grad(set_to_none=True)
    sum(losses(config, maps(network, now["rgb"]), now, _NOISE).values()).backward()
    rates.step()

  def predict():
    rig = config.rig
    with torch.inference_mode():
      (disparity,) = maps(network, image("rgb"), all_of_them=False)
      rig.unit / (1 / rig.max_depth + (1 / rig.min_depth - 1 / rig.max_depth) * disparity)

  return step if train else predict, {"began": began, "torch": torch.__version__}
