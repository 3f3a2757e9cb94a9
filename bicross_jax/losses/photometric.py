"""Losses of self-supervised stereo: how well the partner's image, warped by a depth, is the target's.

EPCDepth (Peng et al. 2021) with depth hints (Watson et al. 2019) and automasking (Godard et al. 2019).
Several maps of one view are judged at once, [K, B, H, W]: what does not depend on the map is computed
once. Equations: docs/systems/epcdepth.md. Sums and counts are pooled over `axis_name`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bicross_jax.losses import edge_aware, pooled
from bicross_jax.ops import gradient, windows

_C1, _C2 = 0.01**2, 0.03**2  # of SSIM, for images in 0..1
_SSIM = 0.85  # its share of the reprojection error; the rest is the absolute difference
_EMPTY = 1e-7  # added to counts


class Moments(NamedTuple):
  """An image with the mean and the variance of its 3x3 windows, float[C, B, H, W] each.

  Channels come first: pixels of a row side by side are what CPUs work on at once.
  """

  image: jax.Array
  mean: jax.Array
  variance: jax.Array


def moments(image: jax.Array) -> Moments:
  """What SSIM needs to know of one of two images.

  Args:
    image: float[B, H, W, C] in 0..1; beyond the edge it is mirrored, the edge itself not repeated.
  """
  image = jnp.moveaxis(image, -1, 0)
  mean = windows.mean(image)
  return Moments(image, mean, windows.mean(image**2) - mean**2)


def ssim_loss(a: Moments, b: Moments) -> jax.Array:
  """(1 - SSIM) / 2, clipped to 0..1, of every pixel and channel: float[C, B, H, W]."""
  covariance = windows.mean(a.image * b.image) - a.mean * b.mean
  likeness = (2 * a.mean * b.mean + _C1) * (2 * covariance + _C2)
  spread = (a.mean**2 + b.mean**2 + _C1) * (a.variance + b.variance + _C2)
  return jnp.clip((1 - likeness / spread) / 2, 0, 1)


def reprojection(image: jax.Array, target: Moments) -> jax.Array:
  """The error of an image that should be the target's: 0.85 SSIM loss + 0.15 |difference|.

  Args:
    image: float[B, H, W, C] in 0..1.
    target: moments of another one of the same shape.

  Returns:
    float[B, H, W], means over the channels.
  """
  own = moments(image)
  apart = gradient.absolute(target.image - own.image)
  return _SSIM * ssim_loss(own, target).mean(0) + (1 - _SSIM) * apart.mean(0)


class Winners(NamedTuple):
  """Which of the candidates explains a pixel best, bool[K, B, H, W] each.

  Attributes:
    counts: the pixel counts in the photometric loss: the image as it is does not win.
    hint: the hint wins.
  """

  counts: jax.Array
  hint: jax.Array


def winners(
  errors: jax.Array, identity: jax.Array | None = None, hint: jax.Array | None = None
) -> Winners:
  """Compares reprojection errors, pixel by pixel; of equal ones the first wins, in this order.

  Args:
    errors: float[K, B, H, W], of the depths.
    identity: float[K, B, H, W], of the partner's image as it is (automasking); None: not compared.
    hint: float[B, H, W], of the hints, large where there is none; None: not compared.
  """
  errors = jax.lax.stop_gradient(errors)
  best, still = errors, jnp.zeros(errors.shape, bool)
  if identity is not None:
    still, best = identity < errors, jnp.minimum(errors, identity)
  wins = jnp.zeros(errors.shape, bool) if hint is None else hint[None] < best
  return Winners(~(still & ~wins), wins)


def masked(errors: jax.Array, mask: jax.Array, axis_name: str | None = None) -> jax.Array:
  """The mean over the maps of the mean error over the pixels of a mask: float[].

  Args:
    errors: float[K, B, H, W].
    mask: bool[K, B, H, W].
    axis_name: the mapped axis the batch is split over, or None.
  """
  sums = _over_pixels(jnp.where(mask, errors, 0), axis_name)
  return (sums / (_over_pixels(mask.astype(errors.dtype), axis_name) + _EMPTY)).mean()


def towards(depths: jax.Array, hint: jax.Array) -> jax.Array:
  """log(1 + |hint - depth|): float[K, B, H, W].

  Args:
    depths: float[K, B, H, W].
    hint: float[B, H, W], in the same unit.
  """
  return jnp.log1p(gradient.absolute(hint[None] - depths))


def distillation(
  maps: jax.Array, errors: jax.Array, groups: Sequence[slice], axis_name: str | None = None
) -> jax.Array:
  """Every map learns from the best of its group, pixel by pixel (selective post-processing): float[].

  The best one is that with the smallest reprojection error, of equal ones the first; it is held fixed.
  The loss is the mean of log(1 + |best - map|).

  Args:
    maps: float[K, B, H, W], disparities in 0..1.
    errors: float[K, B, H, W], without masks and noise.
    groups: of the K maps, which together are all of them.
    axis_name: the mapped axis the batch is split over, or None.
  """
  apart = []
  for group in groups:
    best = jnp.argmin(errors[group], axis=0)
    label = jnp.take_along_axis(maps[group], best[None], axis=0)
    apart.append(jnp.log1p(gradient.absolute(jax.lax.stop_gradient(label) - maps[group])))
  loss = jnp.concatenate(apart)
  return pooled.masked_mean(loss, jnp.ones(loss.shape, bool), axis_name)


def smoothness(
  maps: jax.Array, image: jax.Array, weights: Sequence[float], axis_name: str | None = None
) -> jax.Array:
  """Edges of the disparity where the image has none (Godard et al. 2017), the mean over the maps: float[].

  A map is divided by its mean over the frame first.

  Args:
    maps: float[K, B, H, W], disparities.
    image: float[B, H, W, C] in 0..1.
    weights: of each map.
    axis_name: the mapped axis the batch is split over, or None.
  """
  relative = maps / (maps.mean((2, 3), keepdims=True) + _EMPTY)
  rough = edge_aware.roughness(relative, image, axis_name)
  return (rough * jnp.asarray(weights, rough.dtype)).mean()


def _over_pixels(x, axis_name):
  """Sums over all pixels of the global batch, [K, B, H, W] -> [K]."""
  return jnp.stack([pooled.total(one, axis_name) for one in x])
