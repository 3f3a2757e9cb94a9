"""StereoSpike with weights whose sums are exact in float32 in any order, and what comes out of it.

Weights are multiples of 1/16, drawn by an integer hash; inputs are small whole numbers. The expected
numbers were made with the published network, and again in NumPy.
"""

import numpy as np

WIDTHS = (32, 64, 128, 256, 512)
HEIGHT, WIDTH = 260, 346
LAYERS = (
  "bottom",
  *(f"conv{k}" for k in range(1, 5)),
  *(f"bottleneck_{i}_conv{j}" for i in range(2) for j in range(1, 3)),
  *(f"deconv{k}" for k in range(4, 0, -1)),
)
# Of one step of integrate-and-fire neurons: (sum, entries that are not 0, largest).
ACTIVITY = {
  "bottom": (946157, 946157, 1),
  "conv1": (533221, 533221, 1),
  "conv2": (301700, 301700, 1),
  "conv3": (174753, 174753, 1),
  "conv4": (88474, 88474, 1),
  "bottleneck_0": (170986, 134791, 2),
  "bottleneck_1": (258004, 161699, 3),
  "deconv4": (181048, 181048, 1),
  "deconv3": (334805, 334805, 1),
  "deconv2": (784692, 784692, 1),
  "deconv1": (1338666, 1338666, 1),
  "add4": (355801, 270225, 2),
  "add3": (636505, 486127, 2),
  "add2": (1317913, 1044457, 2),
  "add1": (2284823, 1807157, 2),
}
# Of each map, finest first: sum, sum of squares, least, largest, three pixels, variance and gradient losses.
DEPTHS = (
  (196364.5, 3028537.5, -19.8125, 23.5, (4.25, 1.0625, -0.9375), 34.10881842, 26.61599739),
  (100113.0625, 2536726.504, -20.25, 24.6875, (1.1875, 0.6875, -0.875), 32.16083699, 26.48182360),
  (666629.9375, 6946666.902, -10.1875, 25.0625, (6.25, 7.0625, 5.9375), 27.53559911, 22.63613184),
  (500909.6875, 3969284.270, -9.4375, 18.4375, (2.0625, 5.0, 4.1875), 18.44002405, 17.17377977),
)
PIXELS = ((0, 0), (130, 173), (259, 345))
TOTAL_LOSS, MDE, PENALTY = 158.6991449, 5.196505862, 3.823364034
# Norms of that loss's gradient, by parameter, with alpha 1 and 4 of the bottleneck's sigmoid.
GRADIENTS = {
  0: (438.63545, 3765.9289),
  1: (432.48280, 3271.3083),
  2: (356.82280, 2984.2912),
  3: (266.83494, 2043.0427),
  4: (168.44917, 1308.6901),
  5: (63.142479, 635.28907),
  6: (61.449705, 331.61253),
  7: (64.411456, 242.15089),
  8: (50.929119, 96.282182),
  9: (109.36857, 109.36857),
  10: (35.323292, 35.323292),
  11: (10.298513, 10.298513),
  12: (2.1898785, 2.1898785),
  13: (50.556908, 50.556908),
  14: (0.31397100, 0.31397100),
  15: (29.554150, 29.554150),
  16: (0.40996653, 0.40996653),
  17: (20.040356, 20.040356),
  18: (0.70666175, 0.70666175),
  19: (4.9529708, 4.9529708),
  20: (0.29373281, 0.29373281),
}
# Parametric neurons, tau 2 and g 2, two steps of one input: sums of the four maps, then of tensors.
TWO_STEPS = (
  (392729, 200226.125, 1333259.875, 1001819.375),
  (722877.375, 543278.125, 1679518.625, 1381755.375),
)
SECOND = {
  "bottom": 1094711,
  "conv1": 559630,
  "conv2": 294135,
  "conv3": 166259,
  "conv4": 82597,
  "bottleneck_1": 241488,
  "deconv4": 171429,
  "deconv3": 320125,
  "deconv2": 762241,
  "deconv1": 1313012,
  "add1": 2407723,
}
SECOND_ENTRIES = {"bottleneck_1": 156882, "add1": 1870231}  # that are not 0
SECOND_PIXELS = (20.125, -6.125, 16.125)
MONOCULAR = (225602.25, 82218, 1407690.5, 979256.25)
ANN_EVAL = (-608649.5348, -544287.2637, 159915.2122, 458391.0379)
ANN_TRAIN = (-76961.82804, -53546.99702, -31290.07903, -19590.10431)


