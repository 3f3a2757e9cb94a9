"""DeepLabv3+ and EvDistill's variants in PyTorch, with the published names, of any width.

To compare with: widths follow one of ours; padding, dilations, groups and resizes are PyTorch's own.
"""

import torch
from torch import nn
from torch.nn import functional

from bicross_jax.models import deeplab

STRIDES = {16: ((1, 1), (2, 1), (2, 1), (1, 2)), 8: ((1, 1), (2, 1), (1, 2), (1, 4))}
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# MobileNetV2 by output stride: expansion, width, blocks, stride, dilation of each stage.
MOBILE = {
  16: "1 16 1 1 1, 6 24 2 2 1, 6 32 3 2 1, 6 64 4 2 1, 6 96 3 1 1, 6 160 3 1 1, 6 320 1 1 2",
  8: "1 16 1 1 1, 6 24 2 2 1, 6 32 3 2 1, 6 64 4 1 1, 6 96 3 1 2, 6 160 3 1 2, 6 320 1 1 4",
}
PYRAMID = {16: (6, 12, 18), 8: (12, 24, 36)}


def conv(inputs, features, size=1, stride=1, dilation=1, bias=False, **more):
  padding = more.pop("padding", dilation * (size // 2))
  return nn.Conv2d(inputs, features, size, stride, padding, dilation, bias=bias, **more)


def corners(x, size):
  return functional.interpolate(x, size, mode="bilinear", align_corners=True)


class Block(nn.Module):
  """A residual block of ResNet and DRN: two 3x3, or 1x1, 3x3, 1x1 convolutions."""

  def __init__(self, inputs, width, deep, stride, dilation, project):
    super().__init__()
    sizes = ((width, 1), (width, 3), (4 * width, 1)) if deep else ((width, 3), (width, 3))
    strided = 2 if deep else 1
    channels = inputs
    for i, (features, size) in enumerate(sizes, 1):
      layer = conv(channels, features, size, stride if i == strided else 1, dilation)
      layer = layer if size == 3 else conv(channels, features)
      self.add_module(f"conv{i}", layer)
      self.add_module(f"bn{i}", nn.BatchNorm2d(features))
      channels = features
    self.last, self.channels = len(sizes), channels
    if project:
      self.downsample = nn.Sequential(
        conv(inputs, channels, stride=stride), nn.BatchNorm2d(channels)
      )

  def forward(self, x):
    y = x
    for i in range(1, self.last + 1):
      y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
      y = y.relu() if i < self.last else y
    return (y + (self.downsample(x) if hasattr(self, "downsample") else x)).relu()


def blocks(inputs, width, deep, count, stride, dilations):
  made = []
  for i in range(count):
    first = i == 0
    project = first and (stride > 1 or inputs != width * (4 if deep else 1))
    made.append(Block(inputs, width, deep, stride if first else 1, dilations[i], project))
    inputs = made[-1].channels
  return nn.Sequential(*made), inputs


class ResNet(nn.Module):
  def __init__(self, module, narrow):
    super().__init__()
    deep, width = module.layers >= 50, narrow(64)
    self.conv1 = conv(module.in_channels, width, 7, 2)
    self.bn1 = nn.BatchNorm2d(width)
    channels = width
    for stage, (stride, dilation) in enumerate(STRIDES[module.output_stride]):
      count = BLOCKS[module.layers][stage]
      grid = module.multi_grid if stage == 3 else [1] * count
      dilations = [dilation * g for g in grid]
      layer, channels = blocks(channels, width << stage, deep, count, stride, dilations)
      self.low = channels if stage == 0 else self.low
      self.add_module(f"layer{stage + 1}", layer)
    self.channels = channels

  def forward(self, x):
    x = functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
    low = self.layer1(x)
    return self.layer4(self.layer3(self.layer2(low))), low


class DRN(nn.Module):
  def __init__(self, module, narrow):
    super().__init__()
    channels = module.in_channels
    plan = {0: (16, 7, 1, 1), 1: (16, 3, 1, 1), 2: (32, 3, 2, 1), 7: (512, 3, 1, 2)}
    plan[8] = (512, 3, 1, 1)
    deep = {3: (64, 3, 2, 1), 4: (128, 4, 2, 1), 5: (256, 6, 1, 2), 6: (512, 3, 1, 4)}
    for level in range(9):
      if level in plan:
        width, size, stride, dilation = plan[level]
        width = narrow(width)
        parts = conv(channels, width, size, stride, dilation), nn.BatchNorm2d(width), nn.ReLU()
        layer, channels = nn.Sequential(*parts), width
      else:
        width, count, stride, dilation = deep[level]
        layer, channels = blocks(channels, narrow(width), True, count, stride, [dilation] * count)
        self.low = channels if level == 3 else self.low
      self.add_module(f"layer{level}", layer)
    self.channels = channels

  def forward(self, x):
    maps = []
    for level in range(9):
      x = getattr(self, f"layer{level}")(x)
      maps.append(x)
    return x, maps[3]


class Inverted(nn.Module):
  def __init__(self, inputs, features, expansion, stride, dilation):
    super().__init__()
    inside, self.dilation = expansion * inputs, dilation
    expand = [conv(inputs, inside), nn.BatchNorm2d(inside), nn.ReLU6()] if expansion > 1 else []
    deep = conv(inside, inside, 3, stride, dilation, padding=0, groups=inside)
    self.conv = nn.Sequential(
      *expand, deep, nn.BatchNorm2d(inside), nn.ReLU6(),
      conv(inside, features), nn.BatchNorm2d(features),
    )  # fmt: skip

  def forward(self, x):
    return self.conv(functional.pad(x, [self.dilation] * 4))


class MobileNetV2(nn.Module):
  def __init__(self, module, narrow):
    super().__init__()
    width = narrow(32)
    stem = conv(module.in_channels, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU6()
    found, self.added = [nn.Sequential(*stem)], set()
    for stage in MOBILE[module.output_stride].split(","):
      expansion, features, count, stride, dilation = map(int, stage.split())
      for i in range(count):
        self.added |= {len(found)} if i else set()
        step = 1 if i else stride
        found.append(Inverted(width, narrow(features), expansion, step, dilation))
        width = narrow(features)
    self.features = nn.Sequential(*found)
    self.low_level_features, self.high_level_features = self.features[:4], self.features[4:]
    self.low, self.channels = narrow(24), width

  def forward(self, x):
    maps = []
    for i, layer in enumerate(self.features):
      x = x + layer(x) if i in self.added else layer(x)
      maps.append(x)
    return x, maps[3]


class ASPP(nn.Module):
  def __init__(self, inputs, features, dilations):
    super().__init__()
    for i, dilation in enumerate((0, *dilations), 1):
      size = (3, 1, dilation) if i > 1 else ()
      branch = {"atrous_conv": conv(inputs, features, *size), "bn": nn.BatchNorm2d(features)}
      self.add_module(f"aspp{i}", nn.ModuleDict(branch))
    self.global_avg_pool = nn.Sequential(
      nn.AdaptiveAvgPool2d(1), conv(inputs, features), nn.BatchNorm2d(features), nn.ReLU()
    )
    self.conv1, self.bn1 = conv(5 * features, features), nn.BatchNorm2d(features)

  def forward(self, x):
    found = []
    for i in range(1, 5):
      branch = getattr(self, f"aspp{i}")
      found.append(branch["bn"](branch["atrous_conv"](x)).relu())
    found.append(corners(self.global_avg_pool(x), x.shape[2:]))
    return self.bn1(self.conv1(torch.cat(found, 1))).relu()


class Decoder(nn.Module):
  def __init__(self, pyramid, low, reduced, widths, features):
    super().__init__()
    self.conv1, self.bn1 = conv(low, reduced), nn.BatchNorm2d(reduced)
    one, two = widths
    self.last_conv = nn.Sequential(
      conv(pyramid + reduced, one, 3), nn.BatchNorm2d(one), nn.ReLU(), nn.Identity(),
      conv(one, two, 3), nn.BatchNorm2d(two), nn.ReLU(), nn.Identity(),
      conv(two, features, bias=True),
    )  # fmt: skip

  def forward(self, x, low):
    low = self.bn1(self.conv1(low)).relu()
    return self.last_conv(torch.cat([corners(x, low.shape[2:]), low], 1))


class Residual(nn.Module):
  def __init__(self, width):
    super().__init__()
    deep = lambda: conv(width, width, 3, bias=True)
    self.conv = nn.Sequential(deep(), nn.ReLU(), deep())
    self.residual_upsampler = nn.Sequential(conv(width, width))

  def forward(self, x):
    return self.conv(x) + self.residual_upsampler(x)


class DeepLab(nn.Module):
  """One of ours, without dropout; `forward` gives a dict of what `DeepLabOutput` has."""

  def __init__(self, module: deeplab.DeepLab):
    super().__init__()
    narrow = lambda width: max(2, width // module.divisor)
    kinds = {"resnet": ResNet, "drn": DRN, "mobilenet": MobileNetV2}
    self.backbone = kinds[module.backbone](module, narrow)
    stride = 8 if module.backbone == "drn" else module.output_stride
    dilations = module.dilations or PYRAMID[stride]
    low, pyramid, reduced = self.backbone.low, narrow(256), narrow(48)
    self.aspp = ASPP(self.backbone.channels, pyramid, dilations)
    wide, half = narrow(256), narrow(128)
    self.decoder = Decoder(pyramid, low, reduced, (wide, wide), module.classes)
    self.kind, features = module.reconstruction, narrow(64)
    if self.kind != "none":
      self.sr_decoder = Decoder(pyramid, low, reduced, (wide, half), features)
      head = conv(module.classes, 3, bias=True), nn.BatchNorm2d(3), nn.ReLU()
      self.pointwise = nn.Sequential(*head)
    if self.kind == "dual_v3":
      self.up_res = Residual(features)
      wider = lambda: conv(features, 4 * features, 3, bias=True)
      self.upsampler = nn.Sequential(wider(), nn.PixelShuffle(2), wider(), nn.PixelShuffle(2))
      self.up_conv_last = nn.Sequential(conv(features, 3, bias=True), nn.Tanh())
    elif self.kind != "none":
      less = features // 2
      self.up_sr_1 = nn.ConvTranspose2d(features, features, 2, 2)
      self.up_edsr_1 = Residual(features)
      self.up_sr_2 = nn.ConvTranspose2d(features, less, 2, 2)
      self.up_edsr_2 = Residual(less)
      self.up_conv_last = conv(less, 3, bias=True)
    if module.auxiliary:
      self.aux_logit = conv(pyramid, module.classes)

  def forward(self, x):
    top, low = self.backbone(x)
    pyramid = self.aspp(top)
    logits = corners(self.decoder(pyramid, low), x.shape[2:])
    found = {"logits": logits, "backbone": top, "low_level": low, "aspp": pyramid}
    if self.kind != "none":
      found["pointwise"], y = self.pointwise(logits), self.sr_decoder(pyramid, low)
      if self.kind == "dual_v3":
        y = self.up_conv_last(self.upsampler(self.up_res(y)))
      else:
        y = self.up_edsr_2(self.up_sr_2(self.up_edsr_1(self.up_sr_1(y))))
        y = self.up_conv_last(y)
        y = y.tanh() if self.kind == "dual_v2" else y
      found["reconstruction"] = y
    if hasattr(self, "aux_logit"):
      found["auxiliary"] = corners(self.aux_logit(pyramid), x.shape[2:])
    return found
