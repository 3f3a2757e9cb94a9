"""Networks with the outputs and the names of the real ones, which compile in a moment."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import discriminator, efficientnet_unet, layers, translator


class Encoder(nn.Module):
  """float[B, H, W, 3] -> float[B, H/4, W/4, 6]; half of the examples lose what it adds, by the key "drop_connect"."""

  axis_name: str | None

  @nn.compact
  def __call__(self, x, train, drop_connect, views):
    x = nn.Conv(6, (4, 4), strides=4, name="stem")(x)
    x = jnp.tanh(layers.BatchNorm(train, self.axis_name, views=views, name="stem_norm")(x))
    y = jnp.tanh(nn.Conv(6, (1, 1), name="stage4_0")(x))
    if drop_connect:
      kept = jax.random.bernoulli(self.make_rng("drop_connect"), 0.5, (len(x), 1, 1, 1))
      y = 2 * y * kept
    return nn.Conv(6, (1, 1), name="head")(x + y)


class Decoder(nn.Module):
  """float[B, h, w, C] -> (feature float[B, 4h, 4w, 6], depth float[B, 4h, 4w])."""

  axis_name: str | None

  @nn.compact
  def __call__(self, x, train, views):
    x = nn.Conv(6, (1, 1), name="deconv2")(x)
    x = jnp.tanh(layers.BatchNorm(train, self.axis_name, views=views, name="norm")(x))
    x = jnp.repeat(jnp.repeat(x, 4, 1), 4, 2)
    return x, jnp.tanh(nn.Conv(1, (3, 3), name="output")(x)[..., 0])


class Depth(nn.Module):
  """As `efficientnet_unet`."""

  variant: str = "nano"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, train=False, train_encoder=None, drop_connect=None, views=(True,)):
    encoder = train if train_encoder is None else train_encoder
    dropping = train if drop_connect is None else drop_connect
    seen = Encoder(self.axis_name, name="encoder")(x, encoder, dropping, views)
    feature, depth = Decoder(self.axis_name, name="decoder")(seen, train, views)
    return efficientnet_unet.EfficientNetUNetOutput(depth, (feature,), (seen,))


class Translator(nn.Module):
  """As `translator`."""

  width: int = 4
  blocks: int = 1
  skips: bool = False
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x, train=False, views=(True,)):
    seen = nn.Conv(3, (3, 3), name="conv")(x)
    seen = jnp.tanh(layers.BatchNorm(train, self.axis_name, views=views, name="norm")(seen))
    return translator.TranslatorOutput(jnp.tanh(nn.Conv(3, (1, 1), name="out")(seen)), seen)


class Critic(nn.Module):
  """As `patch_discriminator`."""

  width: int = 4
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x, train=False, views=(True,)):
    x = nn.Conv(3, (4, 4), strides=4, name="conv")(x)
    x = jnp.tanh(layers.BatchNorm(train, self.axis_name, views=views, name="norm")(x))
    return discriminator.DiscriminatorOutput(nn.Conv(1, (1, 1), name="score")(x)[..., 0], x)


MODELS = {"efficientnet_unet": Depth, "translator": Translator, "patch_discriminator": Critic}