def mix(k: np.ndarray) -> np.ndarray:
  """An integer hash of uint32."""
  k = np.array(k, np.uint32)
  k ^= k >> np.uint32(16)
  k *= np.uint32(0x7FEB352D)
  k ^= k >> np.uint32(15)
  k *= np.uint32(0x846CA68B)
  return k ^ (k >> np.uint32(16))


def parameter(i: int, shape) -> np.ndarray:
  """Parameter number i, in PyTorch's layout (OIHW)."""
  k = np.arange(np.prod(shape), dtype=np.uint32) + np.uint32(1000003 * i)
  return ((mix(k) % 9).astype(np.float32) - 4).reshape(shape) / 16


def events() -> np.ndarray:
  """float32[1, 1, 260, 346, 4]."""
  h = mix(np.arange(4 * HEIGHT * WIDTH, dtype=np.uint32) + np.uint32(77)) % 16
  x = np.where(h < 12, 0, h.astype(np.int64) - 11).reshape(4, HEIGHT, WIDTH)
  return x.transpose(1, 2, 0)[None, None].astype(np.float32)


def truth() -> tuple[np.ndarray, np.ndarray]:
  """(depth float32[1, 260, 346], known bool)."""
  h = mix(np.arange(HEIGHT * WIDTH, dtype=np.uint32) + np.uint32(500)).reshape(1, HEIGHT, WIDTH)
  return (1 + (h % 512) / 64).astype(np.float32), (h >> 20) % 4 != 0


def shapes(cameras: int = 2) -> list[tuple[int, ...]]:
  """OIHW of the convolutions of `LAYERS`."""
  down = [(WIDTHS[0], 2 * cameras, 5, 5)]
  down += [(WIDTHS[k], WIDTHS[k - 1], 5, 5) for k in range(1, 5)]
  up = [(WIDTHS[k - 1], WIDTHS[k], 5, 5) for k in range(4, 0, -1)]
  return [*down, *[(WIDTHS[4], WIDTHS[4], 3, 3)] * 4, *up]


def params(cameras: int = 2, leaky: bool = False, biases: bool = False) -> dict:
  """Params of the network: {layer: ...}; with biases as the analogue network has them."""
  out: dict = {}
  number = iter(range(100))
  draw = lambda shape: parameter(next(number), shape)
  for name, shape in zip(LAYERS, shapes(cameras), strict=True):
    layer = {"kernel": draw(shape).transpose(2, 3, 1, 0)}
    if biases and not name.startswith("deconv"):
      layer["bias"] = draw(shape[:1])
    out[name] = {"conv": layer} if name.startswith("deconv") else layer
    if leaky:
      out[f"{name}_neuron"] = {"w": np.float32(0)}
  for k in range(4, 0, -1):
    kernel = draw((1, WIDTHS[k - 1], 3, 3)).transpose(2, 3, 1, 0)
    out[f"predict_depth{k}"] = {"conv": {"kernel": kernel, "bias": draw((1,))}}
  return out


def in_order(tree: dict) -> list[np.ndarray]:
  """The arrays of a tree like `params()`, by number."""
  layers = [tree[name].get("conv", tree[name])["kernel"] for name in LAYERS]
  heads = [tree[f"predict_depth{k}"]["conv"] for k in range(4, 0, -1)]
  return [*layers, *(head[name] for head in heads for name in ("kernel", "bias"))]
