"""StereoSpike: a U-Net of spiking neurons that reads depth from membrane potentials.

Rancon et al. 2021 (docs/systems/stereospike.md, Network). Time comes first, [T, B, H, W, C]: layers
without state see it folded into the batch, and only neurons scan.
"""

from collections.abc import Callable, Mapping
import functools
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import initialise, layers, spiking
from bicross_jax.ops import conv, resize, surrogate

LEVELS = 4
CONNECTIONS: Mapping[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
  "add": lambda out, z: out + z,
  "and": lambda out, z: out * z,
  "iand": lambda out, z: (1 - out) * z,
  "or": lambda out, z: out + z - out * z,
}
ACTIVATIONS = {"sigmoid": nn.sigmoid, "tanh": jnp.tanh, "leaky_relu": nn.leaky_relu}


class StereoSpikeOutput(NamedTuple):
  """What a network of the family gives.

  Attributes:
    depth: float32[B, H, W], the finest map after the last time step, in the label space.
    depths: of each head, finest first, float32[T, B, H, W].
    activity: {name of a tensor: float[T, B, h, w, c]}: what every layer gives, the results
      bottleneck_0, bottleneck_1 of the blocks, and the sums add4..1 of the decoder.
    state: {name of a layer: potentials float[B, ...]} after the last step, for the next call.
  """

  depth: jax.Array
  depths: tuple[jax.Array, ...]
  activity: dict[str, jax.Array]
  state: dict[str, jax.Array]


class UpConv(nn.Module):
  """Nearest resize and a convolution without padding, [N, h, w, C] -> [N, *size, features].

  Attributes:
    features: output channels.
    kernel: side of the kernel k; the map is resized to size + k - 1 first.
    bias: whether there is one.
    dtype: compute type.
  """

  features: int
  kernel: int
  bias: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, size: tuple[int, int]) -> jax.Array:
    layer = layers.Conv(self.features, self.kernel, bias=self.bias, dtype=self.dtype, name="conv")
    weight, bias = layer.weights(x.shape[-1])
    x, weight = x.astype(self.dtype), weight.astype(self.dtype)
    y = (_narrow if self.features == 1 else _wide)(x, weight, size)
    return y if bias is None else y + bias.astype(self.dtype)[None, None, None]


def _wide(x, weight, size):
  k = len(weight)
  x = resize.nearest(x, (size[0] + k - 1, size[1] + k - 1))
  return conv.conv(x, weight, 1, ((0, 0), (0, 0)))


def _narrow(x, weight, size):
  """The same of one feature: products on the small map, what is enlarged are their results."""
  k, channels = len(weight), x.shape[-1]
  taps = weight[..., 0].reshape(k * k, channels).T
  y = jnp.matmul(x.reshape(-1, channels), taps, preferred_element_type=jnp.float32)
  y = y.reshape(*x.shape[:3], k, k)
  for axis in (1, 2):  # of the rows of the kernel, then of its columns
    whole = size[axis - 1] + k - 1
    part = lambda i, y=y, axis=axis, whole=whole: resize.nearest_part(
      y[:, :, :, i], axis, whole, i, size[axis - 1]
    )
    y = sum(part(i) for i in range(k))
  return y[..., None]


