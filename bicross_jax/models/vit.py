"""The Vision Transformer (Dosovitskiy et al. 2021) over a grid of patch tokens, with taps."""

from collections.abc import Sequence
from typing import Any

from einops import rearrange
import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax.models import layers
from bicross_jax.ops import attention, resize

PATCH = 16  # pixels along one side of a token, in every variant


class Attention(nn.Module):
  """Multi-head self-attention, [B, N, C] -> dtype[B, N, C].

  `qkv` is one linear layer to 3C channels, ordered (query, key, value) x heads x channels of a
  head. The softmax is computed in float32.
  """

  heads: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    c = x.shape[-1]
    qkv = nn.Dense(3 * c, dtype=self.dtype, name="qkv")(x)
    # Split, not indexed: its gradient is one concatenation, not a sum of three padded arrays.
    parts = jnp.split(qkv, 3, axis=-1)
    q, k, v = (rearrange(part, "b n (h d) -> b n h d", h=self.heads) for part in parts)
    y = rearrange(attention.attention(q, k, v), "b n h d -> b n (h d)")
    return nn.Dense(c, dtype=self.dtype, name="out")(y)


class Block(nn.Module):
  """Pre-norm transformer block, [B, N, C] -> dtype[B, N, C]; MLP of 4C with the exact GELU."""

  heads: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    c = x.shape[-1]
    y = layers.LayerNorm(self.dtype, name="norm1")(x)
    x = x + Attention(self.heads, self.dtype, name="attention")(y)
    y = layers.LayerNorm(self.dtype, name="norm2")(x)
    y = nn.gelu(nn.Dense(4 * c, dtype=self.dtype, name="mlp_in")(y), approximate=False)
    return x + nn.Dense(c, dtype=self.dtype, name="mlp_out")(y)


class ViT(nn.Module):
  """Class token, learned positions and `depth` blocks over embedded patches.

  Attributes:
    depth: number of blocks.
    heads: attention heads.
    taps: indices of the blocks whose output is returned, raw.
    grid: (rows, columns) of the learned positions `pos_embed`, float32[1, 1 + rows*columns, C],
      class token first; they are resized bilinearly to the grid of the input.
    dtype: compute type.
  """

  depth: int
  heads: int
  taps: Sequence[int]
  grid: tuple[int, int]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, patches: jax.Array) -> tuple[list[jax.Array], jax.Array]:
    """patches: [B, h, w, C] -> (taps, class_token).

    taps: for every one dtype[B, 1 + h*w, C], class token first.
    class_token: dtype[B, C], that of the last block behind the final norm.
    """
    b, h, w, c = patches.shape
    rows, columns = self.grid
    normal = nn.initializers.truncated_normal(0.02)
    token = self.param("cls_token", normal, (1, 1, c), jnp.float32)
    positions = self.param("pos_embed", normal, (1, 1 + rows * columns, c), jnp.float32)
    grid = resize.bilinear(positions[:, 1:].reshape(1, rows, columns, c), (h, w))
    patches = (patches.astype(jnp.float32) + grid).reshape(b, h * w, c)
    token = jnp.broadcast_to(token + positions[:, :1], (b, 1, c))
    x = jnp.concatenate([token, patches], axis=1).astype(self.dtype)
    outputs = {}
    for i in range(self.depth):
      x = Block(self.heads, self.dtype, name=f"block{i}")(x)
      outputs[i] = x
    return [outputs[i] for i in self.taps], layers.LayerNorm(self.dtype, name="norm")(x[:, 0])
