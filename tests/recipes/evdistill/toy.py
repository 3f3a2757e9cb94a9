"""Networks with the outputs of the real ones and a few convolutions, which compile in a moment."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import deeplab, discriminator, layers, translator
from bicross_jax.train.state import AXIS

SIZE = (24, 32)  # the smallest that the real discriminators see


class Segmenter(nn.Module):
  """float[B, H, W, 3] -> `DeepLabOutput`; `reconstruction` as DeepLab's."""

  reconstruction: str = "none"

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> deeplab.DeepLabOutput:
    x = nn.Conv(4, (3, 3), name="conv")(x)
    y = layers.BatchNorm(train, AXIS, name="norm")(x)
    aspp = nn.avg_pool(jnp.tanh(y), (4, 4), (4, 4))
    logits = nn.Conv(6, (1, 1), name="classes")(jnp.tanh(y))
    made = {}
    if self.reconstruction != "none":
      made["reconstruction"] = nn.Conv(3, (1, 1), name="shuffled")(jnp.tanh(y))
      made["pointwise"] = nn.Conv(3, (1, 1), name="pointwise")(logits)
    return deeplab.DeepLabOutput(logits, {"aspp": aspp}, **made)


class Generator(nn.Module):
  """float[B, H, W, in_channels] -> `TranslatorOutput`."""

  in_channels: int
  channels: int

  @nn.compact
  def __call__(self, x: jax.Array) -> translator.TranslatorOutput:
    x = nn.Conv(self.channels, (3, 3), name="conv")(x)
    return translator.TranslatorOutput(jnp.tanh(x), x)


class Critic(nn.Module):
  """float[B, H, W, in_channels] -> `DiscriminatorOutput`."""

  in_channels: int

  @nn.compact
  def __call__(self, x: jax.Array) -> discriminator.DiscriminatorOutput:
    x = nn.tanh(nn.Conv(3, (4, 4), strides=4, name="conv")(x))
    return discriminator.DiscriminatorOutput(nn.Conv(1, (1, 1), name="score")(x)[..., 0], x)


def translators(config):
  """As `student.translators`."""
  frame = 1 if config.input.grey else 3
  generators = {"to_events": Generator(frame, 2), "to_image": Generator(2, frame)}
  return generators, {"events": Critic(2), "image": Critic(frame)}