class UNet(nn.Module):
  """The graph that spiking and analogue networks share, float[T, B, H, W, C] -> `StereoSpikeOutput`.

  Attributes:
    in_channels: C: 4 of a pair of event cameras, 2 of one.
    width: channels of the first layer; 2, 4, 8, 16 times as many below.
    connect: how a residual block joins its result to its input: "add", "and", "iand", "or".
    skips: whether the encoder's maps are added in the decoder.
    heads: which of the heads there are; 1 is the finest.
    dtype: compute type of convolutions.
  """

  in_channels: int = 4
  width: int = 32
  connect: str = "add"
  skips: bool = True
  heads: tuple[int, ...] = (1, 2, 3, 4)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, state: Mapping[str, jax.Array] | None = None, train: bool = False
  ) -> StereoSpikeOutput:
    self._check(x)
    before, after, activity = dict(state or {}), {}, {}

    def layer(name, x, features, kernel, stride=1, size=None, inside=False):
      """A convolution and what activates it; with `size` of a map that is resized to it."""
      bias = self.has_bias and size is None
      y = self._convolve(name, x, features, kernel, stride=stride, size=size, bias=bias)
      y, potential = self.activate(name, y, before.get(name), inside=inside, train=train)
      if potential is not None:
        after[name] = potential
      activity[name] = y
      return y

    def block(name, z):
      y = layer(f"{name}_conv1", z, z.shape[-1], 3, inside=True)
      y = layer(f"{name}_conv2", y, z.shape[-1], 3, inside=True)
      activity[name] = CONNECTIONS[self.connect](y, z)
      return activity[name]

    widths = [self.width * 2**k for k in range(LEVELS + 1)]
    maps = [layer("bottom", x.astype(jnp.float32), widths[0], 5)]
    for k in range(1, LEVELS + 1):
      maps.append(layer(f"conv{k}", maps[-1], widths[k], 5, stride=2))
    x, found = block("bottleneck_1", block("bottleneck_0", maps[-1])), {}
    for k in range(LEVELS, 0, -1):
      skip = maps[k - 1]
      x = layer(f"deconv{k}", x, widths[k - 1], 5, size=skip.shape[2:4])
      x = x + skip if self.skips else x
      activity[f"add{k}"] = x
      if k in self.heads:
        size = maps[0].shape[2:4]
        found[k] = self._convolve(f"predict_depth{k}", x, 1, 3, size=size, bias=True)[..., 0]
    depths = read_out(found, before.get("depth", jnp.zeros_like(found[min(found)][0])))
    after["depth"] = depths[0][-1]
    check_state(state, after)
    return StereoSpikeOutput(depths[0][-1], depths, activity, after)

  @nn.nowrap
  def _convolve(self, name, x, features, kernel, *, stride=1, size=None, bias=False):
    """A convolution of every time step, times `gain`."""
    if size is None:
      layer = layers.Conv(features, kernel, stride, bias=bias, dtype=self.dtype, name=name)
    else:
      layer = UpConv(features, kernel, bias=bias, dtype=self.dtype, name=name)
      layer = functools.partial(layer, size=size)
    y = layer(x.reshape(-1, *x.shape[2:])).astype(jnp.float32)
    return (self.gain * y).reshape(*x.shape[:2], *y.shape[1:])

  @nn.nowrap
  def _check(self, x):
    """Raises ValueError for options or an input that cannot be."""
    if x.ndim != 5 or x.shape[-1] != self.in_channels or 0 in x.shape:
      raise ValueError(f"an input is [T, B, H, W, {self.in_channels}], not {x.shape}")
    if self.connect not in CONNECTIONS:
      raise ValueError(f"no connection {self.connect!r}; choose from {', '.join(CONNECTIONS)}")
    if not self.heads or not set(self.heads) <= set(range(1, LEVELS + 1)):
      raise ValueError(f"heads {self.heads}: choose from 1 to {LEVELS}")

  @property
  def gain(self) -> float:
    """What the result of every convolution is multiplied by."""
    return 1.0

  @property
  def has_bias(self) -> bool:
    """Whether convolutions of encoder and bottleneck have a bias."""
    return False

  @nn.nowrap
  def activate(
    self, name: str, x: jax.Array, potential: jax.Array | None, *, inside: bool, train: bool
  ) -> tuple[jax.Array, jax.Array | None]:
    """What follows a convolution.

    Args:
      name: of the layer.
      x: float32[T, B, h, w, c].
      potential: of the layer before the first step, where it has one and it is given.
      inside: whether the layer is one of the bottleneck's.
      train: whether batch statistics are taken.

    Returns:
      (float32[T, B, h, w, c], potential after the last step or None).
    """
    raise NotImplementedError

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """torch's uniform weights and biases."""
    return initialise.TORCH


