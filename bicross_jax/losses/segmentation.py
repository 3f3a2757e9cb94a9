"""Losses of class maps: supervision, and distillation of one network by another (EvDistill).

Equations and their sources: docs/systems/evdistill.md. Sums and counts are pooled over `axis_name`,
so that a batch on several devices has the loss that it has on one.
"""

import math

import jax
import jax.numpy as jnp

from bicross_jax.losses import pooled
from bicross_jax.ops import collective

_IGNORE = 255
_LEAST = 16  # one in so many pixels counts as hard, at least
_EMPTY = 1e-8  # added to norms


def ohem(
  logits: jax.Array, label: jax.Array, threshold: float, *, axis_name: str | None = None
) -> jax.Array:
  """Cross-entropy of the hard pixels (online hard example mining): float32[].

  A pixel is hard where the probability of its class is at most `threshold`, or at most that of the pixel
  of rank pixels / 16 in the global batch, ignored ones counting as 1: an easy batch still has something to learn from.

  Args:
    logits: float32[B, H, W, K].
    label: uint8[B, H, W], 255 = ignore.
    threshold: of the probability; 1: every pixel counts.
    axis_name: the mapped axis the batch is split over, or None.
  """
  known = label != _IGNORE
  log_p = jax.nn.log_softmax(logits)
  index = jnp.where(known, label, 0).astype(jnp.int32)
  log_p = jnp.take_along_axis(log_p, index[..., None], axis=-1)[..., 0]
  true = jnp.where(known, jnp.exp(log_p), 1.0)
  devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
  rank = jnp.array([true.size * devices // _LEAST])
  least = pooled.ranked(true, jnp.ones(true.shape, bool), rank, axis_name)[0]
  hard = known & (true <= jnp.maximum(threshold, least))
  return pooled.masked_mean(-log_p, hard, axis_name)


def pixelwise(student: jax.Array, teacher: jax.Array, *, axis_name: str | None = None) -> jax.Array:
  """Cross-entropy of a student with the classes that a teacher says, pixel by pixel: float32[].

  It is a mean over the pixels and, as in Liu et al. (CVPR 2019), a sum over the examples.

  Args:
    student: logits float32[B, H, W, K].
    teacher: the same; no gradient reaches it.
    axis_name: the mapped axis the batch is split over, or None.
  """
  pooled.same_shape(student=student, teacher=teacher)
  p = jax.lax.stop_gradient(jax.nn.softmax(teacher))
  apart = -(p * jax.nn.log_softmax(student)).sum(-1)
  return pooled.total(apart.mean((1, 2)), axis_name)


def affinity(
  student: jax.Array, teacher: jax.Array, *, scale: float = 0.8, axis_name: str | None = None
) -> jax.Array:
  """How differently two networks see which places are alike (pair-wise distillation): float32[].

  Feature maps are max-pooled to nodes; the cosines of all pairs of nodes are compared, mean square.

  Args:
    student: float32[B, h, w, C].
    teacher: float32[B, h, w, D]; no gradient reaches it.
    scale: size of a pool's window over that of the map; 0.8 gives 2x2 nodes.
    axis_name: the mapped axis the batch is split over, or None.
  """
  apart = _cosines(_nodes(jax.lax.stop_gradient(teacher), scale)) - _cosines(_nodes(student, scale))
  return pooled.mean(apart**2, axis_name)


def feature_affinity(
  a: jax.Array, b: jax.Array, *, window: int = 16, axis_name: str | None = None
) -> jax.Array:
  """The mean absolute difference of two maps' inner products between places: float32[].

  Both are average-pooled first; it is a sum over the examples, as in Wang et al. (CVPR 2020).

  Args:
    a, b: float32[B, H, W, C], H and W at least the window.
    window: of the pool, pixels.
    axis_name: the mapped axis the batch is split over, or None.
  """
  pooled.same_shape(a=a, b=b)

  def products(x):
    _, height, width, channels = x.shape
    rows, columns = height // window, width // window
    x = x[:, : rows * window, : columns * window]
    x = x.reshape(-1, rows, window, columns, window, channels).mean((2, 4))
    return _products(x.reshape(-1, rows * columns, channels))

  return pooled.total(jnp.abs(products(a) - products(b)).mean((1, 2)), axis_name)


def divergence(p: jax.Array, q: jax.Array, *, axis_name: str | None = None) -> jax.Array:
  """Kullback-Leibler divergence KL(p || q) of class maps, a mean over pixels and examples: float32[].

  Args:
    p: logits float32[B, H, W, K] of what is held fixed; no gradient reaches it.
    q: logits float32[B, H, W, K].
    axis_name: the mapped axis the batch is split over, or None.
  """
  pooled.same_shape(p=p, q=q)
  log_p = jax.lax.stop_gradient(jax.nn.log_softmax(p))
  return pooled.mean((jnp.exp(log_p) * (log_p - jax.nn.log_softmax(q))).sum(-1), axis_name)


def mutual(a: jax.Array, b: jax.Array, *, axis_name: str | None = None) -> jax.Array:
  """Two networks that learn from each other: KL(a || b) + KL(b || a), the first one fixed in each.

  Args:
    a, b: logits float32[B, H, W, K].
    axis_name: the mapped axis the batch is split over, or None.
  """
  return divergence(a, b, axis_name=axis_name) + divergence(b, a, axis_name=axis_name)


def distribution(a: jax.Array, b: jax.Array, *, axis_name: str | None = None) -> jax.Array:
  """KL(a || b) of the shares of the classes in two sets of pictures: float32[].

  Args:
    a: logits float32[B, H, W, K] of what is held fixed; no gradient reaches it.
    b: logits float32[B, H, W, K].
    axis_name: the mapped axis the batch is split over, or None.
  """

  def shares(logits):
    p = jax.nn.softmax(logits).mean((0, 1, 2))
    return collective.mean(p, axis_name)

  p, q = jax.lax.stop_gradient(shares(a)), shares(b)
  return (p * (jnp.log(p + _EMPTY) - jnp.log(q + _EMPTY))).sum()


def _nodes(x, scale):
  """Max-pools with windows side by side, the last ones cut off by the edge: float[B, M, C]."""
  height, width = x.shape[1:3]
  window = max(1, math.floor(scale * height)), max(1, math.floor(scale * width))
  beyond = [(0, -size % side) for size, side in zip((height, width), window, strict=True)]
  x = jax.lax.reduce_window(
    x, -jnp.inf, jax.lax.max, (1, *window, 1), (1, *window, 1), ((0, 0), *beyond, (0, 0))
  )
  return x.reshape(len(x), -1, x.shape[-1])


def _cosines(nodes):
  """float[B, M, M]; lengths are taken for constants, as published."""
  length = jnp.linalg.norm(jax.lax.stop_gradient(nodes), axis=-1, keepdims=True)
  return _products(nodes / (length + _EMPTY))


def _products(nodes):
  return jnp.einsum("bmc,bnc->bmn", nodes, nodes)
