"""2-D convolution, as fast on CPUs as products of matrices are.

XLA computes a wide 3x3 convolution on CPUs at half, and the gradient of its kernel at a quarter of
the speed of its matrix products. There, Winograd's F(4x4, 3x3) (Lavin and Gray 2016, section 4.3)
takes 36 products for a 4x4 tile of the result instead of 144. Its three transforms are linear maps
of a whole tile, so each is one product with a small constant: nothing is unrolled for the compiler.
Results differ from XLA's by 4e-6 to 2e-5 of the largest value, in float32. The gradients of other
kernels (strided, 7x7, narrow ones on many pixels) are products of matrices, row by row of the kernel.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.ops import exact

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_SQUARE, _NONE = ((1, 1), (1, 1)), ((0, 0), (0, 0))
# From these on Winograd is faster, measured on two cores: 4x4 tiles; channels (in and out), for value
# and input's gradient and for the kernel's.
_LARGE, _WIDE, _WIDE_KERNEL = 36, 64, 32
# Elsewhere the products by rows: channels, on few pixels and on many.
_WIDE_FEW, _WIDE_MANY, _MANY = 64, 16, 1 << 14
_ROWS = 96  # rows of a matrix that its product is fastest with; 64 and 128 take twice as long
_FAR = 4  # a dilation from which it may be products by pixels of the kernel
_BAND = 1 << 17  # tiles times channels transformed at once: 19 MB of tiles stay in the cache

Padding = tuple[tuple[int, int], tuple[int, int]]


def _whole_tile(rows):
  """The map of a row and column of a tile, as one matrix on its values."""
  return np.kron(rows, rows).astype(np.float32)


# Lavin and Gray 2016, section 4.3: interpolation points 0, 1, -1, 2, -2 and infinity.
_INPUT = _whole_tile(
  np.array(
    [
      [4, 0, -5, 0, 1, 0],
      [0, -4, -4, 1, 1, 0],
      [0, 4, -4, -1, 1, 0],
      [0, -2, -1, 2, 1, 0],
      [0, 2, -1, -2, 1, 0],
      [0, 4, 0, -5, 0, 1],
    ]
  )
)  # [36, 36]
_KERNEL = _whole_tile(
  np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
)  # [36, 9]
_OUTPUT = _whole_tile(
  np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
)  # [16, 36]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
  """2-D convolution (cross-correlation, as networks have it), float[B, H, W, C] -> [B, h, w, D].

  On CPUs the value and both gradients of a wide 3x3 convolution in float32 are Winograd's, and the
  gradients of many other kernels products of matrices; everything else is
  `jax.lax.conv_general_dilated`, and so is all of it where `ops.exact` is asked for.

  Args:
    x: [B, H, W, C].
    kernel: [k, k, C, D], of the dtype of `x`.
    stride: in both directions.
    padding: zeros (above, below), (left, right).
  """
  if _winograd_wins(x, kernel, stride, padding, _WIDE):
    return winograd(x, kernel)
  return _direct(x, kernel, stride, padding)


def dilated(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
  """`conv` whose kernel sees every `dilation`-th pixel, with zeros around: [B, H, W, C] -> [B, H, W, D].

  Pixels that are a multiple of `dilation` apart make up small maps; each is convolved for itself.
  Where these maps would be tiny, as behind a far dilation, it is a product of matrices for every
  pixel of the kernel that sees anything but zeros. XLA's own convolution where `ops.exact` is asked for.

  Args:
    x: [B, H, W, C].
    kernel: [k, k, C, D], of the dtype of `x`; k is odd.
    dilation: in both directions.
  """
  (b, h, w, c), d, around = x.shape, dilation, (len(kernel) // 2,) * 2
  if exact.asked():
    edge = (d * around[0],) * 2
    return jax.lax.conv_general_dilated(
      x, kernel, (1, 1), (edge, edge), rhs_dilation=(d, d), dimension_numbers=_LAYOUT
    )
  if d >= _FAR and 4 * d > min(h, w):
    return _by_taps(x, kernel, d)
  x = jnp.pad(x, ((0, 0), (0, -h % d), (0, -w % d), (0, 0)))
  high, wide = x.shape[1] // d, x.shape[2] // d
  x = x.reshape(b, high, d, wide, d, c).transpose(2, 4, 0, 1, 3, 5)
  y = conv(x.reshape(d * d * b, high, wide, c), kernel, 1, (around, around))
  y = y.reshape(d, d, b, high, wide, -1).transpose(2, 3, 0, 4, 1, 5)
  return y.reshape(b, high * d, wide * d, -1)[:, :h, :w]


def pointwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """1x1 convolution as a product of matrices, float[B, H, W, C] -> [B, ceil(H/s), ceil(W/s), D].

  With a stride, on other backends than CPUs, it is `jax.lax.conv_general_dilated`: XLA for GPUs
  ends the process ("triton_tiling_propagation: check failed") when it finds every other pixel of
  a map beside a product and the norm of such a map.

  Args:
    x: [B, H, W, C].
    kernel: [1, 1, C, D], of the dtype of `x`.
    stride: in both directions.
  """
  if stride > 1 and jax.default_backend() != "cpu":
    return _direct(x, kernel, stride, ((0, 0), (0, 0)))
  x = x[:, ::stride, ::stride]
  b, h, w, c = x.shape
  return (x.reshape(b * h * w, c) @ kernel[0, 0]).reshape(b, h, w, -1)


def winograd(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """3x3 convolution with one pixel of zeros around, float32[B, H, W, C] -> float32[B, H, W, D].

  Args:
    x: [B, H, W, C].
    kernel: [3, 3, C, D].
  """
  b, h, w, c = x.shape
  d = kernel.shape[-1]
  high, wide = -(-h // 4), -(-w // 4)
  weights = _apply(_KERNEL, kernel.reshape(9, c, d))
  band = lambda pixels: _apply(
    _OUTPUT, jnp.einsum("kbc,kcd->kbd", _apply(_INPUT, _rows(x, pixels)), weights)
  )
  y = jax.lax.map(band, _bands(_pixels(b, h, w, 6, -1), c + d))  # [bands, 16, tiles, D]
  y = y.transpose(1, 0, 2, 3).reshape(16, -1, d)[:, : b * high * wide]
  y = y.reshape(4, 4, b, high, wide, d).transpose(2, 3, 0, 4, 1, 5)
  return y.reshape(b, 4 * high, 4 * wide, d)[:, :h, :w]


def winograd_kernel_gradient(x: jax.Array, dy: jax.Array) -> jax.Array:
  """The gradient of `winograd` by its kernel, float32[3, 3, C, D].

  Args:
    x: [B, H, W, C].
    dy: [B, H, W, D], the gradient by the result.
  """
  (b, h, w, c), d = x.shape, dy.shape[-1]

  def add(total, pixels):
    tiles, dy_tiles = _apply(_INPUT, _rows(x, pixels[0])), _apply(_OUTPUT.T, _rows(dy, pixels[1]))
    return total + jnp.einsum("kbc,kbd->kcd", tiles, dy_tiles), None

  bands = [_bands(_pixels(b, h, w, size, first), c + d) for size, first in ((6, -1), (4, 0))]
  total = jax.lax.scan(add, jnp.zeros((36, c, d)), bands)[0]
  return _apply(_KERNEL.T, total).reshape(3, 3, c, d)


def kernel_gradient_by_rows(
  x: jax.Array, dy: jax.Array, size: int, stride: int, padding: Padding
) -> jax.Array:
  """The gradient of `conv` by its kernel, a product of matrices for every one or few of its rows.

  The columns of `x` count in groups of `stride`. A product adds up, over all groups, what each
  holds of `x` times the pixels of `dy` to which it contributes.

  Args:
    x: [B, H, W, C].
    dy: [B, h, w, D], the gradient by the result.
    size: k.
    stride, padding: as of `conv`.

  Returns:
    [k, k, C, D].
  """
  (b, h, w, d), c = dy.shape, x.shape[-1]
  steps = -(-size // stride)  # groups that a pixel of the result sees
  groups, rows = w - 1 + steps, (h - 1) * stride + size
  edges = [
    (before, length - before - n, 0)
    for (before, _), length, n in zip(padding, (rows, groups * stride), x.shape[1:3], strict=True)
  ]
  x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
  x = x.reshape(b, rows, groups, stride * c)
  dy = jnp.pad(dy, ((0, 0), (0, 0), (steps - 1, steps - 1), (0, 0)))
  seen = [dy[:, :, steps - 1 - j : steps - 1 - j + groups] for j in range(steps)]
  seen = jnp.concatenate(seen, axis=-1).reshape(b * h * groups, steps * d)
  shifted = [x[:, i : i + (h - 1) * stride + 1 : stride] for i in range(size)]
  few = max(1, _ROWS // (stride * c))
  taken = [jnp.concatenate(shifted[i : i + few], axis=-1) for i in range(0, size, few)]
  out = jnp.concatenate([rows.reshape(b * h * groups, -1).T @ seen for rows in taken])
  out = out.reshape(size, stride, c, steps, d)
  return out.transpose(0, 3, 1, 2, 4).reshape(size, steps * stride, c, d)[:, :size]


def _by_taps(x, kernel, d):
  """`dilated` as the sum of what every pixel of the kernel gives, where it lies in the map."""
  (_, h, w, c), far = x.shape, len(kernel) // 2
  ends = lambda offset, n: (max(offset, 0), n + min(offset, 0))
  total = 0.0
  for i, j in np.ndindex(*kernel.shape[:2]):
    down, right = d * (i - far), d * (j - far)
    if abs(down) < h and abs(right) < w:
      (top, bottom), (left, end) = ends(down, h), ends(right, w)
      seen = x[:, top:bottom, left:end]
      y = jnp.matmul(seen.reshape(-1, c), kernel[i, j], preferred_element_type=jnp.float32)
      rows, columns = (max(-down, 0), top), (max(-right, 0), left)
      total += jnp.pad(y.reshape(*seen.shape[:3], -1), ((0, 0), rows, columns, (0, 0)))
  return total.astype(x.dtype)


def _pixels(b, h, w, size, first):
  """The pixels of all tiles, 4 apart: int32[size * size, B * tiles]; b * h * w: outside the map.

  Args:
    b, h, w: shape of the map.
    size: of a tile.
    first: row and column where the first tile begins.
  """
  begins, within = (4 * np.arange(-(-n // 4)) + first for n in (h, w)), np.arange(size)[:, None]
  rows, columns = (begin + within for begin in begins)
  row, column = rows[:, None, None, :, None], columns[:, None, None, :]
  pixel = (np.arange(b)[:, None, None] * h + row) * w + column  # [size, size, B, tiles, tiles]
  inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
  return np.where(inside, pixel, b * h * w).astype(np.int32).reshape(size * size, -1)


def _bands(pixels, channels):
  """The tiles in groups that stay in the cache: [n, tiles] -> [bands, n, tiles of a band].

  What the last one lacks are pixels outside the map.
  """
  n, tiles = pixels.shape
  bands = -(-tiles * channels // _BAND)
  each = -(-tiles // bands)
  outside = np.full((n, bands * each - tiles), np.iinfo(np.int32).max, np.int32)
  return np.concatenate([pixels, outside], axis=1).reshape(n, bands, each).swapaxes(0, 1)


def _rows(x, pixels):
  """Pixels of a map, [B, H, W, C] and int[n, m] -> [n, m, C]; zeros outside.

  A loop over n: what it gives is written as it stands, with C innermost. Without it XLA reads
  pixels where the product asks for them, number by number, which takes longer than the product.
  """
  x = x.reshape(-1, x.shape[-1])
  return jax.lax.map(lambda row: jnp.take(x, row, axis=0, fill_value=0), pixels)


def _apply(matrix, tiles):
  """A linear map of tiles, [n, m] and [m, B, C] -> [n, B, C]."""
  return (matrix @ tiles.reshape(len(tiles), -1)).reshape(-1, *tiles.shape[1:])


def _products_win(x, kernel, channels):
  """Whether products of matrices may stand for the convolution, and it is wide enough for them."""
  return (
    jax.default_backend() == "cpu"
    and not exact.asked()
    and x.dtype == jnp.float32
    and min(kernel.shape[2:]) >= channels
  )


def _winograd_wins(x, kernel, stride, padding, wide):
  """Whether it may be used and is faster from `wide` channels on."""
  b, h, w, _ = x.shape
  return (
    _products_win(x, kernel, wide)
    and (kernel.shape[0], stride, padding) == (3, 1, _SQUARE)
    and b * -(-h // 4) * -(-w // 4) >= _LARGE
  )


def _direct(x, kernel, stride, padding):
  k, cut = len(kernel), 0
  if jax.default_backend() == "cpu" and padding == _NONE and stride == 1 and k % 2:
    # The middle of the padded map: XLA takes 2 to 8 times as long for the unpadded one.
    cut = k // 2
    padding = ((cut, cut), (cut, cut))
  y = jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)
  return y[:, cut : y.shape[1] - cut, cut : y.shape[2] - cut]


def _forward(x, kernel, stride, padding):
  return conv(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, kept, dy):
  x, kernel = kept
  _, transposed = jax.vjp(lambda x, kernel: _direct(x, kernel, stride, padding), x, kernel)
  dx, d_kernel = transposed(dy)
  if _winograd_wins(x, kernel, stride, padding, _WIDE):
    dx = winograd(dy, kernel[::-1, ::-1].transpose(0, 1, 3, 2))
  if _winograd_wins(x, kernel, stride, padding, _WIDE_KERNEL):
    d_kernel = winograd_kernel_gradient(x, dy)
  elif _products_win(x, kernel, _WIDE_MANY if dy[..., 0].size >= _MANY else _WIDE_FEW):
    d_kernel = kernel_gradient_by_rows(x, dy, kernel.shape[0], stride, padding)
  return dx, d_kernel


conv.defvjp(_forward, _backward)
