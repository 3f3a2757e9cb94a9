"""2-D convolution whose kernel gradient is fast on CPUs too."""

import functools

import jax
import jax.numpy as jnp

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_WIDE = 32  # channels in and out from which products of matrices win

Padding = tuple[tuple[int, int], tuple[int, int]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
  """2-D convolution (cross-correlation, as networks have it), float[B, H, W, C] -> float[B, h, w, D].

  On CPUs XLA computes the gradient of a wide kernel at a quarter of the speed of its products of
  matrices; there it is `kernel_gradient_by_rows`.

  Args:
    x: [B, H, W, C].
    kernel: [k, k, C, D], of the dtype of `x`.
    stride: in both directions.
    padding: zeros (above, below), (left, right).
  """
  return _direct(x, kernel, stride, padding)


def kernel_gradient_by_rows(
  x: jax.Array, dy: jax.Array, size: int, stride: int, padding: Padding
) -> jax.Array:
  """The gradient of `conv` by its kernel as one product of matrices for every row of the kernel.

  A row's columns are the shifts of `x` side by side: [B * h * w, k * C] against [B * h * w, D].

  Args:
    x: [B, H, W, C].
    dy: [B, h, w, D], the gradient by the result.
    size: k.
    stride, padding: as of `conv`.

  Returns:
    [k, k, C, D].
  """
  b, h, w, d = dy.shape
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  shifts = [
    jax.lax.slice_in_dim(x, j, j + (w - 1) * stride + 1, stride, axis=2) for j in range(size)
  ]
  x, dy = jnp.concatenate(shifts, axis=-1), dy.reshape(b * h * w, d)
  rows = []
  for i in range(size):
    row = jax.lax.slice_in_dim(x, i, i + (h - 1) * stride + 1, stride, axis=1)
    rows.append(row.reshape(b * h * w, -1).T @ dy)
  return jnp.stack(rows).reshape(size, size, -1, d)


def _direct(x, kernel, stride, padding):
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT
  )


def _forward(x, kernel, stride, padding):
  return _direct(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, kept, dy):
  x, kernel = kept
  _, transposed = jax.vjp(lambda x, kernel: _direct(x, kernel, stride, padding), x, kernel)
  dx, d_kernel = transposed(dy)
  size, _, c, d = kernel.shape
  if jax.default_backend() == "cpu" and min(c, d) >= _WIDE:
    d_kernel = kernel_gradient_by_rows(x, dy, size, stride, padding)
  return dx, d_kernel


conv.defvjp(_forward, _backward)
