"""Normalisation with its gradient written out.

A gradient has a closed form: two sums and one pass over the map. That of the single operations goes
over it many times, and XLA compiles a kernel for each.
"""

import functools

import jax
import jax.numpy as jnp

from bicross_jax.ops import collective


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, eps: float) -> jax.Array:
  """Layer normalisation (Ba et al. 2016) of float32[B, N, C] over C.

  Args:
    x: float32[B, N, C].
    scale, bias: float32[C], applied after the normalisation.
    eps: added to the variance.
  """
  return _layer_forward(x, scale, bias, eps)[0]


def _layer_forward(x, scale, bias, eps):
  mean = x.mean(-1, keepdims=True)
  inverse = jax.lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + eps)
  y = (x - mean) * (inverse * scale[None, None]) + bias[None, None]
  return y, (x, mean, inverse, scale)


def _layer_backward(eps, kept, dy):
  del eps
  x, mean, inverse, scale = kept
  normalised, g = (x - mean) * inverse, dy * scale[None, None]
  stretch = (g * normalised).mean(-1, keepdims=True)
  dx = inverse * (g - g.mean(-1, keepdims=True) - normalised * stretch)
  return dx, _summable(dy * normalised).sum((0, 1)), dy.sum((0, 1))


layer_norm.defvjp(_layer_forward, _layer_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def group_norm(
  x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int, eps: float
) -> jax.Array:
  """Group normalisation (Wu and He 2018) of float32[B, N, C] over N and the channels of a group.

  Args:
    x: float32[B, N, C], N all pixels.
    scale, bias: float32[C], applied after the normalisation.
    groups: of equally many channels that follow each other; divides C.
    eps: added to the variance.
  """
  return _group_forward(x, scale, bias, groups, eps)[0]


def _group_forward(x, scale, bias, groups, eps):
  mean = _over_group(x.mean(1), groups)
  variance = _over_group(((x - mean) ** 2).mean(1), groups)
  inverse = jax.lax.rsqrt(variance + eps)
  y = (x - mean) * (inverse * scale[None, None]) + bias[None, None]
  return y, (x, mean, inverse, scale)


def _group_backward(groups, eps, kept, dy):
  del eps
  x, mean, inverse, scale = kept
  normalised = (x - mean) * inverse
  size = x.shape[1]
  d_bias, d_scale = dy.sum(1), _summable(dy * normalised).sum(1)  # [B, C], to be summed over B
  shift = _over_group(d_bias * scale[None] / size, groups)
  stretch = _over_group(d_scale * scale[None] / size, groups)
  dx = inverse * (dy * scale[None, None] - shift - normalised * stretch)
  return dx, d_scale.sum(0), d_bias.sum(0)


def _over_group(values, groups):
  """Means over each group's channels, [B, C] -> [B, 1, C].

  Sums over pixels come first, by channel: this small rest is cheap in any layout.
  """
  b, c = values.shape
  return values.reshape(b, groups, c // groups).mean(-1).repeat(c // groups, axis=-1)[:, None]


group_norm.defvjp(_group_forward, _group_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def batch_norm(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  eps: float,
  views: int = 1,
  axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Batch normalisation (Ioffe and Szegedy 2015) by the statistics of the batch.

  Args:
    x: float32[views * B, ..., C]: equally many rows of every view, one view after the other.
    scale, bias: float32[C], applied after the normalisation.
    eps: added to the variance.
    views: number of parts of the batch, each of which is normalised by its own statistics.
    axis_name: the mapped axis that every view is split over, or None.

  Returns:
    (float32 like x, means float32[views, C], variances float32[views, C]: those of the batch, not n / (n - 1)
    times as large). No gradient comes back through the statistics.
  """
  return _batch_forward(x, scale, bias, eps, views, axis_name)[0]


def _batch_forward(x, scale, bias, eps, views, axis_name):
  by_view = _by_view(x, views)
  over = tuple(range(1, by_view.ndim - 1))
  mean = collective.mean(by_view.mean(over), axis_name)
  centred = by_view - _along(mean, by_view)
  variance = collective.mean((centred**2).mean(over), axis_name)
  inverse = jax.lax.rsqrt(variance + eps)
  y = centred * _along(inverse * scale[None], by_view) + _along(bias[None], by_view)
  return (y.reshape(x.shape), mean, variance), (x, mean, inverse, scale)


def _batch_backward(eps, views, axis_name, kept, given):
  del eps
  x, mean, inverse, scale = kept
  x, dy = _by_view(x, views), _by_view(given[0], views)
  over = tuple(range(1, x.ndim - 1))
  normalised = (x - _along(mean, x)) * _along(inverse, x)
  d_bias, d_scale = dy.sum(over), _summable(dy * normalised).sum(over)  # [views, C]
  rows = x.size // d_bias.size
  shift, stretch = (collective.mean(total / rows, axis_name) for total in (d_bias, d_scale))
  dx = (dy - _along(shift, x) - normalised * _along(stretch, x)) * _along(inverse * scale[None], x)
  return dx.reshape(given[0].shape), d_scale.sum(0), d_bias.sum(0)


def _by_view(x, views):
  """[views * B, ..., C] -> [views, B, ..., C]."""
  return x.reshape(views, -1, *x.shape[1:])


def _along(values, x):
  """[views or 1, C] -> [views or 1, 1, ..., C], as x has axes."""
  return values.reshape(len(values), *(1,) * (x.ndim - 2), -1)


batch_norm.defvjp(_batch_forward, _batch_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def standardize(weight: jax.Array, eps: float) -> jax.Array:
  """Weight standardisation (Qiao et al. 2019): each output channel gets mean 0 and variance 1.

  Args:
    weight: float32[..., C, D], over all axes but the last.
    eps: added to the variance.
  """
  return _standardize_forward(weight, eps)[0]


def _standardize_forward(weight, eps):
  axes = tuple(range(weight.ndim - 1))
  mean = weight.mean(axes, keepdims=True)
  inverse = jax.lax.rsqrt(((weight - mean) ** 2).mean(axes, keepdims=True) + eps)
  y = (weight - mean) * inverse
  return y, (y, inverse)


def _standardize_backward(eps, kept, dy):
  del eps
  y, inverse = kept
  axes = tuple(range(y.ndim - 1))
  centred = dy - dy.mean(axes, keepdims=True)  # first: what cancels then is small
  stretch = _summable(centred * y).mean(axes, keepdims=True)
  return (inverse * (centred - y * stretch),)


standardize.defvjp(_standardize_forward, _standardize_backward)


def _summable(product):
  """The same values. XLA sums a bare product as a product of matrices, on CPUs ten times slower."""
  kept = jnp.finfo(product.dtype)
  return jax.lax.reduce_precision(product, kept.nexp, kept.nmant)