class StereoSpike(UNet):
  """The spiking network; the attributes of `UNet`, and of its neurons.

  Attributes:
    neuron, bottleneck_neuron: "if", "lif" or "plif", see `spiking.Neuron`.
    tau: time constant in steps; of "plif" the one it starts from.
    threshold: potential at which neurons fire.
    reset: "hard" (to 0) or "soft" (the threshold is taken away).
    detach: no gradient through the reset.
    decay_input: whether leaky neurons divide the input by tau too.
    multiply_factor: what the result of every convolution is multiplied by.
    surrogate, alpha: of the neurons; bottleneck_surrogate, bottleneck_alpha: in the bottleneck.
  """

  neuron: str = "if"
  bottleneck_neuron: str = "if"
  tau: float = 3.0
  threshold: float = 1.0
  reset: str = "hard"
  detach: bool = True
  decay_input: bool = True
  multiply_factor: float = 1.0
  surrogate: str = "atan"
  alpha: float = 2.0
  bottleneck_surrogate: str = "sigmoid"
  bottleneck_alpha: float = 1.0

  @property
  def gain(self) -> float:
    """`multiply_factor`."""
    return self.multiply_factor

  @nn.nowrap
  def activate(self, name, x, potential, *, inside, train):
    """Spikes, and the potentials that they leave."""
    del train  # nothing differs
    return spiking.Spiking(self.neurons(inside), name=f"{name}_neuron")(x, potential)

  @nn.nowrap
  def neurons(self, inside: bool = False) -> spiking.Neuron:
    """The neurons of a layer, `inside` the bottleneck or elsewhere.

    Raises:
      ValueError: an option that cannot be.
    """
    if self.reset not in ("hard", "soft"):
      raise ValueError(f"no reset {self.reset!r}; choose hard or soft")
    kind, name, alpha = (
      (self.bottleneck_neuron, self.bottleneck_surrogate, self.bottleneck_alpha)
      if inside
      else (self.neuron, self.surrogate, self.alpha)
    )
    return spiking.Neuron(
      kind,
      tau=self.tau,
      threshold=self.threshold,
      reset=0.0 if self.reset == "hard" else None,
      detach=self.detach,
      decay_input=self.decay_input,
      surrogate=surrogate.create(name, alpha=alpha),
    )

  @property
  def INITIALISERS(self) -> initialise.Rules:
    """Those of `UNet`, and the leak that `tau` says."""
    leak = math.log(self.tau - 1) if self.tau > 1 else 0.0
    return (*super().INITIALISERS, (r"/w$", initialise.constant(-leak)))


class StereoSpikeANN(UNet):
  """The analogue network of the same graph: activation, then batch norm, in place of neurons.

  Attributes:
    activation: "sigmoid", "tanh" or "leaky_relu".
    axis_name: mapped axis over which batch statistics are pooled in training, or None.
  """

  activation: str = "sigmoid"
  axis_name: str | None = None

  @property
  def has_bias(self) -> bool:
    """Encoder and bottleneck have biases."""
    return True

  @nn.nowrap
  def activate(self, name, x, potential, *, inside, train):
    """Activated and normalised by the statistics of all time steps; there is no potential."""
    del potential, inside
    if self.activation not in ACTIVATIONS:
      raise ValueError(f"no activation {self.activation!r}; choose from {', '.join(ACTIVATIONS)}")
    x = ACTIVATIONS[self.activation](x)
    norm = layers.BatchNorm(train, self.axis_name, name=f"{name}_norm")
    return norm(x), None


def read_out(heads: Mapping[int, jax.Array], potential: jax.Array) -> tuple[jax.Array, ...]:
  """Potentials of the one integrator that all heads feed, the deepest first, at every time step.

  Args:
    heads: {number: float32[T, B, H, W]}, what each head gives.
    potential: float32[B, H, W] before the first step.

  Returns:
    float32[T, B, H, W] each: the potential after that head, finest first.

  Raises:
    ValueError: a potential of another shape than a map.
  """
  order = sorted(heads, reverse=True)
  fed = jnp.stack([heads[k] for k in order], axis=1)  # [T, heads, B, H, W]
  if potential.shape != fed.shape[2:]:
    raise ValueError(f"depth {potential.shape} of the state does not fit {fed.shape[2:]}")
  potentials = spiking.integrate(potential, fed.reshape(-1, *potential.shape)).reshape(fed.shape)
  return tuple(potentials[:, i] for i in reversed(range(len(order))))


def check_state(given: Mapping[str, jax.Array] | None, after: Mapping[str, jax.Array]) -> None:
  """Raises ValueError for potentials that belong to another network or another size."""
  if given is None:
    return
  shapes = lambda state: {name: x.shape for name, x in state.items()}
  if shapes(given) != shapes(after):
    wrong = sorted(set(shapes(given).items()) ^ set(shapes(after).items()))
    raise ValueError(f"the state does not fit the network and its input: {wrong[:4]}")
